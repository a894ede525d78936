"""What a benchmark of the engine reports: one row per cell and method, and for every cell how the methods compare."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from promptopt.bench.flops import ModelShape, WorkCount, count_work
from promptopt.bench.timing import Timing
from promptopt.bench.workload import Cell, Workload
from promptopt.core.model import FrozenModel

ENGINE = "engine"
METHODS = (ENGINE, "sequence", "padded", "dynamic-cache", "dspy-server")
WITHOUT_SHARING = ("sequence", "padded")


class BenchRow(FrozenModel):
    """One method in one cell; None where something is not measured or does not apply.

    Attributes:
        prefix: Tokens before the case.
        item: Tokens of a case.
        variants: Prompts that share three quarters of the prefix.
        method: One of :data:`METHODS`.
        note: Why the method was not measured, or an empty string.
        cases: Judgements timed.
        judgements_per_second: With the one-off prefixes counted.
        marginal_judgements_per_second: With the prefixes already computed, for methods that keep them.
        tokens_per_judgement: Tokens computed per judgement, prefixes and padding counted.
        tokens_saved: Share of the tokens submitted that were not computed.
        gflops: Useful operations per second, in billions, prefixes counted.
        share_of_peak: The same as a share of the measured matrix multiplication.
        marginal_share_of_peak: The share once the prefixes are there.
        peak_memory_mib: Resident memory (CPU, the server's included) or allocated memory (CUDA).
        client_cpu_ms: Processor milliseconds of this process per judgement; local methods compute the model in it.
        compared: Judgements compared with plain float32.
        largest_difference: Largest difference in probability from plain float32.
        agreement: Share of verdicts that are those of plain float32.
        overhead: Share of the wall time outside the model's forward pass.
        failures: Judgements without a readable answer.
        client_threads: Client threads of a peer that was fastest with them.
    """

    prefix: int
    item: int
    variants: int
    method: str
    note: str = ""
    cases: int | None = None
    judgements_per_second: float | None = None
    marginal_judgements_per_second: float | None = None
    tokens_per_judgement: float | None = None
    tokens_saved: float | None = None
    gflops: float | None = None
    share_of_peak: float | None = None
    marginal_share_of_peak: float | None = None
    peak_memory_mib: float | None = None
    client_cpu_ms: float | None = None
    compared: int | None = None
    largest_difference: float | None = None
    agreement: float | None = None
    overhead: float | None = None
    failures: int | None = None
    client_threads: int | None = None

    @property
    def cell(self) -> Cell:
        return Cell(self.prefix, self.item, self.variants)


class PeerRatio(FrozenModel):
    """The engine's judgements per second over a peer's.

    Attributes:
        ratio: With the one-off prefixes counted on both sides.
        marginal_ratio: Prefixes apart, where a side has such a figure.
        ideal_ratio: Ratio of the operations needed, prefixes counted; only for peers that share nothing.
        ideal_marginal_ratio: The same, prefixes apart.
        share_of_ideal: ``ratio`` over ``ideal_ratio``.
        marginal_share_of_ideal: ``marginal_ratio`` over ``ideal_marginal_ratio``.
    """

    ratio: float
    marginal_ratio: float
    ideal_ratio: float | None = None
    ideal_marginal_ratio: float | None = None
    share_of_ideal: float | None = None
    marginal_share_of_ideal: float | None = None


class CellSummary(FrozenModel):
    """How the engine compares in one cell.

    Attributes:
        prefix: Tokens before the case.
        item: Tokens of a case.
        variants: Prompts.
        tokens_computed: What the engine computed for the judgements timed.
        trie_edges: The least it could have, every shared stretch before a case computed once.
        peers: By method.
    """

    prefix: int
    item: int
    variants: int
    tokens_computed: int
    trie_edges: int
    peers: dict[str, PeerRatio] = Field(default_factory=dict)

    @property
    def cell(self) -> Cell:
        return Cell(self.prefix, self.item, self.variants)


def make_row(
    method: str, timing: Timing, work: Workload, shape: ModelShape, peak: float, reference: dict[int, float]
) -> BenchRow:
    """The row of a method that was measured.

    Args:
        method: Its name.
        timing: What was measured.
        work: The judgements.
        shape: The model.
        peak: Operations per second of the measured matrix multiplication.
        reference: Probabilities of the first label in plain float32, by number of the judgement.
    """
    probabilities, verdicts = timing.probabilities, timing.verdicts
    both = sorted(reference.keys() & verdicts.keys())
    differences = [abs(probabilities[i] - reference[i]) for i in both if i in probabilities]
    agreeing = [verdicts[i] == int(reference[i] < 0.5) for i in both]
    return BenchRow(
        **_place(work.cell),
        method=method,
        cases=timing.cases,
        judgements_per_second=timing.rate,
        marginal_judgements_per_second=timing.marginal_rate,
        peak_memory_mib=timing.memory_mib,
        client_cpu_ms=timing.cpu_ms,
        compared=len(both),
        largest_difference=max(differences, default=None),
        agreement=sum(agreeing) / len(both) if both else None,
        overhead=timing.overhead,
        failures=timing.failures,
        client_threads=timing.threads,
        **_tokens(timing, work),
        **_operations(timing, work, shape, peak),
    )


def missing_row(method: str, cell: Cell, reason: str) -> BenchRow:
    """The row of a method that could not be measured."""
    return BenchRow(**_place(cell), method=method, note=f"not measured: {reason}")


def summarise(rows: dict[str, BenchRow], work: Workload, shape: ModelShape) -> CellSummary | None:
    """How the engine compares with the other methods of its cell; None where it was not measured itself."""
    engine = rows.get(ENGINE)
    if engine is None or not engine.cases or not engine.judgements_per_second:
        return None
    count = count_work(shape, work.sequences(range(engine.cases)))
    peers = {
        method: _ratio(engine, row, count)
        for method, row in rows.items()
        if method != ENGINE and row.judgements_per_second
    }
    computed = round((engine.tokens_per_judgement or 0) * engine.cases)
    return CellSummary(**_place(work.cell), tokens_computed=computed, trie_edges=count.trie_edges, peers=peers)


def _place(cell: Cell) -> dict[str, Any]:
    return {"prefix": cell.prefix, "item": cell.item, "variants": cell.variants}


def _tokens(timing: Timing, work: Workload) -> dict[str, float]:
    if timing.tokens_computed is None:
        return {}
    computed = {"tokens_per_judgement": timing.tokens_computed / timing.cases}
    if not timing.probabilities:
        return computed  # a peer's prompts are its own: what was submitted is not known
    submitted = sum(len(work.judgements[number].tokens) for number in timing.probabilities)
    return {**computed, "tokens_saved": 1 - timing.tokens_computed / submitted}


def _operations(timing: Timing, work: Workload, shape: ModelShape, peak: float) -> dict[str, float]:
    """Useful operations per second; a peer's are not known."""
    if not timing.probabilities:
        return {}
    count = count_work(shape, work.sequences(sorted(timing.probabilities)))
    if timing.marginal_rate is None:
        speed = count.full_flops / count.judgements * timing.rate
        return {"gflops": speed / 1e9, "share_of_peak": speed / peak}
    speed = (count.prefix_flops + count.marginal_flops) / count.judgements * timing.rate
    marginal = count.marginal_flops / count.judgements * timing.marginal_rate
    return {"gflops": speed / 1e9, "share_of_peak": speed / peak, "marginal_share_of_peak": marginal / peak}


def _ratio(engine: BenchRow, peer: BenchRow, count: WorkCount) -> PeerRatio:
    own, other = engine.judgements_per_second or 0.0, peer.judgements_per_second or 0.0
    ratio = own / other
    marginal = (engine.marginal_judgements_per_second or own) / (peer.marginal_judgements_per_second or other)
    if peer.method not in WITHOUT_SHARING:
        return PeerRatio(ratio=ratio, marginal_ratio=marginal)
    return PeerRatio(
        ratio=ratio,
        marginal_ratio=marginal,
        ideal_ratio=count.ideal_ratio,
        ideal_marginal_ratio=count.ideal_marginal_ratio,
        share_of_ideal=ratio / count.ideal_ratio,
        marginal_share_of_ideal=marginal / count.ideal_marginal_ratio,
    )
