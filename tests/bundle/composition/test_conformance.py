"""One bundle, cascades, juries and compositions of compositions keep one contract."""

from __future__ import annotations

import math

import pytest

from promptopt.bundle.composition.compose import compose
from promptopt.bundle.composition.opening import open_judge
from promptopt.bundle.composition.reader import read_judge
from promptopt.bundle.contract import BAD_UNICODE, EMPTY_TEXT, TextJudge
from promptopt.errors import BundleError

KINDS = ["bundle", "cascade", "jury", "cascade of juries", "jury of cascades", "composite bundle"]
STAGES = [{"bundle": "cheap", "band": [0.3, 0.7]}, {"bundle": "dear", "band": [0.4, 0.5]}]
MEMBERS = [{"bundle": "cheap", "weight": 2}, {"bundle": "second"}, {"bundle": "dear"}]


@pytest.fixture(params=KINDS)
def path(request, shelf, composed_of, tmp_path, opener):
    jury = {"shape": "jury", "agreement": 0.7, "members": MEMBERS}
    match request.param:
        case "bundle":
            return shelf / "cheap"
        case "cascade":
            return composed_of("cascade", shape="cascade", stages=STAGES)
        case "jury":
            return composed_of("jury", **jury)
        case "jury of cascades":
            composed_of("inner", shape="cascade", stages=STAGES)
            return composed_of("jury", shape="jury", members=[{"bundle": "inner.yaml"}, {"bundle": "strict"}])
        case _:
            composed_of("inner", **jury)
            stages = [{"bundle": "cheap", "band": [0.3, 0.7]}, {"bundle": "inner.yaml", "band": [0.45, 0.55]}]
            file = composed_of("cascade", shape="cascade", stages=stages)
            if request.param == "cascade of juries":
                return file
            branch = read_judge(file)
            with open_judge(branch, opener=opener) as judge:
                compose(branch, judge, tmp_path / "composite")
            opener.opened.clear()
            opener.closed = 0
            return tmp_path / "composite"


def test_it_is_a_text_judge_with_one_engine_for_each_fingerprint(opened, opener, path):
    with opened(path) as judge:
        assert isinstance(judge, TextJudge)
        assert judge.name
        assert 0 <= judge.threshold <= 1
        assert len(opener.opened) == len({leaf.fingerprint for leaf in read_judge(path).leaves()}) <= 2
        assert judge.engine_fingerprint() == read_judge(path).fingerprint
    assert opener.closed == len(opener.opened)


def test_every_way_of_asking_gives_the_same_verdicts_in_order(opened, path, texts):
    with opened(path) as judge:
        verdicts = judge.judge(texts)
        assert [v for v, _ in judge.judge_scored(texts)] == verdicts
        assert [t.verdict for t in judge.judge_traced(texts)] == verdicts
        rows = list(judge.judge_rows(iter(enumerate(texts)), lambda row: row[1], block=4))
        assert [row for row, _ in rows] == list(enumerate(texts))
        assert [v for _, v in rows] == verdicts
        assert judge.judge(texts, block=7) == verdicts
        assert [judge.judge([text])[0] for text in texts] == verdicts
        assert judge.judge([]) == []


def test_what_cannot_be_asked_about_has_no_verdict_and_costs_nothing(opened, path):
    with opened(path) as judge:
        verdicts = judge.judge(["", None, " \n ", "half \ud800"])
        assert [v.unjudged_reason for v in verdicts] == [EMPTY_TEXT] * 3 + [BAD_UNICODE]
        assert judge.usage.queries == 0
        assert judge.costs()[0].cases == 0


def test_what_no_engine_judges_is_unjudged_with_a_reason_and_a_score_that_is_none(opened, path):
    with opened(path) as judge:
        ((verdict, score),) = judge.judge_scored(["please <refuse> this"])
        assert not verdict.is_judged
        assert "refused" in verdict.unjudged_reason
        assert math.isnan(score)
        assert judge.costs()[0].unjudged == judge.costs()[0].cases == 1


def test_texts_that_were_not_read_whole_are_marked(opened, path):
    with opened(path) as judge:
        assert judge.judge(["x" * 230])[0].truncated
        assert not judge.judge(["x" * 30])[0].truncated


def test_scores_and_doubt_go_with_the_verdicts(opened, path, texts):
    with opened(path) as judge:
        for traced in judge.judge_traced(texts):
            assert traced.verdict.is_judged != math.isnan(traced.score)
            if traced.verdict.is_judged:
                assert traced.scores
                assert all(0 <= score <= 1 for score in traced.scores.values())
            if traced.doubtful:
                assert traced.verdict.escalate


def test_costs_add_up(opened, path, texts):
    with opened(path) as judge:
        judge.judge(texts)
        whole, *parts = judge.costs()
        assert whole.place == ""
        assert whole.cases == 62
        assert whole.judgements == judge.usage.queries > 0
        assert whole.tokens_submitted == judge.usage.tokens_submitted == 10 * whole.judgements
        top = [part for part in parts if part.place.count(".") == 0]
        if top:
            assert sum(part.judgements for part in top) == whole.judgements
            assert sum(part.tokens_submitted for part in top) == whole.tokens_submitted
        for part in parts:
            below = [p for p in parts if p.place.rpartition(".")[0] == part.place]
            if below:
                assert sum(p.judgements for p in below) == part.judgements


def test_block_must_be_positive(opened, path, texts):
    with opened(path) as judge, pytest.raises(ValueError, match="block"):
        judge.judge(texts, block=0)


def test_it_verifies_here_and_not_on_another_engine(path, opened, make_engine):
    with opened(path) as judge:
        report = judge.verify()
        assert report.passed
        assert report.engine_matches
        assert report.largest_difference < 1e-6
    other = open_judge(path, any_judge=True, opener=lambda config, folder: make_engine("another"))
    with other as judge:
        report = judge.verify()
        assert not report.passed
        assert not report.engine_matches


def test_another_engine_is_refused_and_closed(path, make_engine):
    closed = []

    def wrong(config, folder):
        engine = make_engine("another")
        engine.close = lambda: closed.append(1)
        return engine

    with pytest.raises(BundleError, match="measured on another judge"):
        open_judge(path, opener=wrong)
    assert closed
