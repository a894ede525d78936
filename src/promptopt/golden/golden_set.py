"""A golden set: cases with gold labels, split, and the rules they keep."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from promptopt.core.case import GoldenCase, Split
from promptopt.core.digest import digest_all, digest_data
from promptopt.core.model import FrozenModel
from promptopt.errors import GoldenSetError
from promptopt.policy.model import Policy


class GoldenSet(FrozenModel):
    """The measure of a judge in one domain.

    Attributes:
        name: What reports call it.
        domain: The policy domain that its labels speak of.
        cases: At least one case; ids are unique.
    """

    name: str = Field(min_length=1)
    domain: str = Field(min_length=1)
    cases: tuple[GoldenCase, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        if repeated := [i for i, times in Counter(case.id for case in self.cases).items() if times > 1]:
            raise ValueError(f"case ids used twice: {', '.join(sorted(repeated)[:5])}")
        return self

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the cases' ids, texts, labels, clauses and splits, whatever their order."""
        return digest_all(
            digest_data({"id": c.id, "text": c.text, "label": c.label, "clause": c.clause, "split": c.split})
            for c in self.cases
        )

    @cached_property
    def by_id(self) -> dict[str, GoldenCase]:
        """Cases by id."""
        return {case.id: case for case in self.cases}

    def split(self, split: Split) -> tuple[GoldenCase, ...]:
        """The cases of one split, in file order."""
        return tuple(case for case in self.cases if case.split is split)

    def check_splits(self) -> None:
        """Checks that every case has a split and every split a violation.

        Raises:
            GoldenSetError: Names the first case or split at fault.
        """
        if unsplit := [case.id for case in self.cases if case.split is None]:
            raise self._fault(f"{len(unsplit)} cases have no split, the first is {unsplit[0]}", "assign splits first")
        for split in Split:
            if not any(case.is_violation for case in self.split(split)):
                raise self._fault(
                    f"split {split} has {len(self.split(split))} cases and no violation among them",
                    "add violations in more groups: recall cannot be measured without them",
                )

    def check_against(self, policy: Policy) -> None:
        """Checks that the labels follow the policy, and the splits.

        Raises:
            GoldenSetError: As :meth:`check_labels`, or a case without split, or a split without violations; names the
                first case at fault.
        """
        self.check_labels(policy)
        self.check_splits()

    def check_labels(self, policy: Policy) -> None:
        """Checks that the labels follow the policy.

        A violation cites a violating clause, or none where the source names none, and carries that clause's severity;
        an allowed case cites a permitting clause, or none.

        Raises:
            GoldenSetError: Another domain, an undefined clause, or a clause or severity that contradicts the label;
                names the first case at fault.
        """
        if policy.domain != self.domain:
            raise self._fault(
                f"the set is of domain {self.domain}, the policy of {policy.domain}", "pair the right two"
            )
        for case in self.cases:
            self._check_case(case, policy)

    def _check_case(self, case: GoldenCase, policy: Policy) -> None:
        remedy = "correct the case or the policy"
        if case.clause is not None and case.clause not in policy.by_id:
            known = ", ".join(policy.by_id)
            raise self._fault(
                f"case {case.id} cites clause {case.clause}, which the policy does not define", f"known: {known}"
            )
        clause = None if case.clause is None else policy.by_id[case.clause]
        if clause is not None and clause.is_violating != case.is_violation:
            raise self._fault(
                f"case {case.id} is labelled {case.label} and cites clause {clause.id} of severity {clause.severity}",
                remedy,
            )
        if clause is not None and clause.severity != case.severity:
            raise self._fault(
                f"case {case.id} has severity {case.severity}, its clause {clause.id} has {clause.severity}", remedy
            )

    def _fault(self, what: str, remedy: str) -> GoldenSetError:
        return GoldenSetError(what, where=f"golden set {self.name}", remedy=remedy)
