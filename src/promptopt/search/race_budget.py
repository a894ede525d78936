"""How many candidates a race can have, and what it may spend, within what is left of a sweep's budget.

Judgements are counted from the records, not from what was paid: a race that was killed and is run again has paid
already, and must come out as it would have.
"""

from __future__ import annotations

from collections.abc import Sequence

from promptopt.search.candidates import CandidateMaker
from promptopt.search.config import BudgetConfig
from promptopt.search.lockstep import LockstepConfig
from promptopt.search.racing import FieldConfig
from promptopt.search.study import TrialRecord


class RaceBudget:
    """The budget of a sweep in races.

    Args:
        budget: Trials and judgements of the whole sweep.
        rule: Size of a field, and the share of its grid that a race may spend.
        finalists: So many candidates of a race are judged on every case.
        maker: Knows how many questions a candidate asks.
        cases: Least cases of the first block, and those of a whole race.
    """

    def __init__(
        self, budget: BudgetConfig, rule: FieldConfig, finalists: int, maker: CandidateMaker, cases: tuple[int, int]
    ) -> None:
        self._budget = budget
        self._rule = rule
        self._finalists = finalists
        self._maker = maker
        self._first, self._cases = cases

    def field_size(self, records: Sequence[TrialRecord]) -> int:
        """New candidates that the next race can have; 0 when there is room for none."""
        distinct = [record for record in records if record.repeats is None]
        size = self._rule.field
        if self._budget.trials is not None:
            size = min(size, self._budget.trials - len(distinct))
        left = self._judgements_left(distinct)
        if left is not None:
            dearest = self._maker.most_questions
            final = min(size, self._finalists) * dearest * (self._cases - self._first)
            size = min(size, (left - final) // (dearest * self._first))
        return size

    def rule_of_race(self, costs: Sequence[int], records: Sequence[TrialRecord]) -> LockstepConfig:
        """The rule with the share of a field's grid that the race may spend: what is configured, what the finalists
        need where that is more, and never more than is left.

        Args:
            costs: Judgements that each candidate of the field needs per case.
            records: Trials of the races before.
        """
        dearest = sorted(costs, reverse=True)[: self._finalists]
        grid = sum(costs) * self._cases
        needed = sum(costs) * self._first + sum(dearest) * (self._cases - self._first)
        allowance = max(self._rule.budget * grid, needed)
        left = self._judgements_left([record for record in records if record.repeats is None])
        if left is not None:
            allowance = min(allowance, max(left, needed))
        values = self._rule.model_dump(include=set(LockstepConfig.model_fields))
        return LockstepConfig.model_validate({**values, "budget": min(1.0, (allowance + 0.5) / grid)})

    def _judgements_left(self, distinct: Sequence[TrialRecord]) -> int | None:
        if self._budget.judge_calls is None:
            return None
        return self._budget.judge_calls - sum(r.cases * self._maker.questions(r.candidate) for r in distinct)
