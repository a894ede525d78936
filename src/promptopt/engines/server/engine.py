"""The server engine: any OpenAI-compatible server (vLLM, SGLang, llama.cpp) as a judge that scores closed label sets.

It needs httpx besides what the other engines need.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import takewhile

import numpy as np

from promptopt.engines.base import (
    EngineCard,
    Generation,
    GenerationRequest,
    LabelQuery,
    LabelScores,
    Segment,
    TokenCount,
    Usage,
)
from promptopt.engines.server.answers import generation, server_usage, top_tokens
from promptopt.engines.server.batch import Batch
from promptopt.engines.server.chat import CHARACTERS_PER_TOKEN, RULE, ChatPrompts
from promptopt.engines.server.decisions import read_decision
from promptopt.engines.server.facts import Served, ask_what_is_served, base_name
from promptopt.engines.server.http import Answer, ConnectionSettings, Failure, ServerConnection
from promptopt.engines.server.prompts import UNLIMITED, PreparedQuery, Prompts, PromptSettings, case_texts, count, group
from promptopt.engines.server.schedule import run_groups
from promptopt.engines.server.tokens import TokenPrompts, load_tokenizer
from promptopt.engines.tokenization import SegmentTokenizer
from promptopt.engines.truncation import KEEP_HEAD
from promptopt.errors import EngineError


@dataclass(frozen=True, slots=True)
class ServerEngineSettings:
    """Which server to ask, and how.

    Attributes:
        model: The model's name on the server.
        revision: Its revision, for the record, and for fetching the tokenizer; a server is not asked for it.
        base_url: Address up to and including ``/v1``.
        api_key_variable: Environment variable that holds the key; unset or empty means none is sent.
        tokenizer: Hub id or folder of the model's tokenizer. With it, prompts travel as token ids through the
            completions endpoint; without it, as chat messages, to which the server applies its own chat template.
        chat_template: Jinja text that replaces the tokenizer's chat template; needs ``tokenizer``.
        answer_prefix: Template text between the opening of the judge's turn and the label; needs ``tokenizer``.
        system_role: False folds the system turn into the user turn.
        max_item_tokens: Longest case text in tokens (0: only the server's context), of four characters each where
            there is no ``tokenizer``.
        too_long: ``truncate`` keeps the first three quarters and the last quarter of the allowance, ``unjudged``
            gives no verdict.
        concurrency: Most requests in flight.
        timeout_seconds: Most seconds that one attempt may take.
        retries: Further attempts after a failed one, with growing pauses.
        backoff_seconds: The first of these pauses.
        top_logprobs: Likeliest tokens asked for; servers allow 20 at most unless set otherwise.
    """

    model: str
    revision: str = ""
    base_url: str = "http://127.0.0.1:8000/v1"
    api_key_variable: str = "OPENAI_API_KEY"
    tokenizer: str = ""
    chat_template: str | None = None
    answer_prefix: str = ""
    system_role: bool = True
    max_item_tokens: int = 0
    too_long: str = "truncate"
    concurrency: int = 16
    timeout_seconds: float = 60.0
    retries: int = 4
    backoff_seconds: float = 0.5
    top_logprobs: int = 20


class ServerEngine:
    """Scores labels by a server's log-probabilities; see :class:`promptopt.engines.base.JudgeEngine`.

    The server is asked once, while the engine is opened, which models it has. Requests that share everything before
    the case are sent one after another: the first alone, so that the rest find the shared beginning in the server's
    prefix cache. Usage counts what the server says; the server's own seconds are not known.

    Args:
        settings: Which server to ask, and how.

    Raises:
        EngineError: The server cannot be reached or refuses the key, the tokenizer cannot be loaded, or settings
            that need a tokenizer come without one.
    """

    def __init__(self, settings: ServerEngineSettings) -> None:
        self.settings = settings
        _check_settings(settings)
        tokenizer = load_tokenizer(settings.tokenizer, settings.revision) if settings.tokenizer else None
        tokens = SegmentTokenizer(tokenizer, settings.chat_template, settings.answer_prefix) if tokenizer else None
        self._connection = ServerConnection(
            ConnectionSettings(
                base_url=settings.base_url,
                api_key_variable=settings.api_key_variable,
                concurrency=settings.concurrency,
                timeout_seconds=settings.timeout_seconds,
                retries=settings.retries,
                backoff_seconds=settings.backoff_seconds,
            )
        )
        try:
            served = self._connection.run(ask_what_is_served(self._connection, settings.model))
        except BaseException:
            self._connection.close()
            raise
        made = PromptSettings(
            model=settings.model,
            system_role=settings.system_role,
            max_item_tokens=settings.max_item_tokens,
            too_long=settings.too_long,
            top_logprobs=settings.top_logprobs,
            context=served.context or UNLIMITED,
        )
        self._prompts: Prompts = TokenPrompts(made, tokens, tokenizer) if tokens else ChatPrompts(made)
        self._accepted = False
        self._card = _make_card(settings, tokens, served)

    def describe(self) -> EngineCard:
        return self._card

    def close(self) -> None:
        self._connection.close()

    def score(self, queries: Sequence[LabelQuery]) -> LabelScores:
        began = time.perf_counter()
        width = max((len(q.labels) for q in queries), default=0)
        logprobs = np.full((len(queries), width), np.nan, dtype=np.float32)
        batch = Batch()
        prepared = self._prepare(queries, batch.unjudged)
        if prepared:
            self._connection.run(self._ask_all(prepared, batch))
        for query in prepared:
            if query.row not in batch.unjudged:
                values = batch.label_logprobs(query)
                logprobs[query.row] = -np.inf
                logprobs[query.row, : len(values)] = values
        usage = Usage(
            queries=len(queries),
            tokens_submitted=batch.submitted,
            tokens_computed=batch.computed,
            seconds=time.perf_counter() - began,
        )
        dropped = {query.row: query.dropped for query in prepared if query.dropped}
        return LabelScores(logprobs, batch.unjudged, dropped, usage)

    def count_tokens(self, queries: Sequence[LabelQuery]) -> TokenCount:
        """As in the contract; without a tokenizer an estimate of four characters a token, template left out."""
        return count(self._prepare(queries, {}))

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """As in the contract, as far as the server goes: equal seeds give equal texts only where it sees to that."""
        return self._connection.run(self._generate_all(requests)) if requests else []

    def _prepare(self, queries: Sequence[LabelQuery], unjudged: dict[int, str]) -> list[PreparedQuery]:
        prepared = []
        for row, query in enumerate(queries):
            ready = self._prompts.prepare(row, query)
            if isinstance(ready, str):
                unjudged[row] = ready
            else:
                prepared.append(ready)
        return prepared

    async def _ask_all(self, prepared: Sequence[PreparedQuery], batch: Batch) -> None:
        jobs = [
            [(query, number) for query in queries for number in range(len(query.decisions))]
            for queries in group(prepared)
        ]

        async def work(job: tuple[PreparedQuery, int]) -> None:
            await self._ask(*job, batch)

        await run_groups(jobs, self.settings.concurrency, work)

    async def _ask(self, query: PreparedQuery, number: int, batch: Batch) -> None:
        decision = query.decisions[number]
        outcome = await self._connection.post(self._prompts.path, decision.body, query.texts)
        if isinstance(outcome, Failure):
            await self._admit(outcome, batch)
            batch.unjudged.setdefault(query.row, outcome.reason)
            return
        self._accepted = True
        batch.note(query, number, server_usage(outcome.body), len(decision.suffix))
        table = read_decision(decision, top_tokens(outcome.body))
        if isinstance(table, str):
            batch.unjudged.setdefault(query.row, table)
        else:
            batch.tables.setdefault(query.row, {})[number] = table

    async def _admit(self, failure: Failure, batch: Batch) -> None:
        """Raises when a failure shows that the server cannot be asked at all, and not just this query."""
        if failure.unreachable:
            batch.unreachable += 1
            if not batch.answered or batch.unreachable >= max(self.settings.concurrency, 4):
                raise self._gone(failure)
        elif not (self._accepted or batch.probed) and (failure.refused or self._prompts.control()):
            batch.probed = True
            await self._probe()

    async def _probe(self) -> None:
        """Raises when the server does not answer a question about nothing either, although it is there."""
        path = self._prompts.path
        probed = await self._connection.post(path, self._prompts.probe())
        if isinstance(probed, Answer):
            self._accepted = True
            return
        control = self._prompts.control()
        if not probed.refused and (not control or isinstance(await self._connection.post(path, control), Failure)):
            return  # it is ill, not unwilling
        raise EngineError(
            f"{self._prompts.refused}: {probed.reason.removeprefix('the server ')}",
            where=self._connection.address,
            remedy=self._remedy(),
        )

    def _remedy(self) -> str:
        if self.settings.tokenizer:
            return "leave judge.server.tokenizer empty to send chat messages, or lower judge.server.top_logprobs"
        return "lower judge.server.top_logprobs, or use a server that has them (vLLM, SGLang, llama.cpp)"

    def _gone(self, failure: Failure) -> EngineError:
        return EngineError(failure.reason, where=self._connection.address, remedy="see that it runs, then resume")

    async def _generate_all(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        written: dict[int, Generation] = {}
        groups: dict[tuple[Segment, ...], list[int]] = {}
        for number, request in enumerate(requests):
            beginning = tuple(takewhile(lambda segment: not segment.from_case, request.segments))
            groups.setdefault(beginning, []).append(number)

        async def work(number: int) -> None:
            written[number] = await self._generate(requests[number])

        await run_groups(groups.values(), self.settings.concurrency, work)
        return [written[number] for number in range(len(requests))]

    async def _generate(self, request: GenerationRequest) -> Generation:
        body = self._prompts.generation(request)
        if isinstance(body, str):
            return Generation("", 0, "failed", body)
        outcome = await self._connection.post(self._prompts.path, body, case_texts(request.segments))
        if isinstance(outcome, Answer):
            return generation(outcome.body, request.stop)
        if outcome.unreachable:
            raise self._gone(outcome)
        return Generation("", 0, "failed", outcome.reason)


def _check_settings(settings: ServerEngineSettings) -> None:
    needy = "chat_template" if settings.chat_template else "answer_prefix" if settings.answer_prefix else ""
    if needy and not settings.tokenizer:
        raise EngineError(
            f"judge.{needy} is set, but the server applies its own template to chat messages",
            where="judge.server.tokenizer",
            remedy="set it to the model's tokenizer, so that prompts are made here",
        )


def _make_card(settings: ServerEngineSettings, tokens: SegmentTokenizer | None, served: Served) -> EngineCard:
    template = tokens.chat_template or "" if tokens else RULE
    limit: str | int = settings.max_item_tokens or f"context of {served.context or 'unknown'}"
    unit = "tokens" if tokens else f"tokens of {CHARACTERS_PER_TOKEN} characters"
    return EngineCard(
        engine="server",
        model=base_name(settings.model),
        revision=settings.revision,
        weights_digest=f"unknown:{_digest(settings.model, settings.revision)}",
        dtype="server",
        quantization="server",
        chat_template_digest=_digest(template, settings.answer_prefix, str(settings.system_role)),
        truncation=f"{settings.too_long} beyond {limit} {unit}, keeping the first {KEEP_HEAD:.0%} and the end",
        device="server",
        versions={"httpx": version("httpx"), **served.facts},
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()
