"""A draft becomes a file that lint can read, with a finding for every mark and none when the author is done."""

from __future__ import annotations

from datetime import date

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptopt.errors import PolicyError
from promptopt.policy.drafting.document import Document, Section
from promptopt.policy.drafting.template import lay_out
from promptopt.policy.drafting.writing import write_policy
from promptopt.policy.linting.checks.wording import FILL_IN, UNFINISHED
from promptopt.policy.linting.finding import Level
from promptopt.policy.linting.run import lint_policy
from promptopt.policy.model import Action, Policy
from promptopt.policy.reader import read_policy

DAY = date(2026, 11, 25)
DOCUMENT = Document(
    name="guide.md",
    title="Trade",
    preamble="So that people trade safely.",
    sections=(
        Section(line=5, heading="1.2 Weapons", path=("Not allowed",), text="Offers firearms or ammunition for money."),
        Section(line=9, heading="News", text=""),
    ),
)


def test_each_section_is_a_clause_with_its_text_as_definition():
    draft = lay_out(DOCUMENT, "ticket_resale", "en")
    assert [(c.id, c.title, c.definition) for c in draft.clauses] == [
        ("TR1", "Weapons", "Offers firearms or ammunition for money."),
        ("TR2", "News", ""),
    ]
    assert draft.clauses[0].source == "Not allowed > 1.2 Weapons (line 5)"
    assert (draft.title, draft.purpose) == ("Trade", "So that people trade safely.")


@pytest.mark.parametrize(
    ("domain", "first"), [("scams", "SC1"), ("a_b_c_d_e", "ABCD1"), ("x1", "X1"), ("spam_2", "SP1"), ("b2", "B1")]
)
def test_ids_begin_with_the_initials_of_the_domain(domain, first):
    assert lay_out(DOCUMENT, domain).clauses[0].id == first


@pytest.mark.parametrize("domain", ["", "A", "with space", "1st", "x", "a-b", "a" * 41, "../evil"])
def test_what_is_no_domain_is_refused(domain):
    with pytest.raises(PolicyError, match="no name of a domain; use 2 to 40 small letters"):
        lay_out(DOCUMENT, domain)


def test_lint_finds_every_mark_and_no_other_error(tmp_path):
    path = tmp_path / "draft.yaml"
    path.write_text(write_policy(lay_out(DOCUMENT, "scams"), DAY, path.name), encoding="utf-8")
    marked = {n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1) if FILL_IN in line}
    report = lint_policy(path)
    assert {f.line for f in report.findings if f.code == UNFINISHED.code} == marked
    assert [f for f in report.findings if f.level is Level.ERROR and f.code != UNFINISHED.code] == []
    assert {f.place for f in report.findings} >= {
        "question", "summary", "severity", "includes", "excludes", "action", "precedence", "routing",
        "boundary_examples",
    }  # fmt: skip
    with pytest.raises(PolicyError):
        read_policy(path)


def test_with_every_mark_filled_it_is_a_policy(tmp_path):
    draft = lay_out(DOCUMENT, "scams")
    filled = {
        "question": "Does the text offer goods?",
        "includes": ("rifles",),
        "excludes": ("toys",),
    }
    clauses = (
        draft.clauses[0].model_copy(update={**filled, "severity": 3, "action": Action.REMOVE}),
        draft.clauses[1].model_copy(
            update={**filled, "severity": 0, "action": Action.ALLOW, "definition": "Reports a trial."}
        ),
    )
    text = write_policy(draft.model_copy(update={"clauses": clauses}), DAY, "draft.yaml")
    lines = [line.partition(f"  # {FILL_IN}")[0] for line in text.splitlines()]
    path = tmp_path / "draft.yaml"
    path.write_text("\n".join(lines).replace(f"{FILL_IN}: ", ""), encoding="utf-8")
    policy = read_policy(path)
    assert policy.precedence == ("SC1",)
    assert policy.routing[0].when.any == ("SC1",)
    assert policy.changelog[0].date == DAY
    assert isinstance(policy, Policy)


def test_what_a_model_drafted_is_marked_until_it_is_checked(tmp_path):
    draft = lay_out(DOCUMENT, "scams")
    first = draft.clauses[0].model_copy(update={"severity": 3, "drafted": ("severity",)})
    draft = draft.model_copy(update={"clauses": (first, draft.clauses[1]), "author": "some model"})
    text = write_policy(draft, DAY, "draft.yaml")
    assert f"- id: SC1  # {FILL_IN}: check what some model drafted (severity), then take this mark away" in text
    assert "- id: SC2\n" in text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=200), st.text(max_size=300))
def test_whatever_a_document_says_comes_back_from_the_file(heading, text):
    said = Section(line=1, heading=" ".join(heading.split()) or "x", text=" ".join(text.split()))
    draft = lay_out(Document(name="#: a\n.md", title=said.heading, sections=(said,)), "scams")
    data = yaml.safe_load(write_policy(draft, DAY, "x"))
    assert data["title"] == draft.title
    assert data["clauses"][0]["title"] == draft.clauses[0].title
    if said.text:
        assert data["clauses"][0]["definition"] == said.text
    assert data["routing"][0]["when"]["any"] == ["SC1"]
