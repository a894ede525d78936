"""Critical slices of the sealed test: recall on each clause, on severe violations, in each language.

A slice is written ``clause:V2.b``, ``severity:4``, ``severity>=3`` or ``language:en``.
"""

from __future__ import annotations

from collections.abc import Sequence

from promptopt.core.case import GoldenCase
from promptopt.core.model import FrozenModel
from promptopt.errors import ConfigError
from promptopt.golden.slices import SLICE_FORMS, all_slices, check_slice, is_slice, slice_rows
from promptopt.metrics.arrays import BoolArray
from promptopt.metrics.intervals import Interval, clopper_pearson_lower
from promptopt.metrics.significance import mcnemar

MIN_VIOLATIONS = 5
FLOOR_OPTION = "--recall-floor"


class RecallFloor(FrozenModel):
    """A recall that the winner must reach on a slice.

    Attributes:
        slice: The slice.
        floor: In (0, 1].
    """

    slice: str
    floor: float


class SliceComparison(FrozenModel):
    """The violations of one slice.

    Attributes:
        slice: The slice.
        violations: Violations in it; an unjudged one counts as missed.
        incumbent: The incumbent's recall with its Clopper-Pearson interval.
        winner: The winner's.
        gained: Violations that only the winner catches.
        lost: Violations that only the incumbent catches.
        p_loss: Exact one-sided p-value against the winner catching no fewer. It is not adjusted for the number of
            slices: the error it risks is to keep the incumbent.
        regressed: The winner catches significantly fewer.
        floor: Recall asked for; None where none was.
        below_floor: The winner's measured recall is below it.
    """

    slice: str
    violations: int
    incumbent: Interval
    winner: Interval
    gained: int
    lost: int
    p_loss: float
    regressed: bool
    floor: float | None = None
    below_floor: bool = False


def parse_floor(text: str) -> RecallFloor:
    """A floor from ``SLICE=VALUE``.

    Raises:
        ConfigError: It is not of that form, or the value is not in (0, 1].
    """
    name, equals, value = text.rpartition("=")
    if not equals or not is_slice(name):
        raise ConfigError(f"{text!r} is not SLICE=VALUE", where=FLOOR_OPTION, remedy=f"write a slice as {SLICE_FORMS}")
    try:
        floor = float(value)
    except ValueError:
        floor = float("nan")
    if not 0 < floor <= 1:
        raise ConfigError(
            f"{value!r} is not a recall", where=FLOOR_OPTION, remedy="give a number above 0 and at most 1"
        )
    return RecallFloor(slice=name, floor=floor)


def check_floors(floors: Sequence[RecallFloor], cases: Sequence[GoldenCase]) -> None:
    """Checks that every floor can be measured, and that no slice has two.

    Raises:
        ConfigError: A slice holds no violation of the cases, or is named twice.
    """
    names = [floor.slice for floor in floors]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{name} is given twice", where=FLOOR_OPTION, remedy="give each slice one floor")
        check_slice(name, cases, where=FLOOR_OPTION, what="the test split")


def compare_slices(
    cases: Sequence[GoldenCase],
    caught: tuple[BoolArray, BoolArray],
    floors: Sequence[RecallFloor],
    alpha: float,
) -> tuple[SliceComparison, ...]:
    """Compares recall on every clause, severity from 3 and language with 5 violations or more, and where floors are.

    A slice of all violations, such as the only language, is left out: the recall of all is tested elsewhere.

    Args:
        cases: The cases.
        caught: What the incumbent flags, and what the winner flags; shape (cases,) each.
        floors: Recall asked for; their slices may be smaller.
        alpha: Level of the one-sided tests; intervals hold 1 - alpha.
    """
    asked = {floor.slice: floor.floor for floor in floors}
    sizes = {name: int(slice_rows(name, cases).sum()) for name in all_slices(cases)}
    total = sum(case.is_violation for case in cases)
    large = [name for name, size in sizes.items() if MIN_VIOLATIONS <= size < total]
    return tuple(
        _compare(name, slice_rows(name, cases), caught, asked.get(name), alpha)
        for name in dict.fromkeys([*large, *asked])
    )


def _compare(
    name: str, rows: BoolArray, caught: tuple[BoolArray, BoolArray], floor: float | None, alpha: float
) -> SliceComparison:
    test = mcnemar(caught[0][rows], caught[1][rows])
    winner = _recall(test.right_b, test.cases, 1 - alpha)
    return SliceComparison(
        slice=name,
        violations=test.cases,
        incumbent=_recall(test.right_a, test.cases, 1 - alpha),
        winner=winner,
        gained=test.gained,
        lost=test.lost,
        p_loss=test.p_loss,
        regressed=test.p_loss <= alpha,
        floor=floor,
        below_floor=floor is not None and winner.point < floor,
    )


def _recall(hits: int, n: int, level: float) -> Interval:
    """Two-sided Clopper-Pearson interval."""
    confidence = (1 + level) / 2
    high = 1 - clopper_pearson_lower(n - hits, n, confidence)
    return Interval(point=hits / n, low=clopper_pearson_lower(hits, n, confidence), high=high, level=level)
