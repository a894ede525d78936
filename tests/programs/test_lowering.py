"""A program's questions become the exact messages that are scored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from promptopt.core.prompt import ITEM_SLOT
from promptopt.errors import UserError
from promptopt.programs.lowering import Demonstration, lower
from promptopt.programs.prompt_format import PLACEMENTS, QUOTINGS, PromptFormat

LAYOUTS = st.builds(
    PromptFormat,
    yes=st.sampled_from(["yes", "violates"]),
    no=st.sampled_from(["no", "allowed"]),
    quoting=st.sampled_from(QUOTINGS),
    placement=st.sampled_from(PLACEMENTS),
)
DEMOS = st.lists(
    st.builds(Demonstration, text=st.text(min_size=1), question=st.text(), answer=st.booleans()), max_size=4
)


@given(st.text(max_size=30), st.text(min_size=1, max_size=30), DEMOS, LAYOUTS)
def test_the_item_has_one_slot_and_all_before_it_is_fixed(instructions, question, demos, layout):
    prompt = lower("q", instructions, question, demos, layout)
    slots = [i for i, segment in enumerate(prompt.segments) if segment.slot is not None]
    assert len(slots) == 1
    assert prompt.segments[slots[0]].slot == ITEM_SLOT
    assert all(segment.text for i, segment in enumerate(prompt.segments) if i != slots[0])
    roles = [message["role"] for message in prompt.messages()]
    system = ["system"] if instructions.strip() else []
    assert roles == system + ["user", "assistant"] * len(demos) + ["user"]
    assert prompt.labels == (layout.yes, layout.no)


def _last(**layout):
    return lower("q", "", "Bad?", [], PromptFormat(**layout)).messages("ITEM")[-1]["content"]


@pytest.mark.parametrize(
    ("quoting", "shown"),
    [
        ("plain", "Text: ITEM"),
        ("quotes", 'Text: "ITEM"'),
        ("fence", 'Text:\n"""\nITEM\n"""'),
        ("tags", "<text>\nITEM\n</text>"),
    ],
)
def test_quoting_sets_the_item_apart(quoting, shown):
    assert _last(quoting=quoting) == f"{shown}\n\nBad? Answer yes or no."


def test_the_question_stands_where_the_placement_says():
    asked = "Bad? Answer bad or good."
    words = {"yes": "bad", "no": "good", "quoting": "plain"}
    assert _last(placement="item_first", **words) == f"Text: ITEM\n\n{asked}"
    assert _last(placement="question_first", **words) == f"{asked}\n\nText: ITEM"
    assert _last(placement="question_twice", **words) == f"{asked}\n\nText: ITEM\n\n{asked}"


def test_demonstrations_are_turns_laid_out_like_the_item():
    demos = [
        Demonstration(text=" one ", question="First?", answer=True),
        Demonstration(text="two", question="Bad?", answer=False),
    ]
    layout = PromptFormat(yes="bad", no="good", quoting="quotes")
    messages = lower("q", "  System.\n", "Bad?", demos, layout).messages("ITEM")
    assert messages == [
        {"role": "system", "content": "System."},
        {"role": "user", "content": 'Text: "one"\n\nFirst? Answer bad or good.'},
        {"role": "assistant", "content": "bad"},
        {"role": "user", "content": 'Text: "two"\n\nBad? Answer bad or good.'},
        {"role": "assistant", "content": "good"},
        {"role": "user", "content": 'Text: "ITEM"\n\nBad? Answer bad or good.'},
    ]


def test_a_checklist_shares_everything_before_its_questions(make_program, demos):
    prompts = make_program("checklist", demos=demos).lower()
    assert [prompt.question for prompt in prompts] == list(make_program("checklist").procedure.questions)
    assert len({prompt.segments[:-1] for prompt in prompts}) == 1
    assert len({prompt.segments[-1].text for prompt in prompts}) == len(prompts)


def test_blank_instructions_leave_no_system_turn(make_program):
    (prompt,) = make_program("direct", instructions="").lower()
    assert [message["role"] for message in prompt.messages()] == ["user"]


def test_the_direct_shape_asks_the_policys_question(make_program, policy):
    (prompt,) = make_program("direct").lower()
    assert policy.question in prompt.messages()[-1]["content"]
    assert prompt.messages()[0] == {"role": "system", "content": "Apply the policy."}


def test_the_graded_shape_shows_the_ladder_with_the_clauses_on_it(make_program, policy):
    program = make_program("graded")
    (prompt,) = program.lower()
    assert prompt.labels == ("critical", "high", "medium", "none"), "no clause of the policy has severity 1"
    asked = prompt.messages("ITEM")[-1]["content"]
    assert policy.question in asked
    assert "- none: it does not violate the policy\n- medium: Insulting an individual\n- high: " in asked
    assert asked.endswith("Answer none, medium, high or critical.")
    assert all(clause.title in asked for clause in policy.violating)
    assert not any(clause.title in asked for clause in policy.permitting)


def test_the_reasoned_shape_asks_for_reasons_first(make_program, policy, demos):
    (prompt,) = make_program("reasoned", demos=demos, quoting="plain").lower()
    asks = "Before you answer, say in one or two short sentences what in the text decides it."
    reasons = f"Text: ITEM\n\n{policy.question} {asks}"
    assert prompt.messages("ITEM")[-3:] == [
        {"role": "user", "content": reasons},
        {"role": "assistant", "content": "{{rationale}}"},
        {"role": "user", "content": f"{policy.question} Answer yes or no."},
    ]
    assert len(prompt.messages()) == 1 + 2 * 2 + 3
    assert [(s.role, s.text or s.slot) for s in prompt.rationale.segments] == [
        ("system", "Apply the policy."),
        ("user", "Text: "),
        ("user", ITEM_SLOT),
        ("user", f"\n\n{policy.question} {asks}"),
    ]


def test_graded_demonstrations_answer_with_words_of_the_ladder(make_program, policy):
    said = [(True, 4), (False, None), (True, None), (True, 1)]
    demos = [Demonstration(text="t", question=policy.question, answer=a, severity=s) for a, s in said]
    (prompt,) = make_program("graded", demos=demos).lower()
    shown = [m["content"] for m in prompt.messages() if m["role"] == "assistant"]
    assert shown == ["critical", "none", "high", "medium"], "an unknown severity is the middle one, 1 the nearest"


def test_a_layout_has_words_for_the_severities_of_the_policy(make_program):
    ladder = ((0, "ok"), (2, "mild"), (3, "bad"), (4, "worst"))
    assert make_program("graded", ladder=ladder).lower()[0].labels == ("worst", "bad", "mild", "ok")
    for shape, words in (("graded", ladder[:3]), ("direct", ladder)):
        with pytest.raises(UserError, match="words for the severities"):
            make_program(shape, ladder=words)
    with pytest.raises(ValidationError, match="must differ"):
        PromptFormat(ladder=((0, "a"), (1, "a")))


@pytest.mark.parametrize(("answer", "word"), [(3, "high"), (0, "none"), (True, "high"), ("no", "none")])
def test_grades_are_read_as_dspy_keeps_them(make_program, answer, word):
    layout = make_program("graded").layout
    demo = Demonstration.of({"text": "t", "answer": answer}, "Bad?", layout.ladder)
    assert layout.word(demo.answer, demo.severity) == word


@pytest.mark.parametrize("words", [{"yes": "a", "no": "a"}, {"yes": " "}, {"no": ""}])
def test_answer_words_must_differ(words):
    with pytest.raises(ValidationError, match="must differ"):
        PromptFormat(**words)


@pytest.mark.parametrize(
    ("answer", "read"), [(True, True), (False, False), ("yes", True), (" No ", False), ({"value": False}, False)]
)
def test_answers_are_read_as_dspy_keeps_them(answer, read):
    demo = Demonstration.of({"text": "t", "answer": answer}, "Bad?")
    assert (demo.answer, demo.question) == (read, "Bad?")
    assert Demonstration.of({"text": "t", "answer": answer, "question": "Other?"}, "Bad?").question == "Other?"


@pytest.mark.parametrize(
    "example",
    [{"text": "secret"}, {"text": "secret", "answer": "perhaps"}, {"text": "secret", "answer": 1}, {"answer": True}],
)
def test_a_demonstration_without_text_or_answer_is_refused(example):
    with pytest.raises(UserError, match="demonstration has") as caught:
        Demonstration.of(example, "Bad?")
    assert "secret" not in str(caught.value)
