"""Times the ways of scoring that run in this process: one sequence at a time, padded, cached prefix, the engine.

Each is timed on as many judgements from the start of the workload as its time allows; judgements per second compare all
the same, because judgements of a workload cost alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from promptopt.bench import plain
from promptopt.bench.memory import PeakMemory
from promptopt.bench.timing import Clock, Stopwatch, Timing, TimingOptions, exact_timing
from promptopt.bench.workload import Workload
from promptopt.engines.base import LabelQuery, LabelScores, Usage
from promptopt.engines.loading import LoadedModel
from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.errors import EngineError

LEAST_SEQUENCES = 4
LEAST_ENGINE_JUDGEMENTS = 64
_CACHE_BATCH_TOKENS = 2048


def reference(loaded: LoadedModel, work: Workload, seconds: float) -> dict[int, float]:
    """Probabilities of the first label in plain float32, one sequence at a time, for as many as the time allows.

    Args:
        loaded: The model; it is float32 already.
        work: The judgements.
        seconds: Time; four judgements are scored whatever it is, and 64 at most.
    """
    plain.use_plain_attention(loaded.model)
    clock, found = Clock(seconds), {}
    for number, judgement in enumerate(work.judgements[:64]):
        if clock.over and number >= LEAST_SEQUENCES:
            break
        found[number] = plain.score_sequence(loaded.model, judgement.tokens, work.label_tokens)
    return found


def time_sequences(loaded: LoadedModel, work: Workload, options: TimingOptions) -> Timing:
    """One sequence per forward pass: the naive way."""
    plain.use_plain_attention(loaded.model)
    plain.score_sequence(loaded.model, work.judgements[0].tokens, work.label_tokens)
    found: dict[int, float] = {}
    with PeakMemory(_device(loaded)) as memory:
        clock = Clock(options.seconds)
        for number, judgement in enumerate(work.judgements):
            if clock.over and number >= LEAST_SEQUENCES:
                break
            found[number] = plain.score_sequence(loaded.model, judgement.tokens, work.label_tokens)
        seconds, cpu = clock.seconds, clock.cpu_ms
    tokens = sum(len(work.judgements[number].tokens) for number in found)
    return exact_timing(found, seconds, tokens, cpu, memory.mib)


def time_padded(loaded: LoadedModel, work: Workload, options: TimingOptions) -> Timing:
    """Padded batches of like length, nothing shared."""
    plain.use_plain_attention(loaded.model)
    lengths = [len(judgement.tokens) for judgement in work.judgements]
    planned = list(plain.batches(range(len(work)), lengths, options.batch))

    def score(batch: list[int]) -> tuple[plain.Probabilities, int]:
        return plain.score_padded(loaded.model, [work.judgements[i].tokens for i in batch], work.label_tokens)

    # Kernels are chosen by shape on CUDA, where a whole batch is soon computed.
    score(planned[0] if _device(loaded).type == "cuda" else planned[0][:1])
    found: dict[int, float] = {}
    tokens = 0
    with PeakMemory(_device(loaded)) as memory:
        clock = Clock(options.seconds)
        for batch in planned:
            if clock.over and found:
                break
            probabilities, computed = score(batch)
            found.update(zip(batch, probabilities.tolist(), strict=True))
            tokens += computed
        seconds, cpu = clock.seconds, clock.cpu_ms
    return exact_timing(found, seconds, tokens, cpu, memory.mib)


def time_cached_prefix(loaded: LoadedModel, work: Workload, options: TimingOptions, cases: int) -> Timing:
    """transformers' DynamicCache: each variant's prefix once, then padded batches of cases that expand it.

    Args:
        loaded: The model.
        work: The judgements.
        options: Time and portions.
        cases: Judgements to stop at, in all variants together. Each variant gets its share of them, so that its prefix
            is spread over as many cases as with the engine; whole variants are left out when time is over.
    """
    plain.use_plain_attention(loaded.model)
    variants, model = work.cell.variants, loaded.model
    numbers = range(min(cases, len(work)))
    lengths = [len(judgement.rest) for judgement in work.judgements]
    rows = min(64, max(options.batch, _CACHE_BATCH_TOKENS // max(lengths)))
    _warm_cache(loaded, work, rows)
    found: dict[int, float] = {}
    tokens, prefixes = 0, Stopwatch(_device(loaded))
    with PeakMemory(_device(loaded)) as memory:
        clock = Clock(options.seconds)
        for variant in range(variants):
            if clock.over and found:
                break
            prefix = work.judgements[variant].prefix
            layers = prefixes.time(partial(plain.prefix_cache, model, prefix))
            tokens += len(prefix)
            for batch in plain.batches(numbers[variant::variants], lengths, rows):
                if clock.over and found:
                    break
                rests = [work.judgements[i].rest for i in batch]
                probabilities, computed = plain.score_after_prefix(model, layers, rests, work.label_tokens)
                found.update(zip(batch, probabilities.tolist(), strict=True))
                tokens += computed
        seconds, cpu = clock.seconds, clock.cpu_ms
    timing = exact_timing(found, seconds, tokens, cpu, memory.mib)
    return replace(timing, marginal_rate=len(found) / (seconds - prefixes.seconds))


def time_engine(loaded: LoadedModel, work: Workload, options: TimingOptions, cases: int = 0) -> Timing:
    """This engine: all variants and cases in one call.

    A first engine scores one case of each variant, which computes the prefixes, then 64 judgements to see how fast it
    is, then as many as the time allows: the marginal rate. A second, cold one scores the same judgements with the
    prefixes: the rate with everything counted, the tokens, the memory and the probabilities.

    Args:
        loaded: The model.
        work: The judgements.
        options: Time and portions.
        cases: Judgements to score whatever the time, as in an earlier round; 0 for as many as the time allows.

    Raises:
        EngineError: A judgement came back without a verdict.
    """
    queries = [judgement.query for judgement in work.judgements]
    variants = work.cell.variants
    engine = _open(loaded, options)
    _score(engine, queries[:variants])
    usage = _score(engine, queries[variants : variants + LEAST_ENGINE_JUDGEMENTS]).usage
    count = len(queries) - variants
    if cases:
        count = cases - variants
        usage = _score(engine, queries[variants : variants + count]).usage
    elif usage.queries < count:
        fits = int(options.seconds * usage.queries / usage.seconds) // variants * variants
        count = min(count, max(LEAST_ENGINE_JUDGEMENTS, fits))
        usage = _score(engine, queries[variants : variants + count]).usage
    engine.close()
    cold = _open(loaded, options)
    # Lazy initialisation is no part of the work; the text shares nothing with the workload's.
    _score(cold, [LabelQuery(work.judgements[0].query.segments[-1:], work.labels)])
    with PeakMemory(_device(loaded)) as memory:
        clock = Clock(options.seconds)
        scores = _score(cold, queries[: variants + count])
        seconds, cpu = clock.seconds, clock.cpu_ms
    cold.close()
    found = dict(enumerate(np.exp(scores.logprobs[:, 0].astype(np.float64)).tolist()))
    timing = exact_timing(found, seconds, scores.usage.tokens_computed, cpu, memory.mib)
    overhead = _overhead([usage, scores.usage])
    return replace(timing, marginal_rate=usage.queries / usage.seconds, overhead=overhead)


def time_method(method: str, loaded: LoadedModel, work: Workload, options: TimingOptions, cases: int) -> Timing | str:
    """Times a method by its name.

    Args:
        method: ``engine``, ``sequence``, ``padded`` or ``dynamic-cache``.
        loaded: The model.
        work: The judgements.
        options: Time and portions.
        cases: As in :func:`time_engine` and :func:`time_cached_prefix`; 0 where the engine has not been timed.

    Returns:
        The timing, or why there is none: the device ran out of memory.
    """
    try:
        match method:
            case "engine":
                return time_engine(loaded, work, options, cases)
            case "sequence":
                return time_sequences(loaded, work, options)
            case "padded":
                return time_padded(loaded, work, options)
            case "dynamic-cache":
                return time_cached_prefix(loaded, work, options, cases or len(work))
    except torch.OutOfMemoryError:
        return "the device ran out of memory"
    raise ValueError(f"unknown method {method!r}")


def _open(loaded: LoadedModel, options: TimingOptions) -> LocalEngine:
    model = loaded.model
    settings = LocalEngineSettings(
        loaded.name,
        device=str(next(model.parameters()).device),
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        batch_tokens=options.batch_tokens,
        prefix_cache_mib=options.prefix_cache_mib,
    )
    return LocalEngine(settings, loaded)


def _score(engine: LocalEngine, queries: list[LabelQuery]) -> LabelScores:
    scores = engine.score(queries)
    if scores.unjudged:
        reason = next(iter(scores.unjudged.values()))
        raise EngineError(f"{len(scores.unjudged)} of {len(queries)} judgements have no verdict ({reason})")
    return scores


def _overhead(usages: Iterable[Usage]) -> float:
    total = sum(usages, Usage())
    return 1 - total.model_seconds / total.seconds


def _warm_cache(loaded: LoadedModel, work: Workload, rows: int) -> None:
    judgement = work.judgements[0]
    whole = _device(loaded).type == "cuda"  # as in padded batches
    layers = plain.prefix_cache(loaded.model, judgement.prefix if whole else judgement.prefix[:16])
    plain.score_after_prefix(loaded.model, layers, [judgement.rest] * (rows if whole else 1), work.label_tokens)


def _device(loaded: LoadedModel) -> torch.device:
    device: torch.device = next(loaded.model.parameters()).device
    return device
