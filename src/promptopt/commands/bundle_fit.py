"""``promptopt bundle fit``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.markup import escape
from rich.table import Table

from promptopt.bundle.composition.compose import in_one_piece
from promptopt.bundle.composition.model import Cascade, Jury
from promptopt.bundle.composition.opening import EnginePool
from promptopt.bundle.composition.tree import Branch
from promptopt.commands.bundle_composition import fit_facts, parts_table, read_branch
from promptopt.commands.output import console, print_json, program
from promptopt.commands.policy_cases import write_whole
from promptopt.core.case import Split
from promptopt.errors import BundleError
from promptopt.golden.reader import read_golden_set
from promptopt.pipeline.composition_checks import check_fit
from promptopt.pipeline.composition_fit import FitTerms, Scored, fit_composition
from promptopt.pipeline.stored_bundles import stored_probabilities
from promptopt.scores.store import ScoreStore


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What to fit, on what, and where to put it.

    Attributes:
        composition: The file of a cascade or jury, or a composite bundle.
        golden: Folder of the golden set, of which the calibration split is used and nothing else.
        target: The file to write.
        terms: Floors, costs and confidence.
        runs_dir: Folder of runs with the score store.
        scores_url: Another score store; None for that of the folder of runs.
        force: Replace a file that is there.
    """

    composition: Path
    golden: Path
    target: Path
    terms: FitTerms = field(default_factory=FitTerms)
    runs_dir: Path = Path("runs")
    scores_url: str | None = None
    force: bool = False


def fit(request: FitRequest, as_json: bool) -> None:
    """Fits bands and weights and writes the composition with them."""
    _check_target(request)
    branch = read_branch(request.composition)
    golden = read_golden_set(request.golden)
    cases = golden.split(Split.CALIBRATION)
    check_fit(branch, golden, cases)
    store = ScoreStore(request.scores_url or f"sqlite:///{request.runs_dir / 'scores.db'}")
    with closing(store), closing(EnginePool()) as pool:
        probabilities = stored_probabilities(list(branch.leaves()), cases, store, pool)
    fitted = fit_composition(branch, Scored(golden, cases, probabilities), request.terms)
    write_whole(request.target, composition_text(fitted, request.target))
    if as_json:
        print_json({"out": str(request.target), "composition": fitted.spec.model_dump(mode="json")})
        return
    out = console()
    facts = Table.grid(padding=(0, 3))
    for name, value in _all_facts(fitted):
        facts.add_row(name, escape(value))
    out.print(facts)
    out.print()
    out.print(parts_table(fitted))
    out.print(f"written to {request.target}", soft_wrap=True, markup=False)
    out.print(f"next: {program()} bundle compose {request.target} --out FOLDER", soft_wrap=True, markup=False)


def composition_text(branch: Branch, target: Path) -> str:
    """The file of a composition in one piece, with the paths of its bundles as seen from the file's folder."""
    here = target.resolve().parent
    folders = {leaf.digest: Path(os.path.relpath(leaf.folder.resolve(), here)).as_posix() for leaf in branch.leaves()}
    plain = _plain(in_one_piece(branch, folders))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)


def _plain(spec: Cascade | Jury) -> dict[str, Any]:
    """Plain data without what says nothing; what was fitted is kept whole."""
    data = _without_nulls(spec.model_dump(mode="json", exclude={"stages", "members", "fitted"}, exclude_defaults=True))
    data = {"shape": spec.shape, **data}
    parts = []
    for part in spec.parts:
        plain = _without_nulls(part.model_dump(mode="json", exclude={"composition"}))
        parts.append(plain if part.composition is None else {"composition": _plain(part.composition), **plain})
    data["stages" if isinstance(spec, Cascade) else "members"] = parts
    if spec.fitted is not None:
        data["fitted"] = spec.fitted.model_dump(mode="json")
    return data


def _without_nulls(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}


def _all_facts(branch: Branch) -> list[tuple[str, str]]:
    """What was fitted, of the composition and of the juries in it."""
    rows = fit_facts(branch.spec.fitted)
    for node in branch.parts:
        if isinstance(node, Branch):
            rows.extend((f"stage {node.place}: {name}", value) for name, value in fit_facts(node.spec.fitted))
    return rows


def _check_target(request: FitRequest) -> None:
    target = request.target
    if target.suffix not in (".yaml", ".yml"):
        raise BundleError(f"{target.name!r} is no YAML file", where="--out", remedy="name a file .yaml")
    if target.exists() and not request.force:
        raise BundleError("the file exists", where=target, remedy="choose another, or replace it with --force")
