"""Lockstep races: the budget holds, tests keep their error bound, and the best candidate wins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from promptopt.errors import ConfigError
from promptopt.metrics.ranking import average_precision
from promptopt.search.lockstep import LockstepConfig, LockstepRacer
from promptopt.search.paired_auprc import PairedAuprc, auprc_influence
from promptopt.search.race_blocks import RaceCases, race_blocks

SEEDS = st.integers(0, 2**32 - 1)


def make_cases(count: int, share: float = 0.5, strata: int = 3) -> RaceCases:
    labels = np.arange(count) < max(1, min(count - 1, round(share * count)))
    return RaceCases(labels, [f"s{i % strata}" for i in range(count)])


def make_scores(cases: RaceCases, skills: list[float], seed: int) -> dict[str, np.ndarray]:
    """Candidates that find the same cases hard; skill is how far apart they put the labels."""
    random = np.random.default_rng(seed)
    sign = np.where(cases.labels, 1.0, -1.0)
    hard = random.normal(size=len(sign))
    return {f"c{i}": s * sign + hard + 0.5 * random.normal(size=len(sign)) for i, s in enumerate(skills)}


def run(scores: dict[str, np.ndarray], cases: RaceCases, config: LockstepConfig, seed: int = 0, costs=None):
    racer = LockstepRacer(list(scores), cases, config, seed, costs)
    paid = 0
    while (block := racer.next_block()) is not None:
        assert block.candidates == racer.alive
        paid += sum((costs or {}).get(name, 1) for name in block.candidates) * len(block.rows)
        racer.drop({name: scores[name][racer.rows] for name in block.candidates})
    assert paid == racer.spent
    return racer


# --- the estimate and its influence


@given(SEEDS, st.integers(2, 40), st.integers(1, 8))
def test_with_equal_weights_the_value_is_average_precision_and_the_influence_sums_to_nothing(seed, count, levels):
    random = np.random.default_rng(seed)
    labels, scores = random.random(count) < 0.5, random.integers(0, levels, count).astype(float)
    value, influence = auprc_influence(labels, scores, np.full(count, 2.5))
    assert value == pytest.approx(average_precision(labels, scores), nan_ok=True)
    assert influence.sum() == pytest.approx(0, abs=1e-9)


@given(SEEDS, st.integers(3, 20))
def test_the_influence_is_the_derivative_along_each_weight(seed, count):
    random = np.random.default_rng(seed)
    labels, scores = np.arange(count) % 2 == 0, random.integers(0, 5, count).astype(float)
    weights = random.uniform(0.5, 2, count)
    _, influence = auprc_influence(labels, scores, weights)
    for row in range(count):
        step = np.zeros(count)
        step[row] = 1e-5 * weights[row]
        up, down = (auprc_influence(labels, scores, weights + sign * step)[0] for sign in (1, -1))
        assert influence[row] == pytest.approx((up - down) / 2e-5, abs=1e-5)


def test_a_part_with_another_share_of_violations_estimates_the_whole():
    random = np.random.default_rng(0)
    labels = np.arange(4000) < 400
    scores = random.normal(size=4000) + 1.2 * labels
    rows = np.concatenate([random.permutation(400)[:300], 400 + random.permutation(3600)[:300]])
    estimate = PairedAuprc(labels[rows], 400, 3600).stand(scores[rows]).value
    assert estimate == pytest.approx(average_precision(labels, scores), abs=0.08)
    assert average_precision(labels[rows], scores[rows]) > estimate + 0.2


def test_equal_scores_and_worse_leaders_are_never_significant():
    cases = make_cases(60)
    scores = make_scores(cases, [2.0, 0.2], 1)
    drawn = PairedAuprc(cases.labels, 90, 90)
    good, bad = (drawn.stand(scores[name]) for name in ("c0", "c1"))
    assert drawn.p_value(good, good) == drawn.p_value(bad, good) == 1.0
    assert drawn.p_value(good, bad) < 1e-4
    assert PairedAuprc(cases.labels, 90, 90, least=31).p_value(good, bad) == 1.0


def test_the_test_keeps_its_level_where_the_plain_one_does_not():
    """Rare violations and few cases at the top: the shape in which large-sample tests of AUPRC err."""
    random = np.random.default_rng(3)
    labels = np.arange(400) < 60
    hard = random.normal(size=400)
    pool = [0.6 * np.where(labels, 1, -1) + hard + 0.6 * random.normal(size=400) for _ in range(30)]
    pool.sort(key=lambda scores: average_precision(labels, scores))
    found = []
    for number in range(400):
        worse, better = pool[number % 29], pool[number % 29 + 1]
        rows = np.concatenate([random.permutation(60)[:40], 60 + random.permutation(340)[:40]])
        drawn = PairedAuprc(labels[rows], 60, 340)
        found.append(drawn.p_value(drawn.stand(worse[rows]), drawn.stand(better[rows])))
    assert np.mean(np.array(found) <= 0.01) <= 0.01


# --- blocks


@given(st.integers(2, 300), st.floats(0.02, 0.98), st.integers(2, 40), st.floats(1.01, 4), SEEDS)
def test_blocks_hold_every_case_once_and_labels_take_turns(count, share, first, growth, seed):
    cases = make_cases(count, share)
    blocks = race_blocks(cases, first, growth, seed)
    rows = np.concatenate(blocks)
    assert sorted(rows.tolist()) == list(range(count))
    assert len(blocks[0]) == min(first, count) or len(blocks) == 1
    rarer = min(int(cases.labels.sum()), int((~cases.labels).sum()))
    start = cases.labels[rows[: 2 * rarer]]
    assert start.sum() == rarer
    assert all(len(block) for block in blocks)


def test_within_a_label_every_stretch_mirrors_the_strata():
    cases = RaceCases(np.arange(200) < 100, [("a" if i % 100 < 75 else "b", 1) for i in range(200)])
    rows = np.concatenate(race_blocks(cases, 12, 1.25, 5))[:80]
    violations = [cases.strata[row][0] for row in rows if cases.labels[row]]
    assert abs(violations.count("a") - 30) <= 1


def test_within_a_stratum_every_stretch_mirrors_the_groups():
    """Half of every stratum is one template, half another."""
    groups = ["x" if i % 2 else "y" for i in range(200)]
    cases = RaceCases(np.arange(200) < 100, [("a" if i % 100 < 75 else "b", 1) for i in range(200)], groups)
    order = np.concatenate(race_blocks(cases, 40, 1.25, seed=3))
    for end in (40, 80, 120):
        seen = order[:end]
        assert abs(sum(groups[row] == "x" for row in seen) - end / 2) <= 2
        assert abs(sum(cases.strata[row][0] == "a" for row in seen) - 0.75 * end) <= 4


@given(st.integers(0, 5), st.integers(1, 6), st.integers(10, 60))
def test_a_template_s_cases_lie_far_apart(seed, templates, count):
    """Between two of a template's cases every other template has its share, and one case at most besides."""
    groups = [f"template {i // 2 % templates}" for i in range(count)]
    cases = RaceCases(np.arange(count) % 2 == 0, ["all"] * count, groups)
    order = np.concatenate(race_blocks(cases, 4, 2.0, seed))
    for label in (True, False):
        names = [groups[row] for row in order if cases.labels[row] == label]
        for name in set(names):
            places = [i for i, other in enumerate(names) if other == name]
            share = len(places) / len(names)
            longest = max(np.diff(places), default=0)
            assert longest <= 1 / share + templates - 1


def test_golden_cases_are_spread_over_clause_severity_and_language(make_case):
    made = [make_case(i, i % 2 == 0) for i in range(8)]
    cases = RaceCases.of(made)
    assert cases.labels.tolist() == [case.is_violation for case in made]
    assert cases.strata[0] == (made[0].clause, made[0].severity, "en")


@pytest.mark.parametrize(("labels", "missing"), [([True] * 5, "allowed case"), ([False] * 5, "violation")])
def test_a_race_without_one_of_the_labels_is_refused(labels, missing):
    with pytest.raises(ConfigError, match=f"no {missing} among the 5 cases"):
        race_blocks(RaceCases(np.array(labels), [""] * 5), 2, 2.0, 0)


# --- races


def test_the_best_of_many_wins_on_a_tenth_of_the_judgements():
    cases = make_cases(400, 0.3)
    scores = make_scores(cases, [*np.linspace(0.1, 1.2, 99), 1.8], 7)
    racer = run(scores, cases, LockstepConfig(), seed=2)
    assert racer.ranking[0][0] == "c99"
    assert racer.ranking[0][1] == pytest.approx(average_precision(cases.labels, scores["c99"]), abs=0.03)
    assert racer.spent <= racer.allowance == 4000
    assert {drop.candidate for drop in racer.drops} | set(racer.alive) == set(scores)


def test_without_a_budget_clearly_worse_candidates_are_dropped_by_tests():
    cases = make_cases(300)
    scores = make_scores(cases, [1.5, *[0.1] * 9], 0)
    racer = run(scores, cases, LockstepConfig(budget=1.0))
    assert racer.alive == ("c0",)
    assert {drop.why for drop in racer.drops} == {"test"}
    assert all(drop.p <= drop.level == racer.level and drop.leader_value > drop.value for drop in racer.drops)
    assert racer.level == pytest.approx(0.05 / (9 * len(racer.tested)))
    assert racer.spent < 0.6 * 10 * 300


def test_tests_drop_the_best_of_near_equals_no_more_often_than_alpha():
    cases = make_cases(120, 0.3)
    config = LockstepConfig(alpha=0.2, min_positives=8, budget=1.0, growth=1.6)
    lost = dropped = 0
    for seed in range(150):
        scores = make_scores(cases, [0.6] * 9 + [-0.4], seed)
        best = max(scores, key=lambda name: average_precision(cases.labels, scores[name]))
        racer = run(scores, cases, config, seed)
        lost += any(drop.candidate == best and drop.why == "test" for drop in racer.drops)
        dropped += len(racer.drops)
    assert lost <= 0.2 * 150
    assert dropped > 0, "a race that never drops anybody keeps every bound"


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_the_budget_is_never_exceeded_and_two_get_to_the_end(data):
    count = data.draw(st.integers(20, 120))
    cases = make_cases(count, data.draw(st.floats(0.1, 0.9)))
    names = [f"c{i}" for i in range(data.draw(st.integers(2, 25)))]
    costs = {name: data.draw(st.integers(1, 6)) for name in names}
    config = LockstepConfig(
        first_block=data.draw(st.integers(2, 16)),
        growth=data.draw(st.floats(1.05, 3)),
        min_positives=data.draw(st.integers(2, 10)),
        budget=data.draw(st.floats(0.05, 1)),
        max_survivors=data.draw(st.none() | st.integers(2, 6)),
    )
    random = np.random.default_rng(data.draw(SEEDS))
    scores = {name: random.integers(0, 9, count).astype(float) for name in names}
    look = sum(costs.values()) * len(race_blocks(cases, config.first_block, config.growth, 1)[0])
    if look > int(config.budget * sum(costs.values()) * count):
        with pytest.raises(ConfigError, match="budget"):
            run(scores, cases, config, seed=1, costs=costs)
        return
    try:
        racer = run(scores, cases, config, seed=1, costs=costs)
    except ConfigError:  # the look is affordable, two finalists after it are not
        return
    assert racer.spent <= racer.allowance <= config.budget * sum(costs.values()) * count + 1
    tested = sum(drop.why == "test" for drop in racer.drops)
    assert len(racer.alive) >= 2 or tested
    if config.max_survivors is not None and len(racer.blocks) > 1:
        assert len(racer.alive) <= config.max_survivors


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({}, 30),  # a third of 300 cases * 0.3
        ({"first_share": 0.0}, 12),
        ({"first_share": 0.2}, 18),
        ({"budget": 0.15}, 15),
        ({"budget": 1.0}, 40),  # from there on tests can be made
        ({"budget": 1.0, "min_positives": 25}, 50),
        ({"first_block": 35}, 35),
        ({"first_share": 0.9, "budget": 0.15}, 16),  # two finalists' cases are left
    ],
)
def test_the_first_block_grows_with_what_the_budget_gives_each_candidate(changes, first):
    names = [str(i) for i in range(20)]
    racer = LockstepRacer(names, make_cases(300), LockstepConfig(**{"budget": 0.3, **changes}))
    assert len(racer.blocks[0]) == first


def test_what_the_budget_drops_is_recorded_as_such_and_the_leader_stays():
    cases = make_cases(200)
    racer = LockstepRacer([f"c{i}" for i in range(40)], cases, LockstepConfig(budget=0.15))
    scores = make_scores(cases, list(np.linspace(0.2, 1.0, 40)), 4)
    block = racer.next_block()
    drops = racer.drop({name: scores[name][racer.rows] for name in block.candidates})
    assert drops
    assert {drop.why for drop in drops} == {"budget"}
    assert {drop.cases for drop in drops} == {12}
    assert all(np.isnan(drop.p) for drop in drops)
    assert racer.ranking[0][0] == drops[0].leader


def test_equal_seeds_give_equal_races_and_other_seeds_other_orders():
    cases = make_cases(150, 0.4)
    scores = make_scores(cases, list(np.linspace(0, 1, 20)), 9)
    first, again, other = (run(scores, cases, LockstepConfig(budget=0.3), seed) for seed in (3, 3, 4))
    assert [drop.model_dump_json() for drop in first.drops] == [drop.model_dump_json() for drop in again.drops]
    assert first.rows.tolist() == again.rows.tolist() != other.rows.tolist()


def test_unjudged_cases_are_left_out_and_a_candidate_without_any_verdict_leaves():
    cases = make_cases(60)
    scores = make_scores(cases, [1.5, 1.0, 0.2], 0)
    scores["c0"][::7] = np.nan
    scores["c2"][:] = np.nan
    racer = run(scores, cases, LockstepConfig(budget=1.0, min_positives=5))
    assert [(drop.candidate, drop.why) for drop in racer.drops if drop.why == "unmeasured"] == [("c2", "unmeasured")]
    values = dict(racer.ranking)
    if "c0" in values and len(racer.rows) == 60:
        assert values["c0"] == pytest.approx(average_precision(cases.labels, scores["c0"]), abs=0.02)


def test_a_field_that_nobody_measured_ends_the_race_empty():
    cases = make_cases(40)
    racer = run({name: np.full(40, np.nan) for name in "ab"}, cases, LockstepConfig(budget=1.0))
    assert racer.alive == racer.ranking == ()


def test_one_candidate_is_judged_once_and_has_won():
    racer = run({"only": np.arange(50.0)}, make_cases(50), LockstepConfig(budget=1.0, first_block=10, growth=2.0))
    assert racer.alive == ("only",)
    assert racer.spent == 10


def test_a_budget_that_does_not_carry_one_look_is_refused_in_one_sentence():
    with pytest.raises(ConfigError) as caught:
        LockstepRacer([f"c{i}" for i in range(180)], make_cases(400), LockstepConfig(budget=0.02))
    assert "a budget of 1,440 judgements does not carry one look at 180 candidates (2,160)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_calls_out_of_turn_and_scores_of_another_shape_are_refused():
    cases = make_cases(40)
    racer = LockstepRacer(["a", "b"], cases, LockstepConfig(budget=1.0))
    with pytest.raises(RuntimeError, match="next_block"):
        racer.drop({})
    racer.next_block()
    with pytest.raises(RuntimeError, match="drop"):
        racer.next_block()
    with pytest.raises(ValueError, match="shape"):
        racer.drop({"a": np.zeros(12), "b": np.zeros(11)})
    racer.drop({"a": np.zeros(12), "b": np.zeros(12)})
    with pytest.raises(ValueError, match="distinct"):
        LockstepRacer(["a", "a"], cases, LockstepConfig())


@pytest.mark.parametrize(
    "wrong", [{"first_block": 1}, {"growth": 1.0}, {"alpha": 0}, {"budget": 0}, {"budget": 1.1}, {"max_survivors": 1}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        LockstepConfig(**wrong)


# --- who stays


def _raced(scores, cases, config, **who):
    racer = LockstepRacer(list(scores), cases, config, 0, **who)
    while (block := racer.next_block()) is not None:
        racer.drop({name: scores[name][racer.rows] for name in block.candidates})
    return racer


def test_who_is_kept_stays_to_the_last_case_whatever_it_scores():
    cases = make_cases(200)
    scores = make_scores(cases, [0.0, 1.0, 1.1, 1.2, 1.3, 1.4], seed=1)
    config = LockstepConfig(budget=0.5)
    assert "c0" not in _raced(scores, cases, config).alive
    kept = _raced(scores, cases, config, kept="c0")
    assert "c0" in kept.alive
    assert "c0" not in {drop.candidate for drop in kept.drops}
    assert kept.spent <= kept.allowance
    assert kept.ranking[0][0] != "c0"
    with pytest.raises(ValueError, match="is to be kept and is no candidate"):
        LockstepRacer(["a", "b"], cases, config, 0, kept="c")


def test_a_jury_has_as_many_finalists_as_it_takes():
    cases = make_cases(200)
    scores = make_scores(cases, [1.0] * 8, seed=1)
    config = LockstepConfig(budget=0.54, alpha=1e-9)
    assert len(_raced(scores, cases, config).alive) < 4
    racer = _raced(scores, cases, config, finalists=4)
    assert len(racer.alive) == 4
    assert racer.spent <= racer.allowance
    with pytest.raises(ConfigError, match="the rest of the cases for 4 of them"):
        LockstepRacer(list(scores), cases, LockstepConfig(budget=0.4), 0, finalists=4)
