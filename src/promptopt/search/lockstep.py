"""Lockstep racing: all candidates on the same blocks of cases, dropped by paired tests that share one error budget.

What is tested. The race is about one number per candidate: its AUPRC on *all* cases of the race. The blocks are random
draws without replacement from those cases, as many violations as allowed cases while both last, spread over clause,
severity, language and group; each label is weighted by what it stands for. After a block every AUPRC is estimated from
the cases seen, and the difference of two candidates has a standard error that falls to zero at the last case. A
candidate is dropped when a one-sided paired test against the leader rejects "it is at least as good on all cases".

What is guaranteed, and what is not. With n candidates and K blocks after which tests are made, each test has the level
``alpha / ((n - 1) K)``. Whoever leads, and however often that changes, the best candidate meets at most n - 1 rivals K
times, so that the chance that any test ever drops it is at most ``alpha``. That count is exact; the single test is a
large-sample one, made conservative (:meth:`~promptopt.search.paired_auprc.PairedAuprc.p_value`); hence none is made
before ``min_positives`` cases of either label were seen, and ``promptopt bench search`` counts the errors. Nothing is
claimed about other pairs, in which a candidate better than a lucky leader may be dropped, nor about new cases: that is
for the sealed test. Where the budget does not carry the field on, the racer narrows it to the best that it can afford;
such a drop is a guess, is recorded as ``budget``, and lies outside the bound.

Several objectives. What a candidate's other objectives are worth (tokens, say) is known before any case is judged. A
candidate is then tested only against rivals that are at least as good in all of these, so that what is dropped is
dominated; the bound holds for every candidate that nobody dominates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
from pydantic import Field

from promptopt.core.model import FrozenModel
from promptopt.errors import ConfigError
from promptopt.metrics.arrays import FloatArray, IntArray
from promptopt.search.paired_auprc import PairedAuprc, Standing
from promptopt.search.race_allowance import affordable, dearest, first_block_carried
from promptopt.search.race_blocks import RaceCases, race_blocks
from promptopt.search.race_records import Drop, DropReason, RaceBlock

FINALISTS = 2


class LockstepConfig(FrozenModel):
    """How a field of candidates is raced.

    Attributes:
        first_block: Least cases that every candidate is judged on.
        first_share: Share of what the budget gives each candidate that the first block may take where that comes to
            more cases, up to those from which tests can be made: what the budget drops by fewer is dropped by luck.
        growth: After each block so many times the cases have been seen.
        alpha: Chance that a test ever drops the best candidate, over all candidates and blocks.
        min_positives: Tests are made once so many violations, and so many allowed cases, were seen.
        budget: Most judgements, as a share of judging every candidate on every case; the first block of all candidates
            and the remaining cases of two have to fit in.
        max_survivors: Most candidates that are judged on the last block; None for as many as the budget carries.
    """

    first_block: int = Field(default=12, ge=2)
    first_share: float = Field(default=1 / 3, ge=0.0, lt=1.0)
    growth: float = Field(default=1.25, gt=1.0)
    alpha: float = Field(default=0.05, gt=0.0, lt=1.0)
    min_positives: int = Field(default=20, ge=2)
    budget: float = Field(default=0.1, gt=0.0, le=1.0)
    max_survivors: int | None = Field(default=None, ge=FINALISTS)


class LockstepRacer:
    """A race: ``next_block`` says what to judge, ``drop`` takes the scores, until ``next_block`` gives None.

    Args:
        candidates: Distinct names; ties go to the earlier one.
        cases: What they are judged on.
        config: The rule.
        seed: Order of the cases; equal seeds and scores give equal races.
        costs: Judgements that a candidate needs per case; 1 where it is not named, 0 for one judged before.
        secondary: What a candidate's other objectives are worth, all of one length, larger being better; nobody has
            any where None.
        kept: A candidate that stays to the last case whatever it scores, because it has to be judged in full anyway; it
            takes the place of a finalist. None where nobody does.
        finalists: So many candidates stay to the last case whatever the budget, unless tests drop them.

    Raises:
        ConfigError: A label has no case, or the budget does not carry the first block and two finalists.
        ValueError: No candidate, or one name twice, or nobody has the name that is kept.

    Attributes:
        blocks: Rows of the cases, block by block; fixed from the start.
        tested: Numbers of the blocks after which tests are made; fixed from the start.
        level: Level of each test.
        allowance: Judgements that may be spent.
        spent: Judgements asked for so far.
        rows: Rows asked for so far, in order.
        alive: Candidates in the race.
        drops: Who left, in order.
    """

    def __init__(
        self,
        candidates: Sequence[str],
        cases: RaceCases,
        config: LockstepConfig,
        seed: int = 0,
        costs: Mapping[str, int] | None = None,
        secondary: Mapping[str, Sequence[float]] | None = None,
        kept: str | None = None,
        finalists: int = FINALISTS,
    ) -> None:
        if not candidates or len(set(candidates)) < len(candidates):
            raise ValueError("a race needs candidates with distinct names")
        if kept is not None and kept not in candidates:
            raise ValueError(f"{kept!r} is to be kept and is no candidate")
        self._kept = kept
        self._finalists = max(FINALISTS, finalists)
        self._labels = np.asarray(cases.labels, dtype=np.bool_)
        self._totals = int(self._labels.sum()), int((~self._labels).sum())
        self._config = config
        self._costs = {name: (costs or {}).get(name, 1) for name in candidates}
        self._secondary = {name: np.asarray((secondary or {}).get(name, ()), np.float64) for name in candidates}
        self.allowance = int(config.budget * sum(self._costs.values()) * len(self._labels) + 1e-9)
        self.blocks = race_blocks(cases, self._first_block(), config.growth, seed)
        self.tested = self._tests()
        self.level = config.alpha / (max(1, len(candidates) - 1) * max(1, len(self.tested)))
        self.spent = 0
        self.rows: IntArray = np.zeros(0, dtype=np.int64)
        self.alive = tuple(candidates)
        self.drops: list[Drop] = []
        self._done = 0
        self._pending = False
        self._leader = candidates[0]
        self._standings: dict[str, Standing] = {}
        self._check_budget()

    def next_block(self) -> RaceBlock | None:
        """What to judge next; None when one candidate is left or everything was judged.

        Raises:
            RuntimeError: The scores of the last block have not been given.
        """
        if self._pending:
            raise RuntimeError("the last block's scores are still missing: call drop() first")
        if self._done == len(self.blocks) or (self._done and len(self.alive) < FINALISTS):
            return None
        block = RaceBlock(self._done, self.blocks[self._done], self.alive)
        self.spent += self._cost(self.alive) * len(block.rows)
        self.rows = np.concatenate([self.rows, block.rows])
        self._pending = True
        return block

    def drop(self, scores: Mapping[str, FloatArray]) -> tuple[Drop, ...]:
        """Takes the scores so far and drops whom the tests, and then the budget, leave no place.

        Args:
            scores: Candidate to its scores on all of ``rows``, in that order: (rows,), NaN where unjudged, larger
                meaning likelier a violation.

        Returns:
            Who was dropped, and why.

        Raises:
            RuntimeError: No block is waiting for scores.
            ValueError: A candidate's scores are missing or of another shape.
        """
        if not self._pending:
            raise RuntimeError("no block is waiting for scores: call next_block() first")
        drawn = PairedAuprc(self._labels[self.rows], *self._totals, least=self._config.min_positives)
        self._standings = {name: drawn.stand(np.asarray(scores.get(name, ()), np.float64)) for name in self.alive}
        number, self._done, self._pending = self._done, self._done + 1, False
        before = len(self.drops)
        self._leader = self.ranking[0][0]
        self._leave([name for name in self.alive if np.isnan(self._standings[name].value)], "unmeasured")
        if number in self.tested:
            rivals = {name: self._rival(name) for name in self.alive}
            tests = {
                name: drawn.p_value(self._standings[rival], self._standings[name])
                for name, rival in rivals.items()
                if rival is not None
            }
            worse = [name for name, p in tests.items() if p <= self.level and name != self._kept]
            self._leave(worse, "test", tests, rivals)
        if self._done < len(self.blocks):
            self._narrow()
        return tuple(self.drops[before:])

    @property
    def estimates(self) -> dict[str, float]:
        """AUPRC on all cases, as estimated after the last block, of everyone who was judged on it."""
        return {name: standing.value for name, standing in self._standings.items()}

    @property
    def ranking(self) -> tuple[tuple[str, float], ...]:
        """Candidates in the race with their AUPRC on the cases so far, the best first; the race's winner leads it."""
        values = [(name, self._standings[name].value) for name in self.alive if name in self._standings]
        return tuple(sorted(values, key=lambda pair: (np.isnan(pair[1]), -pair[1])))

    def _rival(self, name: str) -> str | None:
        """The best of those that do at least as well in all other objectives; None for who has no such rival."""
        own = self._secondary[name]
        rivals = (other for other, _ in self.ranking if bool((self._secondary[other] >= own).all()))
        best = next(rivals)  # everybody is a rival of his own
        return None if best == name else best

    def _first_block(self) -> int:
        """Cases of the first block: what ``first_share`` allows, as far as the finalists' remaining cases are left."""
        config, costs = self._config, tuple(self._costs.values())
        carried = first_block_carried(costs, self._finalists, self.allowance, len(self._labels))
        if carried is None:
            return config.first_block
        wanted = int(config.first_share * self.allowance / sum(costs))
        return max(config.first_block, min(wanted, 2 * config.min_positives, carried))

    def _tests(self) -> tuple[int, ...]:
        seen = accumulate(np.array([self._labels[b].sum(), (~self._labels[b]).sum()]) for b in self.blocks[:-1])
        return tuple(i for i, counts in enumerate(seen) if counts.min() >= self._config.min_positives)

    def _check_budget(self) -> None:
        first, costs = len(self.blocks[0]), tuple(self._costs.values())
        look, final = sum(costs) * first, dearest(costs, self._finalists) * (len(self._labels) - first)
        if look + final > self.allowance:
            raise ConfigError(
                f"a budget of {self.allowance:,} judgements does not carry one look at {len(self._costs)} candidates "
                f"({look:,}) and the rest of the cases for {self._finalists} of them ({final:,})",
                where="lockstep.budget",
                remedy="raise the budget, or lower first_block",
            )

    def _cost(self, names: Sequence[str]) -> int:
        return sum(self._costs[name] for name in names)

    def _narrow(self) -> None:
        """Keeps the best that can be afforded, the field shrinking evenly from block to block."""
        if len(self.alive) <= self._finalists:
            return
        last = self._done == len(self.blocks) - 1
        costs, blocks = [self._costs[name] for name in self.alive], [len(block) for block in self.blocks[self._done :]]
        room = affordable(costs, self._finalists, self.allowance - self.spent, blocks)
        kept: list[str] = []
        for name in self._promising():
            if len(kept) < self._finalists or self._cost(kept) + self._costs[name] <= room:
                kept.append(name)
        self._leave([name for name in self.alive if name not in kept], "budget")
        most = self._config.max_survivors
        if last and most is not None:
            over = [name for name in self._promising() if name in self.alive][most:]
            self._leave(over, "max_survivors")

    def _promising(self) -> list[str]:
        """The field in the order in which it is kept: the leader, who is kept anyway, then by AUPRC, steadied by AUROC
        while cases are few.

        Both are standardised over the field. AUROC goes with AUPRC and varies less from few cases; its weight falls
        to nothing as the race nears the last case.
        """
        standings = [self._standings[name] for name in self.alive]
        values = np.array([[one.value, 0.5 if np.isnan(one.auroc) else one.auroc] for one in standings])
        scale = values.std(axis=0)
        standard = (values - values.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
        merit = standard[:, 0] + (1 - len(self.rows) / len(self._labels)) * standard[:, 1]
        # whom nobody seems to dominate, the leader among them, goes first
        merit[[i for i, name in enumerate(self.alive) if self._rival(name) is None]] += 1 / np.finfo(np.float64).eps
        merit[[i for i, name in enumerate(self.alive) if name in (self._leader, self._kept)]] = np.inf
        return [self.alive[i] for i in np.argsort(-merit, kind="stable")]

    def _leave(
        self,
        names: Sequence[str],
        why: DropReason,
        tests: Mapping[str, float] | None = None,
        rivals: Mapping[str, str | None] | None = None,
    ) -> None:
        for name in names:
            leader = (rivals or {}).get(name) or self._leader
            facts = {} if tests is None else {"p": tests[name], "level": self.level}
            self.drops.append(
                Drop(
                    candidate=name,
                    why=why,
                    cases=len(self.rows),
                    value=self._standings[name].value,
                    leader=leader,
                    leader_value=self._standings[leader].value,
                    **facts,
                )
            )
        self.alive = tuple(name for name in self.alive if name not in names)
