"""The answers to a batch of queries, as they come in."""

from __future__ import annotations

from dataclasses import dataclass, field

from promptopt.engines.server.answers import ServerUsage
from promptopt.engines.server.prompts import PreparedQuery


@dataclass(slots=True)
class Batch:
    """What has come back so far.

    Attributes:
        tables: For each row and decision the options' log-probabilities.
        unjudged: Row number to the reason why the row has no scores.
        submitted: Tokens of the prompts that were answered.
        computed: Tokens of the requests that were answered, without those that the server had in its cache.
        answered: Whether anything was.
        probed: Whether the server was asked a question about nothing, to see if it answers at all.
        unreachable: Requests in a row that found no server.
    """

    tables: dict[int, dict[int, list[float]]] = field(default_factory=dict)
    unjudged: dict[int, str] = field(default_factory=dict)
    submitted: int = 0
    computed: int = 0
    answered: bool = False
    probed: bool = False
    unreachable: int = 0

    def note(self, query: PreparedQuery, number: int, usage: ServerUsage, suffix: int) -> None:
        """Counts an answer; a query's tokens are submitted once, however many requests it takes."""
        self.answered, self.unreachable = True, 0
        tokens = query.tokens + suffix if usage.prompt is None else usage.prompt
        self.submitted += tokens if number == 0 else 0
        self.computed += max(tokens - (usage.cached or 0), 0)

    def label_logprobs(self, query: PreparedQuery) -> list[float]:
        """A query's labels, from its decisions."""
        tables = self.tables[query.row]
        return [sum(tables[decision][option] for decision, option in path) for path in query.labels]
