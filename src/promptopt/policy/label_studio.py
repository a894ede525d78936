"""The labelling configuration for Label Studio, from the questions of a policy's decision tree.

Label Studio shows a question when one answer to another was chosen; it knows no *or*. So joined branches are taken
apart again: each way has its own copy of a question, nested in the answer that leads to it, which shows exactly the
questions of the procedure. A tree whose copies would be too many asks every clause once instead, all of them shown.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from promptopt.policy.decision_tree import DecisionTree, Step, compile_tree
from promptopt.policy.model import Action, Clause, Outcome, Policy
from promptopt.policy.wording import consequences, headline, printable

MAX_QUESTIONS = 150
YES, NO, UNSURE = "Yes", "No", "Unsure"
NO_CLAUSE = "none: no clause applies"
_ITEM = "text"


def render_label_studio(policy: Policy) -> str:
    """The labelling configuration.

    Every question is a required single choice of ``Yes``, ``No`` and ``Unsure``, named ``step<number>_<clause>`` (and
    a further number for another copy of it), so that exported answers can be followed through the decision tree again.
    Beside them stand ``severity``, ``cited``, ``second_opinion`` and ``comment``.

    Args:
        policy: The policy.

    Returns:
        XML that ends with a line break. The task's field is ``text``.

    Raises:
        PolicyError: The decision procedure has too many steps.
    """
    tree = compile_tree(policy)
    view = Element("View")
    _add(view, "Header", value=f"{policy.title} {policy.version}")
    _add(view, "Text", name=_ITEM).set("value", f"${_ITEM}")
    if _questions(tree) <= MAX_QUESTIONS:
        _ask(view, tree, tree.start, Counter())
    else:
        for clause in policy.clauses:
            _question(view, f"clause_{_name(clause.id)}", f"{clause.id}: {clause.question}", _hint(clause))
    _conclude(view, policy)
    indent(view)
    return tostring(view, encoding="unicode") + "\n"


def _questions(tree: DecisionTree) -> int:
    """How many questions the tree has with its joined branches taken apart."""

    @cache
    def below(target: str) -> int:
        step = tree.step.get(target)
        return 0 if step is None else 1 + below(step.yes) + below(step.no)

    return below(tree.start)


def _ask(parent: Element, tree: DecisionTree, target: str, copies: Counter[str]) -> None:
    step = tree.step.get(target)
    if step is None:
        ending = tree.ending[target]
        _add(parent, "Header", size="4", value="; ".join((headline(ending), *consequences(ending))))
        return
    name = f"step{step.number}_{_name(step.clause)}"
    copies[name] += 1
    if copies[name] > 1:
        name += f"_{copies[name]}"
    _question(parent, name, _asked(step), _hint(step))
    for choice, following in ((YES, step.yes), (NO, step.no)):
        shown = _add(parent, "View", visibleWhen="choice-selected", whenTagName=name, whenChoiceValue=choice)
        _ask(shown, tree, following, copies)


def _asked(step: Step) -> str:
    exception = "Exception? " if step.part == "exception" else ""
    return f"{step.number}. {step.clause}: {exception}{step.question}"


def _question(parent: Element, name: str, question: str, hint: str) -> None:
    _add(parent, "Header", size="4", value=question)
    _add(parent, "Header", size="5", value=hint)
    choices = _add(
        parent,
        "Choices",
        name=name,
        toName=_ITEM,
        choice="single-radio",
        required="true",
        requiredMessage=f"Answer: {question}",
        showInline="true",
    )
    for answer in (YES, NO, UNSURE):
        _add(choices, "Choice", value=answer)


def _conclude(view: Element, policy: Policy) -> None:
    _add(view, "Header", value="Conclusion")
    _add(view, "Header", size="4", value="Severity, from 1 to 4; leave it empty when the text is allowed")
    _add(view, "Rating", name="severity", toName=_ITEM, maxRating="4", icon="star")
    _add(view, "Header", size="4", value="Clause cited: the first in this order that applies and that nothing lifts")
    cited = _add(view, "Choices", name="cited", toName=_ITEM, choice="single", required="true", layout="select")
    ordered = [*(policy.by_id[i] for i in policy.precedence), *policy.permitting]
    for clause in ordered:
        _add(cited, "Choice", value=cited_choice(clause))
    _add(cited, "Choice", value=NO_CLAUSE)
    _add(view, "Header", size="4", value="Does a second person have to look at this?")
    second = _add(view, "Choices", name="second_opinion", toName=_ITEM, choice="single-radio", required="true")
    abstains = any(rule.then is Outcome.ABSTAIN for rule in policy.routing)
    left_open = ("Yes: the policy leaves it to people",) if abstains else ()
    for value in ("No", *left_open, "Unsure: one of my answers is open", "Escalate: somebody may be in danger"):
        _add(second, "Choice", value=value)
    _add(view, "Header", size="4", value="Comment: what made you unsure, or which words decided")
    _add(view, "TextArea", name="comment", toName=_ITEM, rows="3", maxSubmissions="1")


def cited_choice(clause: Clause) -> str:
    """How a clause is called where one is cited; exports hold it."""
    if not clause.is_violating:
        return _plain(f"{clause.id} {clause.title} (allowed)")
    action = ", escalate" if clause.action is Action.ESCALATE else ""
    return _plain(f"{clause.id} {clause.title} (severity {clause.severity}{action})")


def _hint(asked: Step | Clause) -> str:
    return f"{asked.definition} Includes: {'; '.join(asked.includes)}. Excludes: {'; '.join(asked.excludes)}."


def _name(clause: str) -> str:
    return clause.replace(".", "_")


def _plain(text: str) -> str:
    """Fit for an attribute; Label Studio takes a dollar sign and a word for a field of the task."""
    return printable(text).replace("$", "\N{FULLWIDTH DOLLAR SIGN}")


def _add(parent: Element, tag: str, **attributes: str) -> Element:
    return SubElement(parent, tag, {name: _plain(value) for name, value in attributes.items()})
