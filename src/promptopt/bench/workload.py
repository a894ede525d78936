"""The judgements that a benchmark times: policies of a given length, cases of a given length, in tokens.

Texts are random everyday words: what they say has no influence on speed. Variants share three quarters of their prefix;
cases are the same for every variant, as in a sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from promptopt.engines.base import LabelQuery, Segment
from promptopt.engines.tokenization import SegmentTokenizer, TokenIds
from promptopt.errors import EngineError, LabelSetError

SHARED_PART = 0.75
LABEL_PAIRS = (("violates", "allowed"), ("yes", "no"), ("A", "B"))
_TEXT = (
    "the a of to and in that it is was for on are as with at be this have from or one had by word but not what "
    "all were we when your can said there use an each which she do how their if will up other about out many then "
    "them these so some her would make like him into time has look two more write go see number no way could "
    "people my than first water been call who oil its now find long down day did get come made may part over new "
    "sound take only little work know place year live me back give most very after thing our just name good "
    "sentence man think say great where help through much before line right too mean old any same tell boy follow "
    "came want show also around form three small set put end does another well large must big even such because "
    "turn here why ask went men read need land different home us move try kind hand picture again change off play "
    "spell air away animal house point page letter mother answer found study still learn should world "
)
WORDS = tuple(_TEXT.split())


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of the grid.

    Attributes:
        prefix: Tokens before the case, the chat template's own included.
        item: Tokens of a case.
        variants: Prompts that share three quarters of the prefix.
    """

    prefix: int
    item: int
    variants: int

    def __str__(self) -> str:
        return f"prefix {self.prefix:,}, item {self.item}, {self.variants} variant{'s' if self.variants > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One query, as an engine takes it, as tokens, and as texts.

    Attributes:
        query: For engines.
        variant: Number of its prompt.
        prefix: Token ids before the case.
        rest: Token ids from the case to where the judge answers.
        instructions: The policy's text, for peers that write their own prompts.
        text: The case's text.
    """

    query: LabelQuery
    variant: int
    prefix: TokenIds
    rest: TokenIds
    instructions: str
    text: str

    @property
    def tokens(self) -> TokenIds:
        return self.prefix + self.rest


@dataclass(frozen=True, slots=True)
class Workload:
    """The judgements of a cell.

    Attributes:
        cell: What was asked for.
        judgements: Variant by variant for the first case, then for the second, and so on; texts are of one length to
            a token or two, so that any number of them from the start stands for all.
        labels: The two labels.
        label_tokens: First token of each; the two differ.
    """

    cell: Cell
    judgements: tuple[Judgement, ...]
    labels: tuple[str, str]
    label_tokens: tuple[int, int]

    def __len__(self) -> int:
        return len(self.judgements)

    def sequences(self, numbers: Sequence[int]) -> list[tuple[TokenIds, TokenIds]]:
        """Prefix and rest of some judgements."""
        return [(self.judgements[i].prefix, self.judgements[i].rest) for i in numbers]


def make_workload(tokenizer: Any, cell: Cell, cases: int, context: int, seed: int = 0) -> Workload:
    """Writes texts of the cell's lengths.

    Args:
        tokenizer: A Hugging Face fast tokenizer with a chat template.
        cell: Lengths, and the number of variants.
        cases: Judgements in all; rounded up to the same number for every variant.
        context: Most tokens that the model reads.
        seed: Of the words.

    Raises:
        EngineError: The prefix is too short for the chat template, or prefix and case are too long for the context.
        LabelSetError: The tokenizer gives no two labels different first tokens.
    """
    tokens = SegmentTokenizer(tokenizer)
    labels, label_tokens = _labels(tokens)
    writer = _Writer(tokens, np.random.default_rng([seed, cell.prefix, cell.item]))
    policies = _policies(tokens, writer, cell)
    texts = [writer.text(cell.item) for _ in range(-(-cases // cell.variants))]
    judgements = tuple(
        _judgement(tokens, policy, text, variant, labels) for text in texts for variant, policy in enumerate(policies)
    )
    longest = max(len(judgement.tokens) for judgement in judgements)
    if longest >= context:
        raise EngineError(
            f"a prefix of {cell.prefix:,} and a case of {cell.item} tokens make {longest:,} tokens with the chat "
            f"template, and the model reads {context:,}",
            remedy="choose a shorter --prefix or --item, or a model with a longer context",
        )
    return Workload(cell, judgements, labels, label_tokens)


def context_of(model: Any) -> int:
    """Most tokens that a model reads."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30)


def _labels(tokens: SegmentTokenizer) -> tuple[tuple[str, str], tuple[int, int]]:
    for pair in LABEL_PAIRS:
        try:
            first, second = (ids[0] for ids in tokens.label_ids(pair))
        except LabelSetError:
            continue
        if first != second:
            return pair, (first, second)
    raise LabelSetError(f"the tokenizer gives none of the pairs {LABEL_PAIRS} different first tokens")


def _policies(tokens: SegmentTokenizer, writer: _Writer, cell: Cell) -> list[tuple[str, str]]:
    """Shared and own part of each variant's policy."""
    frame = _judgement(tokens, ("", ""), "a", 0, LABEL_PAIRS[0])
    opening = len(tokens.stretches(_segments(("", ""), "a"))[0].ids)
    shared = round(SHARED_PART * cell.prefix) - opening
    own = cell.prefix - len(frame.prefix) - shared
    if min(shared, own) < 1:
        raise EngineError(
            f"a prefix of {cell.prefix} tokens is too short: the chat template alone takes {len(frame.prefix)}",
            where="--prefix",
            remedy=f"choose {8 * len(frame.prefix)} or more",
        )
    common = writer.text(shared)
    return [(common, writer.text(own)) for _ in range(cell.variants)]


def _segments(policy: tuple[str, str], text: str) -> tuple[Segment, ...]:
    shared, own = policy
    return (
        Segment("system", shared),
        Segment("system", own),
        Segment("user", "Text: "),
        Segment("user", text, from_case=True),
    )


def _judgement(
    tokens: SegmentTokenizer, policy: tuple[str, str], text: str, variant: int, labels: tuple[str, str]
) -> Judgement:
    segments = _segments(policy, text)
    stretches = tokens.stretches(segments)
    first = next(i for i, stretch in enumerate(stretches) if stretch.from_case)
    return Judgement(
        query=LabelQuery(segments, labels),
        variant=variant,
        prefix=tuple(token for stretch in stretches[:first] for token in stretch.ids),
        rest=tuple(token for stretch in stretches[first:] for token in stretch.ids),
        instructions=" ".join(policy),
        text=text,
    )


class _Writer:
    """Random words that make up a number of tokens: to the token where some word is a single one."""

    def __init__(self, tokens: SegmentTokenizer, rng: np.random.Generator) -> None:
        self._tokens = tokens
        self._rng = rng
        sizes = {word: self._size(f" {word}") for word in WORDS}
        self._mean = sum(sizes.values()) / len(sizes)
        self._short = [word for word, size in sizes.items() if size == min(sizes.values())]

    def text(self, tokens: int) -> str:
        words = [str(word) for word in self._rng.choice(WORDS, max(1, int(tokens / self._mean)))]
        while len(words) > 1 and self._size(" ".join(words)) > tokens:
            words.pop()
        while self._size(longer := " ".join([*words, str(self._rng.choice(self._short))])) <= tokens:
            words = longer.split(" ")
        return " ".join(words)

    def _size(self, text: str) -> int:
        (stretch,) = (s for s in self._tokens.stretches((Segment("user", text, from_case=True),)) if s.from_case)
        return len(stretch.ids)
