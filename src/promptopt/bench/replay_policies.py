"""Selection policies that are replayed on a score matrix: each spends an allowance of judgements and ranks candidates.

A policy returns the candidates that it judged on every case, its pick first; never an empty list.

Candidates come in the pool's random order wherever a policy has no order of its own: what a sampler would have proposed
next cannot be replayed on a fixed set of candidates. All policies but ``miprov2_accuracy`` and the pruning of
``wilcoxon`` compare candidates by AUPRC, also where the original averages a score per case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from promptopt.bench.replay_pool import Ledger, ReplayPool
from promptopt.bench.replay_wilcoxon import wilcoxon
from promptopt.metrics.arrays import BoolArray, FloatArray, IntArray
from promptopt.metrics.ranking import average_precision
from promptopt.search.lockstep import LockstepConfig, LockstepRacer
from promptopt.search.race_blocks import race_blocks
from promptopt.search.racing import RacingConfig, goes_on

Metric = Callable[[BoolArray, FloatArray], float]
Policy = Callable[[ReplayPool, Ledger, int], list[int]]
MINIBATCH, FULL_EVALUATION_STEPS = 35, 5  # DSPy 3.4.1's defaults
_MORE_THAN_ALL = 1e6


def race(pool: ReplayPool, ledger: Ledger, seed: int, config: LockstepConfig) -> LockstepRacer:
    """Runs a lockstep race on a pool; candidates go by their number in it.

    Raises:
        ConfigError: The budget does not carry one look and two finalists.
    """
    racer = LockstepRacer([str(i) for i in range(pool.size[0])], pool.cases, config, seed)
    while (block := racer.next_block()) is not None:
        for name in block.candidates:
            ledger.ask(int(name), block.rows)
        racer.drop({name: pool.scores[int(name), racer.rows] for name in block.candidates})
    return racer


def lockstep(pool: ReplayPool, ledger: Ledger, seed: int) -> list[int]:
    """This package's race with its default settings."""
    config = LockstepConfig(budget=ledger.left / (pool.size[0] * pool.size[1]))
    racer = race(pool, ledger, seed, config)
    return [int(name) for name, _ in racer.ranking if name in racer.alive]


def random_search(pool: ReplayPool, ledger: Ledger, seed: int) -> list[int]:
    """Candidates in random order, each on every case, until the budget is gone."""
    everything = np.arange(pool.size[1])
    found: dict[int, float] = {}
    for candidate in range(pool.size[0]):
        if ledger.price(candidate, everything) > ledger.left:
            break
        found[candidate] = _auprc(pool.labels, ledger.ask(candidate, everything))
    return ranked(found)


def asha(pool: ReplayPool, ledger: Ledger, seed: int) -> list[int]:
    """The rule of today's sweeps (``search.racing``), asynchronous successive halving, with its default settings."""
    config = RacingConfig()
    order = _mirrored(pool, seed)
    ends = [end for end in np.cumsum(config.blocks).tolist() if end < len(order)] + [len(order)]
    rungs: list[list[float]] = [[] for _ in ends]
    found: dict[int, float] = {}
    for candidate in range(pool.size[0]):
        for rung, end in enumerate(ends):
            if ledger.price(candidate, order[:end]) > ledger.left:
                return ranked(found)
            value = _auprc(pool.labels[order[:end]], ledger.ask(candidate, order[:end]))
            passes = goes_on(value, rungs[rung], config)
            rungs[rung].append(value)
            if end == len(order):
                found[candidate] = value
            elif not passes:
                break
    return ranked(found)


def successive_halving(pool: ReplayPool, ledger: Ledger, seed: int) -> list[int]:
    """All candidates on the same cases; the better half goes on to twice as many, the last ones to all.

    The first block is as large as the budget allows.
    """
    order = _mirrored(pool, seed)
    plans = (_halvings(pool.size[0], len(order), first) for first in range(len(order), 0, -1))
    plan = next((plan for plan in plans if _plan_price(plan) <= ledger.left), [])
    field = list(range(pool.size[0]))
    values: dict[int, float] = {}
    for size, end in plan:
        field = sorted(field, key=lambda candidate: -values.get(candidate, 0.0))[:size]
        values = {c: _auprc(pool.labels[order[:end]], ledger.ask(c, order[:end])) for c in field}
    return ranked(values)


def miprov2(pool: ReplayPool, ledger: Ledger, seed: int, metric: Metric | None = None) -> list[int]:
    """MIPROv2's rule (``dspy/teleprompt/mipro_optimizer_v2.py``): the first candidate in full, then a fresh random
    minibatch for each next one, and after every fifth the best average that was not evaluated in full so far.

    As many trials as the budget carries, with a last full evaluation; the best full evaluation wins. Judgements that
    minibatches and full evaluations share are paid for once.
    """
    measure = metric or _auprc
    random = np.random.default_rng([seed, 2])
    everything = np.arange(pool.size[1])
    if ledger.price(0, everything) > ledger.left:
        return [0]
    full = {0: measure(pool.labels, ledger.ask(0, everything))}
    averages: dict[int, list[float]] = {}

    def evaluate_best() -> None:
        waiting = {c: float(np.mean(values)) for c, values in averages.items() if c not in full}
        candidate = ranked(waiting)[0]
        if waiting and ledger.price(candidate, everything) <= ledger.left:
            full[candidate] = measure(pool.labels, ledger.ask(candidate, everything))

    for trial in range(1, MINIBATCH * pool.size[0]):
        candidate = trial % pool.size[0]
        batch = random.permutation(pool.size[1])[:MINIBATCH]
        if ledger.price(candidate, batch) + len(everything) > ledger.left:
            break
        averages.setdefault(candidate, []).append(measure(pool.labels[batch], ledger.ask(candidate, batch)))
        if trial % FULL_EVALUATION_STEPS == 0:
            evaluate_best()
    evaluate_best()
    return ranked(full)


def miprov2_accuracy(pool: ReplayPool, ledger: Ledger, seed: int) -> list[int]:
    """MIPROv2's rule with what it averages by default in classification: correct verdicts at a probability of 0.5."""

    def accuracy(labels: BoolArray, scores: FloatArray) -> float:
        return float(np.mean((scores >= np.log(0.5)) == labels))

    return miprov2(pool, ledger, seed, accuracy)


def minibatch_then_full(pool: ReplayPool, ledger: Ledger, seed: int) -> list[int]:
    """One random minibatch of 35 for every candidate, then the best of them in full as far as the budget goes."""
    random = np.random.default_rng([seed, 2])
    everything = np.arange(pool.size[1])
    averages: dict[int, float] = {}
    for candidate in range(pool.size[0]):
        batch = random.permutation(pool.size[1])[:MINIBATCH]
        if ledger.price(candidate, batch) + len(everything) > ledger.left:
            break
        averages[candidate] = _auprc(pool.labels[batch], ledger.ask(candidate, batch))
    full: dict[int, float] = {}
    for candidate in sorted(averages, key=lambda c: -averages[c]):
        if ledger.price(candidate, everything) > ledger.left:
            break
        full[candidate] = _auprc(pool.labels, ledger.ask(candidate, everything))
    return ranked(full)


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "lockstep": lockstep,
        "miprov2": miprov2,
        "miprov2_accuracy": miprov2_accuracy,
        "minibatch_then_full": minibatch_then_full,
        "successive_halving": successive_halving,
        "asha": asha,
        "wilcoxon": wilcoxon,
        "random": random_search,
    }
)


def _mirrored(pool: ReplayPool, seed: int) -> IntArray:
    """Cases in one order for all candidates, every stretch with about the proportions of label, clause and severity."""
    labels = pool.labels
    places = np.empty(len(labels))
    both = np.concatenate(race_blocks(pool.cases, len(labels), _MORE_THAN_ALL, seed))
    for label in (True, False):  # the labels take turns in a race; here each is spread over the whole
        rows = both[labels[both] == label]
        places[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.argsort(places, kind="stable").astype(np.int64)


def _halvings(field: int, cases: int, first: int) -> list[tuple[int, int]]:
    """(candidates, cases seen by then) of each round."""
    plan = [(field, min(first, cases))]
    while plan[-1][0] > 2 and plan[-1][1] < cases:
        plan.append(((plan[-1][0] + 1) // 2, min(2 * plan[-1][1], cases)))
    if plan[-1][1] < cases:
        plan.append((plan[-1][0], cases))
    return plan


def _plan_price(plan: list[tuple[int, int]]) -> int:
    seen = [0, *(end for _, end in plan)]
    return sum(size * (end - before) for (size, end), before in zip(plan, seen, strict=False))


def _auprc(labels: BoolArray, scores: FloatArray) -> float:
    """0 where it is undefined, as DSPy counts an example that failed."""
    return float(np.nan_to_num(average_precision(labels, scores)))


def ranked(values: Mapping[int, float]) -> list[int]:
    """Candidates from the best to the worst, the earlier of equals first; the first candidate where there is none."""
    return sorted(values, key=lambda candidate: -values[candidate]) or [0]
