"""Proposers keep their contract, and the guard lets nothing through that is empty, enormous or a golden text."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.core.case import Split
from promptopt.engines.base import Generation
from promptopt.engines.fake import FakeEngine
from promptopt.errors import ConfigError
from promptopt.search.candidates import CandidateMaker
from promptopt.search.proposers.base import History, Incumbent, Proposal, Tried
from promptopt.search.proposers.config import ProposerConfig
from promptopt.search.proposers.crossover import CrossoverProposer
from promptopt.search.proposers.from_file import FileProposer, read_candidates
from promptopt.search.proposers.grammar import GrammarProposer
from promptopt.search.proposers.guard import ProposalGuard
from promptopt.search.proposers.mixed import MixedProposer, make_proposers
from promptopt.search.proposers.reflective import ReflectiveProposer, written_text
from promptopt.testing.proposer import check_proposer


class Writer(FakeEngine):
    """Answers every request with one text, and remembers what it was asked."""

    def __init__(self, text, failure=""):
        super().__init__()
        self.text, self.failure, self.asked = text, failure, []

    def generate(self, requests):
        self.asked.extend(request.segments[-1].text for request in requests)
        return [Generation("" if self.failure else self.text, 3, "stop", self.failure) for _ in requests]


@pytest.fixture
def space(make_space):
    return make_space()


@pytest.fixture
def maker(policy, space, golden):
    return CandidateMaker(policy, space, golden.split(Split.SEARCH)[:9])


@pytest.fixture
def history(space, maker, golden):
    cases = golden.split(Split.SEARCH)[9:]
    tried = []
    for number, (policy, texts) in enumerate([("none", {}), ("full", {"instruction": "Be fair."}), ("summary", {})]):
        point = {**space.seed_point(), "policy": policy}
        candidate = maker.candidate(point, texts)
        tried.append(Tried(Proposal(point, texts), candidate, 0.5 + number / 10, complete=number != 2))
    scores = np.array([0.05 if case.clause == "V2" else 0.9 if case.is_violation else 0.1 for case in cases])
    return History(tried, Incumbent(tried[1], cases, scores))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "candidates.yaml"
    path.write_text(
        "candidates:\n  - choices: {policy: full, quoting: tags}\n  - texts: {instruction: Report harm.}\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def make_proposer(space, policy, maker, file):
    def make(name):
        return {
            "grammar": lambda: GrammarProposer(space, 5),
            "crossover": lambda: CrossoverProposer(space, 5),
            "file": lambda: FileProposer(read_candidates(file, space)),
            "reflective": lambda: ReflectiveProposer(Writer("A rule."), policy, maker.texts, 0.8, ProposerConfig()),
        }[name]()

    return make


@pytest.mark.parametrize("name", ["grammar", "crossover", "file", "reflective"])
def test_proposers_keep_their_contract(name, make_proposer, space, history):
    check_proposer(make_proposer(name), space, history)


def test_moves_change_a_choice_or_two_and_keep_the_texts(space, history):
    parents = {str(dict(t.proposal.point)): t.proposal for t in history.tried if t.complete}
    for moved in GrammarProposer(space, 5).propose(history, 20, 1):
        changes = [
            sum(moved.point[n] != p.point[n] for n in p.point) for p in parents.values() if p.texts == moved.texts
        ]
        assert min(changes) in (1, 2)


def test_before_there_is_a_best_the_seed_prompt_is_moved_by_one_dimension_each(space):
    seed, nothing = space.seed_point(), History([], None)
    moved = [proposal.point for proposal in GrammarProposer(space, 5).propose(nothing, 100, 1)]
    changed = [[name for name in seed if point[name] != seed[name]] for point in moved]
    assert all(len(names) == 1 for names in changed)
    names = [name for (name,) in changed]
    wanted = [n for n, choices in space.dimensions.items() if len(choices) > 1 and n in space.active(seed)]
    assert names == wanted
    assert len(GrammarProposer(space, 5).propose(nothing, 2, 1)) == 2


def test_children_have_their_parents_choices(space, history):
    parents = [t.proposal for t in history.tried if t.complete]
    children = CrossoverProposer(space, 5).propose(history, 30, 1)
    inherited = [c.point["policy"] in {p.point["policy"] for p in parents} for c in children]
    assert np.mean(inherited) > 0.8
    assert {tuple(c.texts.items()) for c in children} == {(), (("instruction", "Be fair."),)}


def test_the_model_is_told_of_errors_by_clause_and_rewrites_one_component(policy, maker, history):
    writer = Writer("Here it is:\n```\nReport every threat.\n```\nGood luck")
    made = ReflectiveProposer(writer, policy, maker.texts, 0.8, ProposerConfig(errors=2)).propose(history, 2, 0)
    assert [dict(p.texts) for p in made] == [
        {"instruction": "Report every threat."},
        {"instruction": "Be fair.", "policy": "Report every threat."},
    ]
    missed = sum(case.clause == "V2" for case in history.incumbent.cases)
    assert f"missed {missed} times" in writer.asked[0]
    assert "Be fair." in writer.asked[0]
    assert len(re.findall(r"violates, was missed", writer.asked[0])) == 2


def test_a_model_that_fails_or_says_nothing_proposes_nothing(policy, maker, history):
    for writer in (Writer("", failure="out of memory"), Writer("```\n\n```")):
        assert ReflectiveProposer(writer, policy, maker.texts, 0.8, ProposerConfig()).propose(history, 3, 0) == []


@pytest.mark.parametrize(
    ("reply", "text"),
    [("```\nA.\n```", "A."), ("```text\nA.\n```", "A."), ("A.\n\nB.", "A."), ("  A. ", "A."), ("```A.", "A.")],
)
def test_replies_are_read_leniently(reply, text):
    assert written_text(reply) == text


def test_a_file_is_proposed_once(file, space, maker, history):
    proposer = FileProposer(read_candidates(file, space))
    first = proposer.propose(history, 8, 0)
    tried = [Tried(p, maker.candidate(p.point, p.texts), 0.4, False) for p in first[:1]]
    assert proposer.propose(History([*history.tried, *tried]), 8, 0) == first[1:]
    assert first[0].point == {**space.seed_point(), "policy": "full", "quoting": "tags"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("candidates: [{choices: {tone: calm}}]", "there is no dimension 'tone'"),
        ("candidates: [{choices: {policy: secret}}]", "`policy` has no choice 'secret'"),
        ("candidates: [{texts: {preface: hello}}]", "there is no component 'preface'"),
        ("candidates: []", "candidates"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_its_place(content, said, tmp_path, space):
    path = tmp_path / "wrong.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_candidates(path, space)
    assert said in str(caught.value)
    assert "wrong.yaml" in str(caught.value)


@pytest.fixture(scope="module")
def guard(golden):
    return ProposalGuard(golden.cases, ngram=6, max_chars=300)


def _refused(guard, text):
    found = guard.refusal(Proposal({}, {"instruction": text}, "reflective"))
    return (found.reason, found.case) if found else None


def test_empty_and_enormous_texts_are_refused(guard):
    assert _refused(guard, " \n\t") == ("empty", None)
    assert _refused(guard, "...!") == ("empty", None)
    assert _refused(guard, "word " * 61) == ("enormous", None)
    assert guard.refusal(Proposal({}, {})) is None


@given(st.integers(0, 131), st.sampled_from(["{}", "For example: {} -> violation", "«{}»!"]), st.booleans())
def test_copies_of_golden_texts_are_refused_whatever_their_case_and_punctuation(golden, guard, row, frame, shout):
    case = golden.cases[row]
    text = frame.format((case.text.upper() if shout else case.text).replace(" ", ", "))
    assert _refused(guard, text) == ("copies a golden case", case.id)


@given(st.text(alphabet="abcdefgh ", max_size=200))
def test_other_texts_pass(guard, text):
    found = _refused(guard, f"Rules for reviewers: {text}")
    assert found is None


def test_the_guard_keeps_no_text(golden, guard):
    kept = repr(vars(guard))
    assert not any(case.text in kept for case in golden.cases)


class Naughty:
    """Proposes an empty, an enormous, a copied and a good text."""

    name = "naughty"

    def __init__(self, copied):
        self._texts = ["", "long " * 200, copied, "Report threats."]

    def propose(self, history, count, seed):
        return [Proposal({}, {"instruction": text}, self.name) for text in self._texts]


def test_refusals_are_counted_and_the_rest_goes_on(golden, guard):
    mixed = MixedProposer({"naughty": Naughty(golden.cases[0].text)}, {"naughty": 1.0, "sampler": 1.0}, guard)
    assert [p.texts["instruction"] for p in mixed.propose(History(), 8, 0)] == ["Report threats."]
    assert [r.reason for r in mixed.refusals] == ["empty", "enormous", "copies a golden case"]
    assert mixed.refusals[2].case == golden.cases[0].id


def test_the_field_is_divided_by_shares(space, policy, maker, golden, history):
    config = ProposerConfig(shares={"sampler": 0.5, "grammar": 0.25, "crossover": 0.25})
    mixed = make_proposers(config, space, policy, maker, FakeEngine(), golden.cases, 0.8)
    sources = [p.source for p in mixed.propose(history, 12, 0)]
    assert sources == ["grammar"] * 3 + ["crossover"] * 3
    assert make_proposers(ProposerConfig(), space, policy, maker, FakeEngine(), golden.cases, 0.8) is None
    with pytest.raises(ConfigError, match="set file=PATH"):
        make_proposers(ProposerConfig(shares={"file": 1.0}), space, policy, maker, FakeEngine(), golden.cases, 0.8)


def test_a_sweep_with_every_proposer_resumes_to_the_same(open_sweep, watcher, golden, policy, space, file):
    races = {"rule": "lockstep", "lockstep": {"field": 6, "first_block": 8, "min_positives": 4, "budget": 0.4}}
    config = ProposerConfig(
        shares={"sampler": 1, "grammar": 1, "crossover": 1, "reflective": 1, "file": 1}, file=str(file)
    )
    settings = {"budget": {"trials": 14}, "racing": races}

    def run(name, engine):
        parts = open_sweep(name, engine, **settings)
        mixed = make_proposers(config, parts.space, policy, parts.maker, engine, golden.cases, 0.8)
        parts.sweep._proposers = mixed
        return parts.sweep.run(watcher)

    first = run("one", FakeEngine())
    assert {r.source for r in first.records} >= {"tpe", "grammar", "crossover", "reflective", "file"}
    again = run("one", FakeEngine())
    assert again == first
