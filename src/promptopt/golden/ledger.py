"""What a file has said so far: refuses ids used twice and texts with two labels, naming both places."""

from __future__ import annotations

from promptopt.core.case import GoldenCase
from promptopt.errors import GoldenSetError


class CaseLedger:
    """Cases in file order, each with the place it came from.

    Args:
        refuse_two_labels: Refuse a text that stands already with the other label.
    """

    def __init__(self, *, refuse_two_labels: bool) -> None:
        self.cases: list[GoldenCase] = []
        self._refuse_two_labels = refuse_two_labels
        self._by_id: dict[str, tuple[GoldenCase, str]] = {}
        self._by_text: dict[str, tuple[GoldenCase, str]] = {}

    def add(self, case: GoldenCase, where: str) -> None:
        """Enters a case.

        Args:
            case: The case.
            where: ``"file:line"``.

        Raises:
            GoldenSetError: The id stands already, or the text stands already with the other label.
        """
        if case.id in self._by_id:
            raise self._repeated_id(case, where)
        if self._refuse_two_labels:
            self._check_text(case, where)
        self._by_id[case.id] = (case, where)
        self.cases.append(case)

    def _check_text(self, case: GoldenCase, where: str) -> None:
        first, first_where = self._by_text.setdefault(case.digest, (case, where))
        if first.label is not case.label:
            raise GoldenSetError(
                f"case {case.id} is labelled {case.label}, but case {first.id} on line {_line(first_where)} has the "
                f"same text and is labelled {first.label}",
                where=where,
                remedy="keep the right one",
            )

    def _repeated_id(self, case: GoldenCase, where: str) -> GoldenSetError:
        first, first_where = self._by_id[case.id]
        line = _line(first_where)
        if first.label is not case.label:
            what, remedy = f"is labelled {case.label} here and {first.label} on line {line}", "keep the right one"
        elif first.text != case.text:
            what, remedy = f"has another text on line {line}", "give one of them another id"
        elif first != case:
            what, remedy = f"stands with other values on line {line}", "keep the right one"
        else:
            what, remedy = f"stands already on line {line}", "remove one of the two lines"
        return GoldenSetError(f"case {case.id} {what}", where=where, remedy=remedy)


def _line(where: str) -> str:
    return where.rpartition(":")[2]
