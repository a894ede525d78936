"""``promptopt policy show``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from promptopt.commands.output import console, count, print_json, table
from promptopt.commands.policy_cases import write_whole
from promptopt.errors import ConfigError
from promptopt.policy.decision_tree import DecisionTree, compile_tree
from promptopt.policy.drawing import render_svg
from promptopt.policy.mermaid import render_mermaid
from promptopt.policy.model import Outcome, Policy
from promptopt.policy.reader import read_policy
from promptopt.policy.trace import RoutingTrace, trace
from promptopt.policy.wording import OUTCOMES, consequences, headline

_VALUES = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class ShowRequest:
    """What to show.

    Attributes:
        policy: The policy file.
        answers: ``V1=yes,V3=no``: the way of one case; None shows the whole procedure.
        rest: The answer of every clause that ``answers`` does not name; None leaves those open.
        mermaid: Whether the drawing is printed as Mermaid source.
        svg: File to draw to.
    """

    policy: Path
    answers: str | None = None
    rest: str | None = None
    mermaid: bool = False
    svg: Path | None = None


def show(request: ShowRequest, as_json: bool) -> None:
    """Prints the decision procedure of a policy, or the way of one set of answers through it."""
    _check(request, as_json)
    policy = read_policy(request.policy)
    tree = compile_tree(policy)
    found = None if request.answers is None else trace(policy, _answers(request, policy))
    if request.svg is not None:
        write_whole(request.svg, render_svg(tree, f"Decision tree: {policy.title} {policy.version}") + "\n")
    if as_json:
        print_json(_facts(policy, tree, found, request.svg))
        return
    if request.mermaid:
        console().file.write(render_mermaid(tree))
        return
    if found is None:
        _print_tree(policy, tree)
    else:
        _print_trace(policy, found)
    if request.svg is not None:
        console().print(f"\ndrawn in {request.svg}", soft_wrap=True, markup=False)


def parse_answers(text: str) -> dict[str, bool]:
    """``V1=yes,V3=no`` as clause id to answer.

    Raises:
        ConfigError: A part is no answer, or a clause is answered twice.
    """
    answers: dict[str, bool] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        clause, _, value = (piece.strip() for piece in part.partition("="))
        if not clause or value.lower() not in _VALUES:
            raise ConfigError(f"{part!r} is no answer", where="--answers", remedy="write them as V1=yes,V3=no")
        if clause in answers:
            raise ConfigError(f"{clause} is answered twice", where="--answers", remedy="leave one of them out")
        answers[clause] = _VALUES[value.lower()]
    return answers


def _check(request: ShowRequest, as_json: bool) -> None:
    if request.mermaid and (as_json or request.answers is not None):
        other = "--json" if as_json else "--answers"
        raise ConfigError(f"it goes with no {other}", where="--mermaid", remedy=f"leave {other} out")
    if request.rest is not None and request.answers is None:
        raise ConfigError("there are no answers that it could complete", where="--rest", remedy="give --answers too")
    if request.rest not in (None, *_VALUES):
        raise ConfigError(f"{request.rest!r} is no answer", where="--rest", remedy="write yes or no")


def _answers(request: ShowRequest, policy: Policy) -> dict[str, bool]:
    rest = {} if request.rest is None else dict.fromkeys(policy.by_id, _VALUES[request.rest])
    return rest | parse_answers(request.answers or "")


def _facts(policy: Policy, tree: DecisionTree, found: RoutingTrace | None, svg: Path | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"policy": policy.digest, "domain": policy.domain, "version": policy.version}
    if found is None:
        facts |= tree.model_dump(mode="json")
    else:
        facts["trace"] = found.model_dump(mode="json")
    return facts | ({} if svg is None else {"svg": str(svg)})


def _print_tree(policy: Policy, tree: DecisionTree) -> None:
    out = console()
    out.print(f"{policy.title} {policy.version}\n", markup=False, soft_wrap=True)
    shown = _left_aligned("step", "clause", "rule", "question", "yes", "no")
    for step in tree.steps:
        asks = f"exception? {step.question}" if step.part == "exception" else step.question
        ways = [f"end {t}" if t in tree.ending else f"step {t}" for t in (step.yes, step.no)]
        shown.add_row(*map(escape, (str(step.number), step.clause, step.rule, asks, *ways)))
    out.print(shown)
    out.print()
    endings = _left_aligned("end", "rule", "outcome", "clauses")
    for ending in tree.endings:
        said = "; ".join(consequences(ending))
        endings.add_row(*map(escape, (ending.id, ending.rule, headline(ending), said)))
    out.print(endings)
    out.print(f"\n{count(len(tree.steps), 'step')}, {count(len(tree.endings), 'ending')}")


def _print_trace(policy: Policy, found: RoutingTrace) -> None:
    out = console()
    shown = _left_aligned("step", "clause", "rule", "question", "answer")
    for asked in found.asked:
        answer = "open" if asked.answer is None else "yes" if asked.answer else "no"
        shown.add_row(*map(escape, (str(asked.step), asked.clause, asked.rule, asked.question, answer)))
    out.print(shown)
    out.print()
    for line in _conclusion(policy, found):
        out.print(line, markup=False, soft_wrap=True)


def _conclusion(policy: Policy, found: RoutingTrace) -> Sequence[str]:
    if found.outcome is None:
        return [
            f"no outcome: {found.open_question} is not answered",
            f"answer it too, as in {found.open_question}=no, or every other clause with --rest no",
        ]
    lines = [f"{OUTCOMES[found.outcome]} by rule {found.rule}"]
    cites = "in question:" if found.outcome is Outcome.ABSTAIN else "cites"
    lines += [f"{cites} {clause} {policy.by_id[clause].title}" for clause in found.cited]
    if found.action is not None:
        lines.append(f"severity {found.severity}, action {found.action.value}")
    return [*lines, "goes to people"] if found.escalate else lines


def _left_aligned(*columns: str) -> Table:
    made = table(*columns)
    for column in made.columns:
        column.justify = "left"
        column.no_wrap = column.header not in ("question", "outcome", "clauses")
        column.overflow = "fold"
    return made
