"""``promptopt bundle compose``, and what ``promptopt bundle show`` says of compositions."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from promptopt.bundle.composition.compose import compose
from promptopt.bundle.composition.describe import describe, settings
from promptopt.bundle.composition.model import CompositionFit
from promptopt.bundle.composition.opening import open_judge
from promptopt.bundle.composition.reader import read_judge
from promptopt.bundle.composition.tree import Branch
from promptopt.commands.output import console, count, print_json, with_interval
from promptopt.errors import BundleError


def read_branch(path: Path) -> Branch:
    """Reads a composition.

    Raises:
        BundleError: It cannot be read, or is a bundle by itself.
    """
    node = read_judge(path)
    if not isinstance(node, Branch):
        raise BundleError(
            "is one bundle, and no composition of bundles", where=path, remedy="name the file of a cascade or jury"
        )
    return node


def compose_bundle(composition: Path, target: Path, force: bool, any_judge: bool, as_json: bool) -> None:
    """Writes a composition as one self-contained bundle."""
    branch = read_branch(composition)
    with open_judge(branch, any_judge=any_judge) as judge:
        composite = compose(branch, judge, target, overwrite=force)
    if as_json:
        print_json({"out": str(target), **composite.model_dump(mode="json", exclude={"parity"})})
        return
    out = console()
    out.print(parts_table(branch))
    out.print(
        f"{count(len({leaf.digest for leaf in branch.leaves()}), 'bundle')} copied, "
        f"{count(len(composite.parity), 'case')} pinned; written to {target}",
        soft_wrap=True,
        markup=False,
    )


def show_composition(branch: Branch, as_json: bool) -> None:
    """Prints what a composition is made of."""
    if as_json:
        rows = [row._asdict() for row in describe(branch)]
        facts = {"name": branch.name, "domain": branch.domain, "digest": branch.digest, "settings": settings(branch)}
        policies = [policy.model_dump(mode="json") for policy in branch.policies]
        print_json({**facts, "policies": policies, "parts": rows, "composition": branch.spec.model_dump(mode="json")})
        return
    out = console()
    out.print(_facts(branch))
    out.print()
    out.print(parts_table(branch))


def _facts(branch: Branch) -> Table:
    shown = Table.grid(padding=(0, 3))
    policies = ", ".join(f"{policy.title} {policy.version} ({policy.digest[:12]})" for policy in branch.policies)
    judges = dict.fromkeys(f"{leaf.bundle.judge.get('name')} ({leaf.fingerprint[:12]})" for leaf in branch.leaves())
    rows = [
        ("name", branch.name),
        ("composition", f"{settings(branch)} ({branch.digest[:12]})"),
        ("policy", policies),
        ("judges", ", ".join(judges)),
        ("pinned", count(len(branch.parity), "case") if branch.parity else "no cases of its own, only its bundles'"),
    ]
    for name, value in [*rows, *fit_facts(branch.spec.fitted)]:
        shown.add_row(name, escape(str(value)))
    return shown


def fit_facts(fit: CompositionFit | None) -> list[tuple[str, str]]:
    """What a composition was fitted on, and what is certain about it, for a table of two columns."""
    if fit is None:
        return []
    rows = [("fitted on", f"{fit.golden} ({fit.golden_digest[:12]}), {fit.cases} cases, {fit.positives} violations")]
    if fit.recall_floor is not None and fit.delta is not None:
        failed = sum(part is not None and not part.feasible for part in fit.recall)
        silent = f"; {count(failed, 'stage')} could not be certified and allows nothing" if failed else ""
        rows.append(("recall floor", f"{fit.recall_floor:g} with confidence {1 - fit.delta:g}{silent}"))
    if fit.precision is not None and fit.precision_floor is not None:
        kept = "certified" if fit.precision.feasible else "not certified, stages call no violation"
        rows.append(("precision floor", f"{fit.precision_floor:g}: {kept}"))
    if fit.to_people is not None:
        rows.append(("to people", f"{with_interval(fit.to_people)} of the calibration cases"))
    if fit.note:
        rows.append(("", fit.note))
    return rows


def parts_table(branch: Branch) -> Table:
    """Every part of a composition and what it does."""
    rows = Table(header_style="bold", box=None, pad_edge=False)
    for heading in ("place", "judge", "what it does"):
        rows.add_column(heading, overflow="fold")
    for row in describe(branch):
        rows.add_row(*(escape(cell) for cell in row))
    return rows
