"""Every program shape in a search space; what direct questions and checklists were keeps its name."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from promptopt.core.case import Split
from promptopt.core.digest import digest_data
from promptopt.policy.procedure import Shape
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
RATIONALES = {"samples": [1, 3], "max_tokens": [4], "temperatures": [0.0, 0.7], "seed": 5}
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
    pair = {"violation": "yes", "allowed": "no"}
    grades = {"label_words": {"yes_no": {**pair, "grades": ["ok", "1", "2", "3", "4"]}}}
    changes = (grades, {"grade_scores": ["expected_severity"]}, {"rationale": RATIONALES})
    plain = {"label_words": {"yes_no": pair}}
    every = {"shapes": get_args(Shape)}
    for change in changes:
        assert make_space(**plain | every | change).digest != make_space(**plain | every).digest
        assert make_space(**plain | change).digest == make_space(**plain).digest, "it has no such shape"


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


@pytest.fixture
def reasoned_space(make_space):
    seed = {"shape": "reasoned", "rationale_temperature": 0.7, "rationale_samples": 3}
    return make_space(shapes=["direct", "reasoned"], rationale=RATIONALES, seed=seed)


def test_a_reasoned_candidate(policy, reasoned_space, golden):
    maker = _maker(reasoned_space, policy, golden)
    point = reasoned_space.seed_point()
    candidate = maker.candidate(point)
    (prompt,) = maker.program(candidate).lower()
    assert prompt.rationale.model_dump(exclude={"segments"}) == {
        "samples": 3, "max_tokens": 4, "temperature": 0.7, "seed": 5
    }  # fmt: skip
    assert prompt.labels == ("yes", "no")
    assert (maker.questions(candidate), maker.most_questions) == (3, 3)
    fewer = maker.candidate({**point, "rationale_samples": 1})
    (less,) = maker.program(fewer).lower()
    assert maker.questions(fewer) == 1
    assert less.judgement_digests == prompt.judgement_digests[:1], "one sample is the first of three"


def test_rationales_count_for_reasoned_programs_only(policy, make_space, reasoned_space, golden):
    assert not any(name.startswith("rationale") for name in make_space().dimensions)
    maker = _maker(reasoned_space, policy, golden)
    direct = {**reasoned_space.seed_point(), "shape": "direct"}
    assert maker.candidate(direct) == maker.candidate({**direct, "rationale_samples": 1, "rationale_temperature": 0.0})
    assert maker.questions(maker.candidate(direct)) == 1
    likeliest = {**reasoned_space.seed_point(), "rationale_temperature": 0.0}
    alike = {maker.candidate({**likeliest, "rationale_samples": samples}).digest for samples in (1, 3)}
    assert len(alike) == 1, "at temperature 0 there is one rationale"
    assert maker.questions(maker.candidate(likeliest)) == 1


def test_a_sweep_counts_every_rationale_as_a_judgement(open_sweep, reasoned_space, watcher):
    budget = {"trials": None, "judge_calls": 600}
    lockstep = {"rule": "lockstep", "lockstep": {"field": 4}}
    opened = open_sweep(space=reasoned_space, racing=lockstep, budget=budget)
    result = opened.sweep.run(watcher)
    shapes = {record.candidate.choices["shape"] for record in result.records}
    assert "reasoned" in shapes
    assert 0 < opened.judge.spent.judgements <= 600
    counted = sum(r.cases * opened.maker.questions(r.candidate) for r in result.records if r.repeats is None)
    assert opened.judge.spent.judgements == counted


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


def test_a_verbalized_candidate_asks_what_a_direct_one_asks_and_reads_more_words(policy, make_space, golden):
    space = make_space(shapes=["direct", "verbalized"], panel={"words": ["Fine", "yes", "Bad"]})
    maker = _maker(space, policy, golden)
    assert maker.fits_weights
    candidate = maker.candidate({**space.seed_point(), "shape": "verbalized"})
    program = maker.program(candidate)
    (prompt,) = program.lower()
    (direct,) = maker.program(maker.candidate(space.seed_point())).lower()
    assert prompt.labels == ("yes", "no", "Fine", "Bad")
    assert prompt.segments == direct.segments, "the judge is not told of the panel"
    assert program.procedure.is_unfitted
    assert maker.questions(candidate) == 1


def test_the_panel_counts_where_it_is_read(make_space):
    other = {"panel": {"words": ["Fine", "Bad"]}}
    assert make_space(**other).digest == make_space().digest
    shapes = {"shapes": ["direct", "verbalized"]}
    assert make_space(**shapes, **other).digest != make_space(**shapes).digest
    with pytest.raises(ValidationError, match="words of a panel must differ"):
        make_space(panel={"words": ["Fine", "Fine"]})
