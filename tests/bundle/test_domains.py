"""Several bundles on one case: the verdicts of each, one engine call, and the overall action."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.bundle.domain_columns import OVERALL_COLUMNS, DomainLayout
from promptopt.bundle.domain_verdicts import DomainVerdicts
from promptopt.bundle.domains import MultiDomainJudge
from promptopt.bundle.runtime import EMPTY_TEXT, BundleJudge
from promptopt.bundle.table_verdicts import VERDICT_COLUMNS, TableTally
from promptopt.core.case import Label
from promptopt.core.verdict import Verdict
from promptopt.errors import BundleError
from promptopt.metrics.bands import choose_band
from promptopt.policy.actions import ACTION_ORDER
from promptopt.policy.model import Action, Clause

TEXTS = [f"text {i}" for i in range(12)]


@pytest.fixture
def bundles(make_bundle, direct):
    """Three domains on the engine that all bundles are measured on; the last asks one direct question."""
    return [
        make_bundle(domain="abuse", name="a"),
        make_bundle(domain="violence", name="v"),
        make_bundle(direct, domain="spam", name="s"),
    ]


def test_each_domain_gets_the_verdict_of_its_own_bundle(bundles, engine):
    judged = MultiDomainJudge(bundles, lambda _: engine).judge(TEXTS, block=5)

    assert [list(each.verdicts) for each in judged] == [["abuse", "violence", "spam"]] * len(TEXTS)
    for bundle in bundles:
        alone = BundleJudge(bundle, engine).judge(TEXTS)
        assert [each.verdicts[bundle.domain] for each in judged] == alone


def test_a_block_is_one_call_of_the_engine(bundles, engine):
    judge = MultiDomainJudge(bundles, lambda _: engine)
    judge.judge(["", *TEXTS[:9], None], block=4)

    questions = sum(len(bundle.prompts) for bundle in bundles)
    assert [len(call) for call in engine.calls] == [3 * questions, 4 * questions, 2 * questions]
    assert judge.usage.queries == 9 * questions


def test_bundles_of_other_judges_are_asked_on_their_own(make_bundle, make_engine):
    engines = {"abuse": make_engine("a"), "spam": make_engine("b")}
    bundles = [make_bundle(domain=domain) for domain in engines]
    judge = MultiDomainJudge(bundles, lambda bundle: engines[bundle.domain])

    judged = judge.judge(TEXTS)

    assert [len(engine.calls) for engine in engines.values()] == [1, 1]
    for bundle in bundles:
        alone = BundleJudge(bundle, engines[bundle.domain]).judge(TEXTS)
        assert [each.verdicts[bundle.domain] for each in judged] == alone
    with pytest.raises(BundleError, match="measured on another judge"):
        judge.check_engines()


def test_one_domain_without_a_verdict_leaves_the_others_theirs(make_bundle, make_engine):
    bundles = [make_bundle(domain="abuse"), make_bundle(domain="spam")]

    class RefusesTheSecondHalf(make_engine):
        def score(self, queries):
            scores = super().score(queries)
            for row in range(len(queries) // 2, len(queries)):
                scores.unjudged[row] = "refused"
                scores.logprobs[row] = float("nan")
            return scores

    engine = RefusesTheSecondHalf()
    [judged] = MultiDomainJudge(bundles, lambda _: engine).judge(["text 1"])

    assert judged.verdicts["abuse"].is_judged
    assert judged.verdicts["spam"].unjudged_reason == "V1: refused"
    assert judged.unjudged == ("spam",)


def test_an_empty_text_has_no_action(bundles, engine):
    [judged] = MultiDomainJudge(bundles, lambda _: engine).judge(["  "])

    assert {verdict.unjudged_reason for verdict in judged.verdicts.values()} == {EMPTY_TEXT}
    assert (judged.action, judged.label, judged.domain, judged.severity) == (None, None, None, None)
    assert judged.unjudged == ("abuse", "violence", "spam")
    assert engine.calls == []


@pytest.mark.parametrize(("domains", "says"), [([], "there is no bundle"), (["spam", "spam"], "of the domain spam")])
def test_bundles_that_cannot_be_told_apart(make_bundle, engine, domains, says):
    with pytest.raises(BundleError, match=says):
        MultiDomainJudge([make_bundle(domain=domain) for domain in domains], lambda _: engine)


def test_blocks_have_a_size(bundles, engine):
    with pytest.raises(ValueError, match="block must be at least 1"):
        MultiDomainJudge(bundles, lambda _: engine).judge(TEXTS, block=0)


def test_a_doubtful_case_goes_to_people_though_no_domain_calls_it_a_violation(make_bundle, engine):
    random = np.random.default_rng(0)
    labels = random.random(400) < 0.5
    scores = np.clip(random.normal(np.where(labels, 0.7, 0.3), 0.15), 0, 1)
    band = choose_band(labels, scores, 0.9, 0.9, 0.1).model_copy(update={"low": 0.0, "high": 1.0})
    judged = MultiDomainJudge([make_bundle(domain="abuse", band=band)], lambda _: engine).judge(TEXTS)

    assert {each.action for each in judged} == {Action.ESCALATE}
    assert {each.label for each in judged} == {Label.ALLOWED, Label.VIOLATION}
    assert all(each.escalate for each in judged)


def _clause(name: str, severity: int, action: Action) -> Clause:
    return Clause(
        id=name,
        title=name,
        severity=severity,
        definition="d",
        question="q?",
        includes=("i",),
        excludes=("e",),
        action=action,
    )


_CLAUSES = tuple(
    _clause(f"V{i}", severity, action)
    for i, (severity, action) in enumerate(itertools.product(range(1, 5), ACTION_ORDER[:-1]))
)
_VERDICTS = st.one_of(
    st.just(Verdict.unjudged("refused")),
    st.just(Verdict(label=Label.ALLOWED, probability=0.1, severity=0)),
    st.sampled_from(_CLAUSES).map(
        lambda c: Verdict(
            label=Label.VIOLATION,
            probability=0.9,
            clause=c.id,
            severity=c.severity,
            escalate=c.action is Action.ESCALATE,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["abuse", "political", "spam", "violence"]), _VERDICTS, min_size=1))
def test_the_overall_action_is_the_severest_and_no_verdict_is_never_allow(verdicts):
    outcome = DomainVerdicts.of(verdicts, dict.fromkeys(verdicts, _CLAUSES))

    cited = [c for v in verdicts.values() for c in _CLAUSES if c.id == v.clause]
    unjudged = [domain for domain, verdict in verdicts.items() if not verdict.is_judged]
    assert outcome.unjudged == tuple(unjudged)
    if cited:
        severest = max(c.severity for c in cited)
        assert outcome.severity == severest
        assert outcome.action is min((c.action for c in cited if c.severity == severest), key=ACTION_ORDER.index)
        assert outcome.label is Label.VIOLATION
        assert verdicts[outcome.domain].clause == outcome.clause
    elif unjudged:
        assert (outcome.action, outcome.label, outcome.severity) == (None, None, None)
    else:
        assert (outcome.action, outcome.label, outcome.severity) == (Action.ALLOW, Label.ALLOWED, 0)
    assert (outcome.action is Action.ALLOW) == all(v.label is Label.ALLOWED for v in verdicts.values())


def test_columns_are_named_by_domain_and_rows_fit_them(bundles, engine):
    layout = DomainLayout(("abuse", "violence", "spam"))
    judged = MultiDomainJudge(bundles, lambda _: engine).judge([*TEXTS, ""])

    assert list(layout.columns) == [
        *OVERALL_COLUMNS,
        *(f"{domain}_{name}" for domain in layout.domains for name in VERDICT_COLUMNS),
    ]
    rows = [dict(zip(layout.columns, layout.row(each), strict=True)) for each in judged]
    assert rows[-1]["action"] is None
    assert rows[-1]["escalate"] is None
    assert rows[-1]["unjudged_domains"] == "abuse,violence,spam"
    assert all(row["unjudged_domains"] is None for row in rows[:-1])
    assert [row["spam_label"] for row in rows[:-1]] == [each.verdicts["spam"].label.value for each in judged[:-1]]


def test_tallies_of_blocks_add_up(bundles, engine):
    layout = DomainLayout(("abuse", "violence", "spam"))
    judged = MultiDomainJudge(bundles, lambda _: engine).judge([*TEXTS, "", "<refuse>"])

    whole = layout.tally(judged)
    assert layout.tally(judged[:3]) + TableTally() + layout.tally(judged[3:]) == whole
    assert (whole.rows, whole.unjudged, whole.actions["none"]) == (14, 2, 2)
    assert whole.violations + whole.allowed + whole.unjudged == sum(whole.actions.values()) == 14
    for tally in whole.domains.values():
        assert (tally.rows, tally.unjudged, tally.violations + tally.allowed) == (14, 2, 12)
    assert TableTally.model_validate_json(whole.model_dump_json()) == whole


def test_a_tally_of_one_domain_keeps_its_form():
    assert list(TableTally(rows=1, allowed=1).model_dump()) == [
        "rows",
        "violations",
        "allowed",
        "unjudged",
        "escalated",
        "truncated",
    ]
