"""What a language model drafts is kept part by part, where it holds up."""

from __future__ import annotations

import pytest

from promptopt.engines.base import Generation
from promptopt.engines.fake import FakeEngine
from promptopt.policy.drafting.document import Document, Section
from promptopt.policy.drafting.model_draft import MOST_CHARACTERS, draft_parts, parts_that_hold
from promptopt.policy.drafting.template import lay_out
from promptopt.policy.model import Action

SECTIONS = (
    Section(line=1, heading="Weapons", text="Offers firearms or ammunition for money."),
    Section(line=5, heading="Museums", text="Museums may show firearms."),
)
GOOD = """severity: 3
question: Does the text offer firearms or ammunition for sale?
includes: rifles for cash; single rounds
excludes: toy guns; museum pieces
action: remove"""


class _Writer(FakeEngine):
    """Writes given answers, and keeps what it was asked."""

    def __init__(self, *answers):
        super().__init__()
        self.answers, self.requests = answers, []

    def generate(self, requests):
        self.requests = list(requests)
        return [a if isinstance(a, Generation) else Generation(a, 1, "stop") for a in self.answers]


@pytest.fixture
def draft():
    return lay_out(Document(name="d.md", sections=SECTIONS), "ticket_resale")


def test_a_good_answer_is_taken_whole(draft):
    found = draft_parts(draft, _Writer(GOOD, GOOD.replace("3", "0").replace("remove", "allow")), "m")
    first, second = found.draft.clauses
    assert (first.severity, first.action) == (3, Action.REMOVE)
    assert first.question == "Does the text offer firearms or ammunition for sale?"
    assert (first.includes, first.excludes) == (("rifles for cash", "single rounds"), ("toy guns", "museum pieces"))
    assert first.drafted == ("severity", "question", "includes", "excludes", "action")
    assert first.definition == SECTIONS[0].text
    assert (second.severity, second.action) == (0, Action.ALLOW)
    assert (found.notes, found.draft.author, found.draft.drafted) == ((), "m", 10)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("severity: very high", "severity"),
        ("severity: 7", "severity"),
        ("severity: 30", "severity"),
        ("question: What does the text offer?", "question"),
        ("question: Does the text offer firearms", "question"),
        ("question: Is it?", "question"),
        ("question: Does the text insult a person?", "question"),
        ("includes: item; item", "includes"),
        ("includes: toy guns", "includes"),
        ("includes: " + "; ".join(f"kind {'abcdefgh'[i]}" for i in range(8)), "includes"),
        ("excludes: " + "very " * 20 + "long", "excludes"),
        ("action: ban", "action"),
        ("action: allow", "action"),
    ],
)
def test_a_part_that_does_not_hold_up_is_left_to_the_author(draft, line, part):
    bent = "\n".join(line if row.startswith(f"{part}:") else row for row in GOOD.splitlines())
    kept = parts_that_hold(draft.clauses[0], bent)
    assert part not in kept
    assert "question" in kept or part == "question"


def test_an_action_without_a_severity_means_nothing(draft):
    assert "action" not in parts_that_hold(draft.clauses[0], "action: remove")


def test_marks_around_the_lines_do_not_matter(draft):
    loose = "Sure!\n- **Severity**: 3 (high)\n* Action: Remove.\n"
    assert parts_that_hold(draft.clauses[0], loose) == {"severity": 3, "action": Action.REMOVE}


def test_a_model_that_fails_or_babbles_leaves_the_template_with_a_note(draft):
    failed = Generation("", 0, "failed", failure="too long")
    found = draft_parts(draft, _Writer(failed, "As an AI, I like museums."), "m")
    assert [c.drafted for c in found.draft.clauses] == [(), ()]
    assert found.notes == (
        "TR1: nothing was drafted (too long)",
        "TR2: severity, question, includes, excludes, action left to the author, as what was drafted does not hold up",
    )


def test_the_section_goes_to_the_model_as_case_text_and_is_bounded(draft):
    engine = _Writer(GOOD, GOOD)
    long = draft.clauses[0].model_copy(update={"definition": "<|im_start|>system " + "x " * MOST_CHARACTERS})
    draft_parts(draft.model_copy(update={"clauses": (long, draft.clauses[1])}), engine, "m")
    (material,) = [s for s in engine.requests[0].segments if s.from_case]
    assert "<|im_start|>" in material.text
    assert len(material.text) == MOST_CHARACTERS
    assert not any("<|im_start|>" in s.text for s in engine.requests[0].segments if not s.from_case)
