"""From queries to token ids: templates, truncation, and what is shared."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from promptopt.engines.base import LabelQuery, Segment
from promptopt.engines.batching import PreparedQuery
from promptopt.engines.prefixes import Prefix, cut_prefix
from promptopt.engines.tokenization import SegmentTokenizer, Stretch, TokenIds, without_system_role
from promptopt.engines.truncation import fit

_KNOWN_PREFIXES = 512


@dataclass(frozen=True, slots=True)
class Prompt:
    """Chat messages as token ids.

    Attributes:
        prefix: Everything before the first case text.
        trunk: From there to the last case text.
        branch: What follows, up to the judge's answer.
        dropped: Case tokens left out.
    """

    prefix: Prefix
    trunk: TokenIds
    branch: TokenIds
    dropped: int


class QueryPreparer:
    """Tokenises queries and shortens those that are too long.

    Args:
        tokens: The judge's tokenizer.
        context: Tokens that the model can attend to.
        system_role: False folds the system turn into the user turn.
        max_item_tokens: Case tokens allowed; 0 for as many as the context holds.
        too_long: ``truncate`` or ``unjudged``.
    """

    def __init__(
        self, tokens: SegmentTokenizer, *, context: int, system_role: bool, max_item_tokens: int, too_long: str
    ) -> None:
        self._tokens = tokens
        self._context = context
        self._system_role = system_role
        self._max_item_tokens = max_item_tokens
        self._too_long = too_long
        self._prefixes: OrderedDict[object, Prefix] = OrderedDict()

    def prepare(
        self, queries: Sequence[LabelQuery], unjudged: dict[int, str], dropped: dict[int, int]
    ) -> list[PreparedQuery]:
        """The queries that can be judged.

        Args:
            queries: Any number.
            unjudged: Filled with the reason for every row that cannot be judged.
            dropped: Filled with the number of case tokens left out of a row.

        Raises:
            LabelSetError: A label set that cannot be told apart.
            EngineError: The chat template refuses the turns.
        """
        out = []
        labels: dict[tuple[str, ...], tuple[TokenIds, ...]] = {}
        for row, query in enumerate(queries):
            if query.labels not in labels:
                labels[query.labels] = self._tokens.label_ids(query.labels)
            ids = labels[query.labels]
            prompt = self.prompt(query.segments, reserve=max(map(len, ids)))
            if isinstance(prompt, str):
                unjudged[row] = prompt
                continue
            out.append(PreparedQuery(row, prompt.prefix, prompt.trunk, prompt.branch, ids))
            if prompt.dropped:
                dropped[row] = prompt.dropped
        return out

    def prompt(self, segments: tuple[Segment, ...], reserve: int) -> Prompt | str:
        """Chat messages as token ids, or why they cannot be asked about.

        Args:
            segments: The messages.
            reserve: Tokens of the answer.

        Raises:
            EngineError: The chat template refuses the turns.
        """
        if not self._system_role:
            segments = without_system_role(segments)
        try:
            stretches = self._tokens.stretches(segments)
        except UnicodeEncodeError:
            return "the text is not valid Unicode"
        fitted = fit(
            stretches,
            context=self._context,
            reserve=reserve,
            max_item_tokens=self._max_item_tokens,
            too_long=self._too_long,
        )
        if isinstance(fitted, str):
            return fitted
        kept, dropped = fitted
        first = next((i for i, s in enumerate(kept) if s.from_case), max(len(kept) - 1, 0))
        prefix = self._prefix(segments, kept[:first])
        rest = kept[first:]
        last = max((i for i, s in enumerate(rest) if s.from_case), default=-1)
        trunk = tuple(token for s in rest[: last + 1] for token in s.ids)
        branch = tuple(token for s in rest[last + 1 :] for token in s.ids)
        if not (prefix.tokens or trunk or branch):
            return "the query has no text"
        return Prompt(prefix, trunk, branch, dropped)

    def _prefix(self, segments: tuple[Segment, ...], stretches: Sequence[Stretch]) -> Prefix:
        """The prefix that leading segments make, remembered: its tokens are many and its queries, too."""
        first = next((i for i, s in enumerate(segments) if s.from_case), None)
        if first is None:
            return cut_prefix([s.ids for s in stretches])
        key = (tuple(s.role for s in segments), segments[:first])
        if key not in self._prefixes:
            self._prefixes[key] = cut_prefix([s.ids for s in stretches])
            if len(self._prefixes) > _KNOWN_PREFIXES:
                self._prefixes.popitem(last=False)
        return self._prefixes[key]
