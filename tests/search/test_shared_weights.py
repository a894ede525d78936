"""One prompt's weights lean on what other prompts of the sweep said; nothing is judged for it."""

from __future__ import annotations

import numpy as np
import pytest

from promptopt.core.case import GoldenCase, Label, Split
from promptopt.metrics.ranking import average_precision
from promptopt.policy.procedure import DIRECT_QUESTION, Procedure
from promptopt.search.shared_weights import PanelAnswers, SharedWeights
from promptopt.search.weighing import weigh

WORDS = tuple(f"w{i}" for i in range(30))


def cases(n):
    return [
        GoldenCase(
            id=f"c{i}", text=f"text {i}", label=Label.VIOLATION if i % 2 else Label.ALLOWED, group=f"g{i}",
            clause="V1" if i % 2 else None, severity=3 if i % 2 else 0, split=Split.SEARCH,
        )
        for i in range(n)
    ]  # fmt: skip


def table(made, seed, words=WORDS):
    """Each word says a little about the label, the same with every prompt, and each prompt adds noise of its own."""
    random = np.random.default_rng(seed)
    labels = np.array([case.is_violation for case in made], dtype=float)
    slopes = {word: np.random.default_rng(100 + int(word[1:])).normal(0, 0.35) for word in WORDS}
    logits = np.stack([slopes.get(word, 0.0) * labels + random.normal(0, 1, len(made)) for word in words], axis=1)
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.fixture
def verbalized(policy):
    return Procedure(shape="verbalized", clauses=policy.clauses, precedence=policy.precedence, routing=policy.routing)


@pytest.fixture
def made():
    return cases(60)


def test_other_prompts_make_weights_better_on_new_cases(verbalized, made):
    new = cases(1000)
    labels = np.array([case.is_violation for case in new])
    asked = {DIRECT_QUESTION: table(new, 999)}
    gains = []
    for seed in range(8):
        own = {DIRECT_QUESTION: table(made, seed)}
        others = [PanelAnswers(WORDS, table(made, 50 + 10 * seed + i)) for i in range(6)]
        shared = SharedWeights([PanelAnswers(WORDS, own[DIRECT_QUESTION]), *others], made)
        by_all, alone = shared.weigh(verbalized, WORDS, own), weigh(verbalized, own, made)
        gains.append(average_precision(labels, by_all.score(asked)) - average_precision(labels, alone.score(asked)))
    assert np.mean(gains) > 0.02
    assert min(gains) > -0.01


def test_words_are_told_apart_by_name(verbalized, made):
    own = {DIRECT_QUESTION: table(made, 1)}
    other = PanelAnswers(WORDS, table(made, 2))
    turned = PanelAnswers(WORDS[::-1], other.table[:, ::-1])
    panels = [PanelAnswers(WORDS, own[DIRECT_QUESTION])]
    found = [SharedWeights([*panels, one], made).weigh(verbalized, WORDS, own) for one in (other, turned)]
    assert found[0].verbalizer.weights == pytest.approx(found[1].verbalizer.weights)


def test_a_word_of_its_own_is_weighed_by_itself(verbalized, made):
    own = {DIRECT_QUESTION: table(made, 1)}
    others = [PanelAnswers(("other", *WORDS[1:]), table(made, seed, ("w99", *WORDS[1:]))) for seed in (2, 3)]
    shared = SharedWeights([PanelAnswers(WORDS, own[DIRECT_QUESTION]), *others], made)
    assert np.isfinite(shared.weigh(verbalized, WORDS, own).verbalizer.weights).all()


def test_prompts_that_saw_a_part_of_the_cases_count_with_that_part(verbalized, made):
    own = {DIRECT_QUESTION: table(made, 1)}
    part = table(made, 2)
    part[20:] = np.nan
    panels = [PanelAnswers(WORDS, own[DIRECT_QUESTION]), PanelAnswers(WORDS, part)]
    found = SharedWeights(panels, made).weigh(verbalized, WORDS, own)
    assert np.isfinite(found.verbalizer.weights).all()
    nothing = PanelAnswers(WORDS, np.full_like(part, np.nan))
    again = SharedWeights([*panels, nothing], made).weigh(verbalized, WORDS, own)
    assert again.verbalizer.weights == pytest.approx(found.verbalizer.weights)


def test_a_prompt_by_itself_has_weights_of_its_own(verbalized, made):
    own = {DIRECT_QUESTION: table(made, 1)}
    panels = [PanelAnswers(WORDS, own[DIRECT_QUESTION])]
    assert SharedWeights(panels, made).weigh(verbalized, WORDS, own) == weigh(verbalized, own, made)
    unread = PanelAnswers(WORDS, np.full_like(own[DIRECT_QUESTION], np.nan))
    assert SharedWeights([unread, unread], made).weigh(verbalized, WORDS, own) == weigh(verbalized, own, made)
    direct = verbalized.model_copy(update={"shape": "direct"})
    answers = {DIRECT_QUESTION: own[DIRECT_QUESTION][:, 0]}
    assert SharedWeights(panels * 2, made).weigh(direct, WORDS[:2], answers) == direct


def test_a_sweeps_prompts_are_read_from_the_store(open_sweep, watcher, make_space):
    """As many cases of each candidate as it was judged on, and no judgement more."""
    shapes = {"shapes": ["direct", "verbalized"], "aggregates": ["routing"]}
    space = make_space(**shapes, seed={"shape": "verbalized", "policy": "summary", "instruction": "plain"})
    parts = open_sweep(space=space, budget={"trials": 8})
    result = parts.sweep.run(watcher)
    before = parts.judge.spent
    found = SharedWeights.of(result.records, result.seen, parts.maker, parts.judge, parts.cases)
    assert parts.judge.spent == before
    read = [r for r in result.records if r.repeats is None and r.candidate.choices["shape"] == "verbalized"]
    assert len(read) > 1
    assert any(not r.complete for r in read)
    judged = [int((~np.isnan(panel.table).any(axis=1)).sum()) for panel in found._panels]
    assert judged == [r.cases - r.unjudged for r in read]
