"""``promptopt policy diff``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from promptopt.bundle.files import bundle_folders, read_bundle
from promptopt.commands.output import console, count, print_json, table
from promptopt.errors import ConfigError, GoldenSetError
from promptopt.golden.reader import read_golden_set
from promptopt.policy.changes import words
from promptopt.policy.changes.cases import CaseEffect
from promptopt.policy.changes.diff import PolicyDiff, PolicyPair
from promptopt.policy.changes.judges import JudgeInUse
from promptopt.policy.changes.report import render_markdown
from promptopt.policy.model import Policy
from promptopt.policy.reader import read_policy


@dataclass(frozen=True, slots=True)
class DiffRequest:
    """What to compare.

    Attributes:
        old: The policy file that labels were given under.
        new: The policy file that is to hold.
        golden: Folder of a golden set labelled under the former policy.
        bundles: Folder of exported judges.
        markdown: Whether a report in Markdown is printed.
    """

    old: Path
    new: Path
    golden: Path | None = None
    bundles: Path | None = None
    markdown: bool = False


def diff(request: DiffRequest, as_json: bool) -> None:
    """Prints what differs between two versions of a policy, and what the differences touch."""
    if as_json and request.markdown:
        raise ConfigError("it goes with no --json", where="--markdown", remedy="leave one of the two out")
    old, new = read_policy(request.old), read_policy(request.new)
    pair = PolicyPair(old, new)
    effect = None if request.golden is None else _cases(pair, request.golden, new)
    judges = () if request.bundles is None else [_judge(folder) for folder in bundle_folders(request.bundles)]
    found = pair.diff(effect, judges)
    if as_json:
        print_json(_facts(found))
    elif request.markdown:
        sys.stdout.write(render_markdown(found))
    else:
        _print(found, console(), request, len(judges))


def _cases(pair: PolicyPair, folder: Path, policy: Policy) -> CaseEffect:
    golden = read_golden_set(folder)
    if golden.domain != policy.domain:
        raise GoldenSetError(
            f"the set is of domain {golden.domain}, the policies of {policy.domain}",
            where=folder,
            remedy="name the golden set of this domain",
        )
    return pair.cases(golden.name, golden.cases)


def _judge(folder: Path) -> JudgeInUse:
    bundle = read_bundle(folder)
    prompts = "\n".join(segment.text for prompt in bundle.prompts for segment in prompt.segments)
    return JudgeInUse(
        name=bundle.name,
        domain=bundle.domain,
        policy_version=bundle.policy.version,
        policy_digest=bundle.policy.digest,
        prompts=prompts,
        procedure=bundle.procedure,
    )


def _facts(found: PolicyDiff) -> dict[str, Any]:
    facts = found.model_dump(mode="json", exclude={"changes"})
    changes = [
        {
            **change.model_dump(mode="json", exclude={"before"}),
            "cases": words.cases_at(found, change),
            "bundles": words.judges_at(found, change),
        }
        for change in found.changes
    ]
    return {**facts, "same_version": found.same_version, "changes": changes}


def _print(found: PolicyDiff, out: Console, request: DiffRequest, bundles: int) -> None:
    _say(out, [words.headline(found)])
    if found.same_version:
        _say(out, [f"both files say version {found.new.version}: raise the version"])
    if found.reused:
        _say(out, ["", "Ids that were used before", *(f"  {words.reused(r)}" for r in found.reused)])
    if found.changes:
        _print_changes(found, out)
        _say(out, ["", "Routing", *(f"  {said}" for said in words.routing(found.routing))])
    if found.cases is not None:
        _say(out, ["", "Labelled cases", *(f"  {said}" for said in words.cases(found.cases))])
    if request.bundles is not None:
        _print_judges(found, out, bundles)


def _print_changes(found: PolicyDiff, out: Console) -> None:
    columns = ["where", "weight", "change"]
    columns += ["cases"] if found.cases is not None else []
    columns += ["bundles"] if found.judges else []
    shown = table(*columns)
    for column in shown.columns[:3]:
        column.justify = "left"
        column.no_wrap = column.header != "change"
    for change in found.changes:
        cells = [change.where, change.weight.value, change.what]
        cells += [str(words.cases_at(found, change))] if found.cases is not None else []
        cells += [str(words.judges_at(found, change))] if found.judges else []
        shown.add_row(*map(escape, cells))
    out.print()
    out.print(shown)


def _print_judges(found: PolicyDiff, out: Console, bundles: int) -> None:
    out.print()
    others = bundles - len(found.judges)
    elsewhere = f", {count(others, 'bundle')} of other domains left out" if others else ""
    touched = sum(judge.is_touched for judge in found.judges)
    _say(out, [f"Bundles: {touched} of {len(found.judges)} touched{elsewhere}"])
    if found.judges:
        shown = table("bundle", "policy", "what")
        for column in shown.columns:
            column.justify = "left"
        for judge in found.judges:
            shown.add_row(*map(escape, (f"  {judge.name}", judge.version, words.judge(judge))))
        out.print(shown)
    if touched:
        _say(out, ["  sweep again under the present policy, then `promptopt promote` against the bundle in use"])


def _say(out: Console, lines: Sequence[str]) -> None:
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)
