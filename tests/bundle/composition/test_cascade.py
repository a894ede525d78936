"""Cascades: who is asked about what, whose verdict it is, and what goes to people."""

from __future__ import annotations

import pytest

from promptopt.core.case import Label
from promptopt.metrics.bands import choose_band

TEXTS = [f"text {number}" for number in range(120)]


@pytest.fixture
def cascade(composed_of):
    def make(first=(0.3, 0.7), last=(0.4, 0.5), dear="dear"):
        stages = [{"bundle": "cheap", "band": first}, {"bundle": dear, **({"band": last} if last else {})}]
        return composed_of("cascade", shape="cascade", stages=stages)

    return make


def test_each_case_has_the_verdict_of_the_stage_whose_band_it_is_not_in(opened, cascade, probability):
    cheap, dear = probability("cheap", TEXTS), probability("dear", TEXTS)
    with opened(cascade()) as judge:
        traced = judge.judge_traced(TEXTS)
    expected = {"low": 0, "high": 0, "low later": 0, "high later": 0, "people": 0}
    for row, (verdict, score, scores, doubtful) in enumerate(
        (t.verdict, t.score, t.scores, t.doubtful) for t in traced
    ):
        settled = not 0.3 <= cheap[row] < 0.7
        p, low, high = (cheap[row], 0.3, 0.7) if settled else (dear[row], 0.4, 0.5)
        assert score == verdict.probability == pytest.approx(p, abs=1e-6)
        assert scores.keys() == ({"1"} if settled else {"1", "2"})
        way = "low" if p < low else "high" if p >= high else "people"
        expected[way if settled or way == "people" else f"{way} later"] += 1
        assert doubtful == (way == "people")
        if way == "people":
            assert verdict.escalate
            assert verdict.label is (Label.VIOLATION if p >= 0.45 else Label.ALLOWED)
        else:
            assert verdict.label is (Label.VIOLATION if way == "high" else Label.ALLOWED)
    assert all(expected.values()), expected


def test_the_dearer_stage_is_asked_about_nothing_else_and_in_whole_blocks(opened, opener, cascade, probability):
    left = int(((probability("cheap", TEXTS) >= 0.3) & (probability("cheap", TEXTS) < 0.7)).sum())
    with opened(cascade()) as judge:
        judge.judge(TEXTS, block=30)
        asked = [[len(call) for call in engine.calls] for engine in opener.opened]
        whole, cheap, dear = judge.costs()
    assert asked[0] == [90] * 4  # three questions of each case
    assert asked[1] == [90] * (left // 30) + ([3 * (left % 30)] if left % 30 else [])
    assert (whole.cases, cheap.cases, dear.cases) == (120, 120, left)
    assert (cheap.passed, dear.passed) == (left, whole.passed)
    assert (cheap.judgements, dear.judgements) == (360, 3 * left)
    assert (cheap.name, dear.name) == ("cheap", "dear")


def test_streams_are_read_a_bounded_stretch_at_a_time(opened, cascade):
    read = []

    def rows():
        for text in TEXTS:
            read.append(text)
            yield text

    with opened(cascade()) as judge:
        stream = judge.judge_rows(rows(), lambda text: text, block=2)
        next(stream)
        assert len(read) == 16
        assert len(list(stream)) == len(TEXTS) - 1


def test_a_threshold_outside_the_band_does_not_contradict_it(opened, cascade, probability):
    strict = probability("strict", TEXTS)
    with opened(cascade(first=(None, None), last=(0.2, 0.6), dear="strict")) as judge:
        verdicts = judge.judge(TEXTS)
    for p, verdict in zip(strict, verdicts, strict=True):
        # its own threshold is 0.8
        assert verdict.label is (Label.VIOLATION if p >= 0.6 else Label.ALLOWED)
        assert not 0.2 <= p < 0.6 or verdict.escalate
    assert ((strict >= 0.6) & (strict < 0.8)).any()


def test_open_ends_settle_nothing_on_their_side(opened, cascade, probability):
    cheap = probability("cheap", TEXTS)
    with opened(cascade(first=(0.3, None))) as judge:
        judge.judge(TEXTS)
        assert judge.costs()[2].cases == int((cheap >= 0.3).sum())
    with opened(cascade(first=(None, 0.7))) as judge:
        judge.judge(TEXTS)
        assert judge.costs()[2].cases == int((cheap < 0.7).sum())


def test_a_last_stage_without_a_band_settles_everything(opened, cascade):
    with opened(cascade(last=None)) as judge:
        assert not any(traced.doubtful for traced in judge.judge_traced(TEXTS))
        assert judge.costs()[0].passed == 0


def test_what_a_stage_cannot_judge_goes_on_and_is_a_guess_when_it_is_the_last(opened, composed_of, make_engine, shelf):
    stages = [{"bundle": "cheap", "band": [0.0, 1.0]}, {"bundle": "dear", "band": [0.4, 0.5]}]
    path = composed_of("cascade", shape="cascade", stages=stages)
    mute = []

    class Mute(make_engine):
        def score(self, queries):
            scores = super().score(queries)
            if self._weights in mute:
                scores.logprobs[:] = float("nan")
                scores.unjudged.update(dict.fromkeys(range(len(queries)), f"{self._weights} is mute"))
            return scores

    from promptopt.bundle.composition.opening import open_judge

    with open_judge(path, opener=lambda config, folder: Mute(config["model"])) as judge:
        mute[:] = ["b"]
        (traced,) = judge.judge_traced(["text"])
        assert traced.verdict.is_judged
        assert traced.verdict.escalate
        assert traced.doubtful
        assert traced.scores.keys() == {"1"}
        mute[:] = ["a"]
        (traced,) = judge.judge_traced(["text"])
        assert traced.verdict.is_judged
        assert traced.scores.keys() == {"2"}
        mute[:] = ["a", "b"]
        (traced,) = judge.judge_traced(["text"])
        assert "a is mute" in traced.verdict.unjudged_reason
        assert "b is mute" in traced.verdict.unjudged_reason
        assert judge.costs()[0].unjudged == 1


def test_a_bundle_without_a_band_here_goes_by_its_own(opened, measured, make_engine, tmp_path, composed_of):
    from promptopt.bundle.files import write_bundle

    labels = [number % 2 == 0 for number in range(400)]
    scores = [0.75 if label else 0.25 for label in labels]
    band = choose_band(labels, scores, 0.9, 0.9, 0.1).model_copy(update={"low": 0.35, "high": 0.65})
    banded = measured("banded").model_copy(update={"band": band})
    write_bundle(banded, tmp_path / "banded")
    stages = [{"bundle": str(tmp_path / "banded")}, {"bundle": "dear"}]
    with opened(composed_of("cascade", shape="cascade", stages=stages)) as judge:
        for traced in judge.judge_traced(TEXTS):
            assert ("2" in traced.scores) == (0.35 <= traced.scores["1"] < 0.65)
