"""Replayed policies: none overdraws, each keeps its own rule, and the figures are right where the truth is known."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt import cli
from promptopt.bench.replay import ReplaySettings, replay
from promptopt.bench.replay_policies import POLICIES, lockstep, miprov2, race, random_search, successive_halving
from promptopt.bench.replay_pool import Ledger, ReplayPool
from promptopt.bench.score_matrix import ScoreMatrix
from promptopt.errors import ConfigError
from promptopt.metrics.ranking import average_precision
from promptopt.search.lockstep import LockstepConfig


def make_matrix(rows: int, columns: int, *, share: float = 0.4, seed: int = 0, best: float = 0.0) -> ScoreMatrix:
    """Candidates of growing skill that find the same cases hard; the last is ``best`` better still."""
    random = np.random.default_rng(seed)
    labels = np.arange(columns) < round(share * columns)
    skill = np.linspace(0.1, 1.0, rows)
    skill[-1] += best
    hard = random.normal(size=columns)
    scores = skill[:, np.newaxis] * np.where(labels, 1, -1) + hard + 0.6 * random.normal(size=(rows, columns))
    return ScoreMatrix(
        logprobs=-np.logaddexp(0, -scores).astype(np.float32),
        labels=labels,
        clauses=np.array(["V1" if i % 3 else "V2" for i in range(columns)]),
        severities=labels.astype(np.int8),
        groups=np.array([f"g{i // 2}" for i in range(columns)]),
        case_digests=np.array([hashlib.sha256(f"case {i}".encode()).hexdigest() for i in range(columns)]),
        candidate_digests=np.array([hashlib.sha256(f"candidate {i}".encode()).hexdigest() for i in range(rows)]),
        meta={"judge": {"name": "made up"}, "candidates": [{}] * rows},
    )


def parts(matrix: ScoreMatrix) -> dict[str, object]:
    return {field.name: getattr(matrix, field.name) for field in fields(matrix)}


@pytest.fixture(scope="module")
def matrix() -> ScoreMatrix:
    return make_matrix(60, 200, best=1.0)


class Watched(Ledger):
    """Remembers what was asked for."""

    def __init__(self, pool: ReplayPool, allowance: int) -> None:
        super().__init__(pool, allowance)
        self.asked: list[tuple[int, int]] = []

    def ask(self, candidate, rows):
        self.asked.append((candidate, len(rows)))
        return super().ask(candidate, rows)


# --- the pool and the ledger


def test_a_pool_is_a_part_of_the_matrix_in_another_order(matrix):
    pool, same, other = (ReplayPool.draw(matrix, 0.9, seed) for seed in (1, 1, 2))
    assert pool.size == (54, 200)
    assert pool.digests == same.digests != other.digests
    rows = [matrix.candidate_digests.tolist().index(digest) for digest in pool.digests]
    assert pool.truth.tolist() == matrix.auprc[rows].tolist()
    for i in range(3):
        assert average_precision(pool.labels, pool.scores[i]) == pytest.approx(pool.truth[i], abs=1e-9)


def test_a_judgement_is_paid_for_once_and_none_is_handed_out_beyond_the_allowance(matrix):
    ledger = Ledger(ReplayPool.draw(matrix, 0.5, 0), 10)
    ledger.ask(0, [1, 2, 3, 4])
    ledger.ask(0, [3, 4, 5])
    assert (ledger.spent, ledger.left) == (5, 5)
    assert ledger.price(1, [3, 4, 5]) == 3
    with pytest.raises(RuntimeError, match="6 judgements asked for, 5 left"):
        ledger.ask(1, range(6))
    assert ledger.spent == 5


# --- policies


@settings(deadline=None, max_examples=12)
@given(st.integers(3, 14), st.integers(40, 80), st.floats(0.1, 0.9), st.floats(0.01, 1), st.integers(0, 99))
def test_no_policy_ever_exceeds_its_allowance(rows, columns, share, budget, seed):
    pool = ReplayPool.draw(make_matrix(rows, columns, share=share, seed=seed), 1.0, seed)
    for name, policy in POLICIES.items():
        ledger = Ledger(pool, int(budget * rows * columns))  # which raises when it is overdrawn
        try:
            chosen = policy(pool, ledger, seed)
        except ConfigError:
            assert name == "lockstep"
            continue
        assert all(0 <= candidate < rows for candidate in chosen)
        assert ledger.spent <= budget * rows * columns


@pytest.mark.parametrize("name", sorted(POLICIES.keys() - {"miprov2", "miprov2_accuracy", "wilcoxon", "asha"}))
def test_with_the_whole_grid_to_spend_the_best_is_found(matrix, name):
    pool = ReplayPool.draw(matrix, 1.0, 3)
    chosen, *_ = POLICIES[name](pool, Ledger(pool, 60 * 200), 3)
    assert pool.truth[chosen] == pool.truth.max()


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_policy_is_determined_by_pool_and_seed(matrix, name):
    pool = ReplayPool.draw(matrix, 0.9, 0)
    assert POLICIES[name](pool, Ledger(pool, 2400), 5) == POLICIES[name](pool, Ledger(pool, 2400), 5)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_whoever_may_join_a_jury_was_judged_on_every_case_and_paid_for(matrix, name):
    """A race whose tests leave one candidate ends there, and has no jury."""
    pool = ReplayPool.draw(matrix, 0.9, 1)
    ledger = Ledger(pool, 2400)
    ranked = POLICIES[name](pool, ledger, 1)
    assert len(set(ranked)) == len(ranked) >= 1
    assert len(ranked) == 1 or all(ledger.price(candidate, range(pool.size[1])) == 0 for candidate in ranked)
    if "miprov2" not in name and name != "wilcoxon":  # they may rank by another metric than the AUPRC
        assert np.all(np.diff(pool.truth[ranked]) <= 0)


def test_lockstep_finds_what_random_search_does_not_come_to(matrix):
    pools = [ReplayPool.draw(matrix, 1.0, seed) for seed in range(6)]
    regrets = {
        policy: np.mean([p.truth.max() - p.truth[policy(p, Ledger(p, 2400), 0)[0]] for p in pools])
        for policy in (lockstep, random_search)
    }
    assert regrets[lockstep] <= 0.005 < regrets[random_search]


def test_miprov2_follows_dspys_schedule(matrix):
    """One full evaluation of the first candidate, then one after every fifth minibatch of 35, and a last one."""
    pool = ReplayPool.draw(matrix, 1.0, 0)
    ledger = Watched(pool, 200 + 12 * 35 + 3 * 200 + 34)
    miprov2(pool, ledger, 0)
    sizes = [rows for _, rows in ledger.asked]
    assert sizes[0] == 200
    assert sizes[1:13] == [35] * 5 + [200] + [35] * 5 + [200]
    assert sizes[-1] == 200
    full = [candidate for candidate, rows in ledger.asked if rows == 200]
    assert len(set(full)) == len(full)
    tried = [candidate for candidate, rows in ledger.asked if rows == 35]
    assert tried == list(range(1, len(tried) + 1))


def test_miprov2s_schedule_is_that_of_the_installed_dspy():
    from inspect import signature

    from dspy.teleprompt import MIPROv2

    from promptopt.bench import replay_policies

    defaults = {name: parameter.default for name, parameter in signature(MIPROv2.compile).parameters.items()}
    assert defaults["minibatch_size"] == replay_policies.MINIBATCH
    assert defaults["minibatch_full_eval_steps"] == replay_policies.FULL_EVALUATION_STEPS


def test_successive_halving_doubles_the_cases_and_halves_the_field(matrix):
    pool = ReplayPool.draw(matrix, 1.0, 0)
    ledger = Watched(pool, 2400)
    successive_halving(pool, ledger, 0)
    rounds: dict[int, int] = {}
    for _, rows in ledger.asked:
        rounds[rows] = rounds.get(rows, 0) + 1
    sizes, seen = list(rounds.values()), list(rounds)
    assert sizes[0] == 60
    assert all(after == (before + 1) // 2 for before, after in pairwise(sizes[:-1]))
    assert all(after == 2 * before for before, after in pairwise(seen[:-1]))
    assert seen[-1] == 200


def test_wilcoxon_prunes_a_candidate_that_is_plainly_worse():
    labels = np.arange(120) < 60
    good = np.log(np.where(labels, 0.9, 0.1))
    matrix = make_matrix(4, 120)
    scores = np.stack([good, *[np.log(np.where(labels, 0.2, 0.8))] * 3]).astype(np.float32)
    pool = ReplayPool.draw(ScoreMatrix(**{**parts(matrix), "logprobs": scores, "labels": labels}), 1.0, 0)
    ledger = Watched(pool, 480)
    chosen, *_ = POLICIES["wilcoxon"](pool, ledger, 0)
    best = int(pool.truth.argmax())
    per_candidate = {c: sum(rows for asked, rows in ledger.asked if asked == c) for c in range(4)}
    assert chosen == best
    assert all(per_candidate[c] < 120 for c in range(best + 1, 4))


# --- the replay


def test_the_figures_are_those_of_the_rows(matrix):
    result = replay(matrix, ReplaySettings(seeds=4, budget=0.25), lambda done, steps: None)
    assert {summary.budget for summary in result.summaries} == {0.25, 0.5} | ({0.125} - set(result.skipped))
    assert [summary.policy for summary in result.main] == list(POLICIES)
    for summary in result.summaries:
        rows = [row for row in result.rows if (row.policy, row.budget) == (summary.policy, summary.budget)]
        assert [row.seed for row in rows] == [0, 1, 2, 3]
        assert summary.mean_regret.point == pytest.approx(np.mean([row.regret for row in rows]))
        assert summary.within.point == np.mean([row.regret <= 0.5 for row in rows])
        assert summary.mean_regret.low <= summary.mean_regret.point <= summary.mean_regret.high
    for row in result.rows:
        assert row.regret == pytest.approx(100 * (row.best_auprc - row.auprc))
        assert row.regret >= 0
        assert row.judgements <= row.budget * result.candidates * result.cases + 1e-6
    assert result.meta == {"judge": {"name": "made up"}}


def test_the_same_replay_gives_the_same_figures(matrix):
    wanted = ReplaySettings(seeds=2, budget=0.3, policies=("lockstep", "asha", "random"))
    first, second = (replay(matrix, wanted, lambda done, steps: None) for _ in range(2))
    assert [row.model_dump(exclude={"seconds"}) for row in first.rows] == [
        row.model_dump(exclude={"seconds"}) for row in second.rows
    ]
    assert first.errors == second.errors


def test_progress_counts_every_step(matrix):
    told: list[tuple[int, int]] = []
    replay(matrix, ReplaySettings(seeds=2, budget=0.5, policies=("random",)), lambda *counted: told.append(counted))
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))


def test_the_error_check_counts_a_best_candidate_that_a_test_drops(matrix, monkeypatch):
    """A race whose tests know nothing: every candidate but the leader goes after the first block."""
    from promptopt.search import paired_auprc

    monkeypatch.setattr(
        paired_auprc.PairedAuprc, "p_value", lambda self, better, worse: 0.0 if better is not worse else 1.0
    )
    wanted = ReplaySettings(seeds=5, budget=0.5, policies=("random",))
    noisy = make_matrix(60, 200, seed=5)
    errors = replay(noisy, wanted, lambda done, steps: None).errors
    assert errors[1].budget == 1.0
    assert errors[1].best_dropped_by_test > 0
    assert errors[1].better_than_leader >= errors[1].best_dropped_by_test
    assert errors[1].rate.high > errors[1].alpha


def test_tests_do_not_drop_the_best_over_many_seeds():
    near = make_matrix(30, 160, seed=1)
    wrong = 0
    for seed in range(40):
        pool = ReplayPool.draw(near, 0.9, seed)
        racer = race(pool, Ledger(pool, pool.size[0] * pool.size[1]), seed, LockstepConfig(budget=1.0))
        best = str(int(pool.truth.argmax()))
        wrong += any(drop.candidate == best and drop.why == "test" for drop in racer.drops)
    assert wrong <= 0.05 * 40


# --- the command


def call(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    called = mock.patch.object(sys, "argv", ["promptopt", "bench", "search", *map(str, arguments)])
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), called:
        try:
            cli.main()
            code = 0
        except SystemExit as ending:
            code = ending.code or 0
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def stored(matrix, tmp_path) -> Path:
    matrix.save(tmp_path / "matrix.npz")
    return tmp_path / "matrix.npz"


def test_the_command_prints_a_table_and_writes_csv_json_and_a_page(stored, tmp_path):
    code, out, err = call("--matrix", stored, "--seeds", 2, "--budget", 0.3, "--out", tmp_path / "out")
    assert code == 0, err
    for name in POLICIES:
        assert name in out
    assert "a test dropped the best in" in out
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"rows.csv", "summary.csv", "result.json", "report.html"}
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8") as stream:
        summary = list(csv.DictReader(stream))
    assert {row["policy"] for row in summary} == set(POLICIES)
    columns = {"within", "within_low", "jury_within", "mean_regret", "mean_regret_high", "p95_regret", "share"}
    assert columns <= summary[0].keys()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Mean regret against judgements" in page
    assert 'src="http' not in page


def test_json_is_one_document(stored, tmp_path):
    code, out, err = call("--matrix", stored, "--seeds", 2, "--budget", 0.3, "--out", tmp_path / "out", "--json")
    assert code == 0, err
    data = json.loads(out)
    assert data["candidates"] == 54
    assert {row["policy"] for row in data["rows"]} == set(POLICIES)
    assert data["errors"][0]["alpha"] == 0.05


def test_some_policies_are_replayed_by_themselves_and_come_out_the_same(stored, matrix, tmp_path):
    options = ("--seeds", 2, "--budget", 0.3, "--out", tmp_path / "out", "--json")
    code, out, err = call("--matrix", stored, *options, "--methods", "random,lockstep,random")
    assert code == 0, err
    found = json.loads(out)
    assert found["settings"]["policies"] == ["random", "lockstep"]
    alone = [row["chosen"] for row in found["rows"] if row["policy"] == "lockstep"]
    beside = replay(matrix, ReplaySettings(seeds=2, budget=0.3), lambda *_: None)
    assert alone == [row.chosen for row in beside.rows if row.policy == "lockstep"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--methods", "lockstep,halving"), "no policy 'halving'; choose from lockstep, miprov2"),
        (("--budget", "0.01"), "a budget of 108 judgements does not carry one look at 54 candidates (648)"),
        (("--budget", "0"), "--budget: a budget of 0; give a share above 0 and at most 1."),
        (("--budget", "1.5"), "--budget: a budget of 1.5; give a share above 0"),
        (("--seeds", "0"), "--seeds: 0 seeds; give at least 1."),
    ],
)
def test_bad_options_are_one_sentence(stored, tmp_path, options, sentence):
    code, out, err = call("--matrix", stored, "--out", tmp_path / "out", *options)
    assert code == 2
    assert sentence in err
    assert err.strip().count("\n") == 0
    assert not out
    assert not (tmp_path / "out").exists()


def test_a_missing_matrix_and_one_without_violations_are_one_sentence(matrix, tmp_path):
    code, _, err = call("--matrix", tmp_path / "none.npz")
    assert (code, err.strip().count("\n")) == (2, 0)
    assert "the score matrix does not exist" in err
    ScoreMatrix(**{**parts(matrix), "labels": np.zeros(200, dtype=np.bool_)}).save(tmp_path / "allowed.npz")
    code, _, err = call("--matrix", tmp_path / "allowed.npz")
    assert (code, err.strip().count("\n")) == (2, 0)
    assert "no violation among its 200 cases" in err
