"""How a server is asked: with token ids that were made here, or with chat messages that it turns into tokens itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from promptopt.engines.base import GenerationRequest, LabelQuery, Segment, TokenCount
from promptopt.engines.server.decisions import Decision
from promptopt.engines.tokenization import Stretch, TokenIds, without_system_role
from promptopt.engines.trie import TokenTree
from promptopt.engines.truncation import fit

UNLIMITED = 1 << 30
LabelPath = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """What a prompt is made with.

    Attributes:
        model: The model's name on the server.
        system_role: False folds the system turn into the user turn.
        max_item_tokens: Case tokens allowed; 0 for as many as the context holds.
        too_long: ``truncate`` or ``unjudged``.
        top_logprobs: Likeliest tokens asked for.
        context: Tokens that the server accepts.
    """

    model: str
    system_role: bool = True
    max_item_tokens: int = 0
    too_long: str = "truncate"
    top_logprobs: int = 20
    context: int = UNLIMITED


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """One query, ready to be sent.

    Attributes:
        row: Its row in the scores.
        prefix: Tokens before the first case text.
        trunk: Tokens from there to the last case text.
        branch: Tokens that follow, up to the judge's answer.
        dropped: Case tokens left out.
        texts: The case's texts, which no message may repeat.
        decisions: The requests that it takes.
        labels: For each label its decisions and, of each, the option; their probabilities multiply to the label's.
    """

    row: int
    prefix: TokenIds
    trunk: TokenIds
    branch: TokenIds
    dropped: int
    texts: tuple[str, ...]
    decisions: tuple[Decision, ...]
    labels: tuple[LabelPath, ...]

    @property
    def tokens(self) -> int:
        """Tokens of the prompt."""
        return len(self.prefix) + len(self.trunk) + len(self.branch)


class Prompts(ABC):
    """Makes requests of queries.

    Args:
        settings: What the prompts are made with.
    """

    path: str
    refused: str

    def __init__(self, settings: PromptSettings) -> None:
        self._settings = settings
        self._decide = lru_cache(maxsize=1024)(self._label_steps)

    def prepare(self, row: int, query: LabelQuery) -> PreparedQuery | str:
        """The requests of a query, or why it cannot be judged.

        Raises:
            LabelSetError: Two labels cannot be told apart.
            EngineError: The query's labels or turns are not for this way of asking.
        """
        suffixes, reserve, labels = self._decide(query.labels)
        fitted = self._fit(query.segments, reserve)
        if isinstance(fitted, str):
            return fitted
        stretches, dropped = fitted
        case = [i for i, s in enumerate(stretches) if s.from_case]
        first = case[0] if case else max(len(stretches) - 1, 0)
        last = case[-1] + 1 if case else first
        prefix, trunk, branch = (_join(part) for part in (stretches[:first], stretches[first:last], stretches[last:]))
        if not (prefix or trunk or branch):
            return "the query has no text"
        decisions = tuple(self._decision(query, stretches, suffix) for suffix in suffixes)
        return PreparedQuery(row, prefix, trunk, branch, dropped, case_texts(query.segments), decisions, labels)

    def generation(self, request: GenerationRequest) -> Mapping[str, Any] | str:
        """The body of a request for text, or why there cannot be one."""
        fitted = self._fit(request.segments, request.max_tokens)
        if isinstance(fitted, str):
            return fitted
        body = {
            "model": self._settings.model,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
            **({"stop": list(request.stop)} if request.stop else {}),
        }
        return body | self._prompt(request.segments, fitted[0], ())

    @abstractmethod
    def probe(self) -> Mapping[str, Any]:
        """The body of a question about nothing, which a server that can be asked this way answers."""

    def control(self) -> Mapping[str, Any]:
        """A question that a server which cannot be asked this way answers, unless it is ill; empty if there is none."""
        return {}

    @abstractmethod
    def _stretches(self, segments: Sequence[Segment]) -> list[Stretch]:
        """The tokens of the segments, in order."""

    @abstractmethod
    def _prompt(self, segments: Sequence[Segment], stretches: Sequence[Stretch], suffix: TokenIds) -> dict[str, Any]:
        """The part of a body that holds the prompt."""

    @abstractmethod
    def _label_steps(self, labels: tuple[str, ...]) -> tuple[tuple[TokenIds, ...], int, tuple[LabelPath, ...]]:
        """The decisions' suffixes, the longest label in tokens, and each label's path through the decisions."""

    @abstractmethod
    def _decision(self, query: LabelQuery, stretches: Sequence[Stretch], suffix: TokenIds) -> Decision:
        """The request for what comes after the prompt and the suffix."""

    def _fit(self, segments: tuple[Segment, ...], reserve: int) -> tuple[list[Stretch], int] | str:
        settings = self._settings
        try:
            stretches = self._stretches(segments if settings.system_role else without_system_role(segments))
        except UnicodeEncodeError:
            return "the text is not valid Unicode"
        return fit(
            stretches,
            context=settings.context,
            reserve=reserve,
            max_item_tokens=settings.max_item_tokens,
            too_long=settings.too_long,
        )


def count(queries: Sequence[PreparedQuery]) -> TokenCount:
    """Tokens of queries, shared stretches counted once."""
    trees: dict[TokenIds, dict[TokenIds, TokenTree]] = {}
    for query in queries:
        tree = trees.setdefault(query.prefix, {}).setdefault(query.trunk, TokenTree())
        end = tree.extend(tree.extend(-1, query.trunk), query.branch)
        for decision in query.decisions:
            tree.extend(end, decision.suffix)
    prefixes = TokenTree()
    for prefix in trees:
        prefixes.extend(-1, prefix)
    return TokenCount(
        prefix=len(prefixes),
        marginal=sum(len(tree) for cases in trees.values() for tree in cases.values()),
    )


def group(queries: Sequence[PreparedQuery]) -> list[list[PreparedQuery]]:
    """Queries by prefix, and within a prefix by case, both in order of first appearance."""
    by_prefix: dict[TokenIds, dict[TokenIds, list[PreparedQuery]]] = {}
    for query in queries:
        by_prefix.setdefault(query.prefix, {}).setdefault(query.trunk, []).append(query)
    return [[query for case in cases.values() for query in case] for cases in by_prefix.values()]


def _join(stretches: Sequence[Stretch]) -> TokenIds:
    return tuple(token for stretch in stretches for token in stretch.ids)


def case_texts(segments: Sequence[Segment]) -> tuple[str, ...]:
    """The texts of a case, which no message may repeat."""
    return tuple(s.text for s in segments if s.from_case and s.text)
