"""Score matrices: they come back as they were written, hold no text, and a killed run pays for nothing twice."""

from __future__ import annotations

import importlib.util
import io
import sys
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from promptopt.bench.score_matrix import ScoreMatrix
from promptopt.config import load_config, resolve_path
from promptopt.core.case import Split
from promptopt.errors import UserError
from promptopt.golden.reader import read_golden_set
from promptopt.metrics.ranking import average_precision

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "score_matrix.py"
TEXT = st.text("abc-V.1ü", max_size=6)
LOGPROBS = st.floats(-60, 0, width=32) | st.just(float("nan"))


@st.composite
def matrices(draw):
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(2, 9))
    labels = draw(arrays.arrays(np.bool_, columns))
    labels[:2] = True, False

    def texts(count):
        return np.array(draw(st.lists(TEXT, min_size=count, max_size=count)), dtype=np.str_)

    return ScoreMatrix(
        logprobs=draw(arrays.arrays(np.float32, (rows, columns), elements=LOGPROBS)),
        labels=labels,
        clauses=texts(columns),
        severities=draw(arrays.arrays(np.int8, columns, elements=st.integers(0, 4))),
        groups=texts(columns),
        case_digests=texts(columns),
        candidate_digests=np.array([f"d{i}" for i in range(rows)]),
        meta=draw(st.dictionaries(TEXT, TEXT | st.integers() | st.lists(TEXT), max_size=3)),
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(matrices())
def test_a_matrix_comes_back_as_it_was_written(tmp_path, matrix):
    path, again = tmp_path / "m.npz", tmp_path / "again.npz"
    matrix.save(path)
    read = ScoreMatrix.load(path)
    for name in ("logprobs", "labels", "clauses", "severities", "groups", "case_digests", "candidate_digests"):
        np.testing.assert_array_equal(getattr(read, name), getattr(matrix, name))
    assert read.logprobs.dtype == np.float32
    assert read.meta == matrix.meta
    read.save(again)
    assert again.read_bytes() == path.read_bytes()


def make(**changes) -> ScoreMatrix:
    parts = {
        "logprobs": np.log(np.array([[0.9, 0.2, 0.4], [0.1, 0.5, 0.3]], dtype=np.float32)),
        "labels": np.array([True, False, True]),
        "clauses": np.array(["V1", "", "V2"]),
        "severities": np.array([2, 0, 3], dtype=np.int8),
        "groups": np.array(["g1", "g2", "g3"]),
        "case_digests": np.array(["x", "y", "z"]),
        "candidate_digests": np.array(["a", "b"]),
        "meta": {"judge": {"name": "fake"}},
    }
    return ScoreMatrix(**{**parts, **changes})


def test_auprc_is_that_of_each_row():
    matrix = make()
    expected = [average_precision(matrix.labels, row) for row in np.exp(matrix.logprobs.astype(float))]
    assert matrix.auprc.tolist() == expected
    assert matrix.strata == [("V1", 2), ("", 0), ("V2", 3)]


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": np.array([True, False])},
        {"candidate_digests": np.array(["a"])},
        {"candidate_digests": np.array(["a", "a"])},
        {"logprobs": np.full((2, 3), np.float32(0.5))},
        {"logprobs": np.full((2, 3), np.float32(-np.inf))},
    ],
)
def test_parts_that_do_not_fit_are_refused(changes):
    with pytest.raises(ValueError, match=r"fit|finite|twice"):
        make(**changes)


def sentence(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        ScoreMatrix.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_no_score_matrix_are_refused_in_one_sentence(tmp_path):
    assert "does not exist" in sentence(tmp_path / "missing.npz")
    path = tmp_path / "m.npz"
    path.write_bytes(b"no archive at all")
    assert "not a score matrix" in sentence(path)
    np.savez(path, logprobs=np.zeros((2, 2)))
    assert "not a score matrix" in sentence(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    assert "not a score matrix" in sentence(tmp_path / "one.npy")
    make().save(path)
    path.write_bytes(path.read_bytes()[:-200])
    assert "not a score matrix" in sentence(path)


@pytest.mark.parametrize(("label", "missing"), [(False, "violation"), (True, "allowed case")])
def test_a_matrix_of_one_label_is_refused(tmp_path, label, missing):
    make(labels=np.full(3, label)).save(tmp_path / "m.npz")
    assert f"no {missing} among its 3 cases" in sentence(tmp_path / "m.npz")


# --- the script, on the fake judge


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("score_matrix_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def call(script, folder: Path, *options: object) -> tuple[int, str, str]:
    told, said = io.StringIO(), io.StringIO()
    fixed = ["--judge", "fake", "--scores-url", f"sqlite:///{folder / 'scores.db'}", "--out", str(folder / "m.npz")]
    with redirect_stderr(told), redirect_stdout(said):
        code = script.main([*fixed, *map(str, options)])
    return code, told.getvalue(), said.getvalue()


def test_it_judges_distinct_candidates_and_says_how_far_it_is(script, tmp_path):
    code, told, said = call(script, tmp_path, "--candidates", 6, "--cases", 40, "--max-demos", 2)
    assert code == 0, told
    matrix = ScoreMatrix.load(tmp_path / "m.npz")
    assert matrix.logprobs.shape == (6, 40)
    assert not np.isnan(matrix.logprobs).any()
    assert 0 < matrix.labels.sum() < 40
    assert "6 candidates, 40 cases" in said
    assert "candidate 6 of 6" in told
    assert "left" in told
    candidates = matrix.meta["candidates"]
    config = load_config(["domain=abuse", "judge=fake", "program=direct"])
    seed_point = config.space.seed_point()
    assert all(candidates[0][name] == seed_point[name] for name in ("policy", "instruction", "labels", "quoting"))
    assert {candidate["shape"] for candidate in candidates} == {"direct"}
    assert max(candidate["demos"] for candidate in candidates) <= 2
    assert matrix.meta["judge"]["model"] == "fake"


def test_it_reads_the_search_split_alone_and_keeps_no_text(script, tmp_path):
    call(script, tmp_path, "--candidates", 4, "--cases", 30)
    golden = read_golden_set(resolve_path("data/golden/abuse"))
    matrix = ScoreMatrix.load(tmp_path / "m.npz")
    search = {case.digest for case in golden.split(Split.SEARCH)}
    assert set(matrix.case_digests.tolist()) <= search
    with zipfile.ZipFile(tmp_path / "m.npz") as archive:
        held = b"".join(archive.read(name) for name in archive.namelist())
    plain = held.replace(b"\0", b"").decode("utf-8", errors="ignore")
    assert not [case.id for case in golden.cases if case.text[:40] in plain]


def test_what_was_judged_before_is_not_judged_again(script, tmp_path):
    call(script, tmp_path, "--candidates", 3, "--cases", 20)
    first = (tmp_path / "m.npz").read_bytes()
    _, told, _ = call(script, tmp_path, "--candidates", 3, "--cases", 20)
    assert told.count("from the score store") == 3
    assert (tmp_path / "m.npz").read_bytes() == first
    _, told, _ = call(script, tmp_path, "--candidates", 5, "--cases", 20)
    assert told.count("from the score store") == 3


def test_too_few_cases_are_said_and_too_few_candidates_refused(script, tmp_path):
    code, told, _ = call(script, tmp_path, "--candidates", 2, "--cases", 5000)
    assert code == 0
    assert "5000 were asked for" in told
    code, told, _ = call(script, tmp_path, "--candidates", 100_000, "--cases", 5, "--max-demos", -1)
    assert code == 2
    assert told.strip().count("\n") == 0
