"""Every program shape in a search space; what direct questions and checklists were keeps its name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from promptopt.core.case import Split
from promptopt.core.digest import digest_data
from promptopt.policy.grading import SEVERITY_WORDS
from promptopt.search.candidates import CandidateMaker
from promptopt.search.space import LabelWords

PINNED = {
    "direct": (
        "01f3663e1dc3e1005c54e8f3319519f886bfc158922db48a43b118aa27b031eb",
        "9f51473f7fde232f8db527d9152979ca3ea879ba59cc5220fb4b59fb411f2532",
        "9a03dbc73eeabbad04843a43e5a72e8b910b6f89bb5d54bddf49922088db581a",
        "010e1a48a5960981a266f6a766401ad9b02f379b94e4f8de624b712221cb2e0c",
    ),
    "checklist": (
        "00bd60a701a758f807a228d572d05d050008678c52eb7b54a01101c937210db5",
        "55c349826ab0d31b24f0fcf5aafbe2a472ff7b04aace895c3d13f2cd4a45aa57",
        "d14d2007eb07d3d58a1293035a18a8ca10a6fec087c631cc2fa03c99d7f93c96",
        "30b81d006e03838b622514dd40144d432ef29d99530320a33523c9eac6399aed",
    ),
}
PINNED_SPACE = "94a83c523a210cb1b59e4fa35ea56e2a59d108ab50fa42d95c2ed95898a88768"


def _maker(space, policy, golden):
    return CandidateMaker(policy, space, golden.split(Split.SEARCH)[:12])


@pytest.mark.parametrize("shape", PINNED)
def test_scores_and_candidates_of_earlier_sweeps_are_found_again(policy, make_space, golden, shape):
    """Candidate, prompts (as the store knows them and as bundles write them) and procedure, as in version 0.1.0."""
    space = make_space()
    assert space.digest == PINNED_SPACE
    maker = _maker(space, policy, golden)
    candidate = maker.candidate({**space.seed_point(), "shape": shape, "demo_count": 2})
    program = maker.program(candidate)
    prompts = program.lower()
    written = digest_data([prompt.model_dump(mode="json") for prompt in prompts])
    stored = digest_data([prompt.digest for prompt in prompts])
    assert (candidate.digest, stored, digest_data(program.procedure), written) == PINNED[shape]


def test_a_space_with_grades_has_another_name(make_space):
    words = {"yes_no": {"violation": "yes", "allowed": "no", "grades": ["ok", "1", "2", "3", "4"]}}
    plain = {"yes_no": {"violation": "yes", "allowed": "no"}}
    assert make_space(label_words=words).digest != make_space(label_words=plain).digest
    assert make_space(label_words={"yes_no": {**plain["yes_no"], "grades": SEVERITY_WORDS}}).digest == (
        make_space(label_words=plain).digest
    )
    assert make_space(grade_scores=["expected_severity"]).digest != make_space().digest


def test_a_graded_candidate(policy, make_space, golden):
    space = make_space(shapes=["direct", "graded"], grade_scores=["violation", "expected_severity"])
    maker = _maker(space, policy, golden)
    point = {**space.seed_point(), "shape": "graded", "demo_count": 2}
    candidate = maker.candidate(point)
    assert candidate.choices["grade_score"] == "violation"
    assert "aggregate" not in candidate.choices
    program = maker.program(candidate)
    (prompt,) = program.lower()
    assert prompt.labels == ("high", "medium", "none"), "V1 has severity 2 and V2 severity 3"
    shown = [m["content"] for m in prompt.messages() if m["role"] == "assistant"]
    assert shown[0] in ("medium", "high")
    assert shown[1] == "none"
    assert maker.questions(candidate) == 1
    other = maker.candidate({**point, "grade_score": "expected_severity"})
    assert other != candidate
    assert maker.program(other).lower() == program.lower(), "the same answers, paid for once"
    assert maker.program(other).procedure != program.procedure
    assert maker.candidate({**point, "labels": "bad_good"}) == candidate, "both pairs come with the same grades"


def test_what_a_grade_is_worth_counts_for_graded_programs_only(policy, make_space, golden):
    assert "grade_score" not in make_space().dimensions
    space = make_space(shapes=["direct", "graded"], grade_scores=["violation", "expected_severity"])
    maker = _maker(space, policy, golden)
    direct = maker.candidate(space.seed_point())
    assert maker.candidate({**space.seed_point(), "grade_score": "expected_severity"}) == direct
    assert "grade_score" not in direct.choices


def test_the_words_of_grades_are_translated(policy, make_space, golden):
    space = make_space(shapes=["graded"], extra={"label_language": ["none", "de"]}, seed={"shape": "graded"})
    maker = _maker(space, policy, golden)
    german = maker.candidate({**space.seed_point(), "label_language": "de"})
    assert maker.program(german).lower()[0].labels == ("hoch", "mittel", "keine")
    own = {"own": {"violation": "yes", "allowed": "no", "grades": ["ok", "a", "b", "c", "d"]}}
    space = make_space(
        shapes=["graded"], extra={"label_language": ["none", "de"]}, seed={"shape": "graded"}, label_words=own
    )
    candidate = _maker(space, policy, golden).candidate({**space.seed_point(), "label_language": "de"})
    assert candidate.choices["label_language"] == "none", "words without a translation stay, and are no other candidate"


@pytest.mark.parametrize("grades", [["a", "b"], ["a", "b", "c", "d", "d"], ["a", "b", "c", "d", " "], list("abcdef")])
def test_there_is_one_word_for_each_severity(grades):
    with pytest.raises(ValidationError, match="needs 5 words that differ"):
        LabelWords(violation="yes", allowed="no", grades=grades)
