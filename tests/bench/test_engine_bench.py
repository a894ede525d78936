"""A whole benchmark on a tiny model."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from promptopt.bench import engine_bench, llama_server
from promptopt.bench.engine_bench import EngineBenchSettings, Watcher, run_engine_bench
from promptopt.bench.report import COLUMNS, CsvRows, write_page
from promptopt.bench.rows import METHODS, make_row, missing_row
from promptopt.bench.timing import Timing
from promptopt.bench.workload import Cell


@pytest.fixture(scope="module")
def settings(tiny_folder: Path) -> EngineBenchSettings:
    return EngineBenchSettings(
        model=str(tiny_folder),
        prefix=(128,),
        item=(12,),
        variants=(1, 2),
        seconds=0.05,
        cases=80,
        batch=4,
        threads=1,
        device="cpu",
        dtype="float32",
    )


@pytest.fixture(scope="module")
def result(settings):
    return run_engine_bench(settings)


def _rows(result, variants: int):
    return {row.method: row for row in result.rows if row.variants == variants}


def test_every_method_has_a_row_in_every_cell(result):
    assert [(row.variants, row.method) for row in result.rows] == [(v, m) for v in (1, 2) for m in METHODS]
    assert result.complete
    assert len(result.peak_gflops) == 2


@pytest.mark.parametrize("method", ["engine", "sequence", "padded", "dynamic-cache"])
@pytest.mark.parametrize("variants", [1, 2])
def test_a_row_holds_every_figure(result, method, variants):
    row = _rows(result, variants)[method]
    assert row.note == ""
    assert row.cases >= 4
    assert row.judgements_per_second > 0
    assert row.gflops > 0
    assert 0 < row.share_of_peak < 1
    assert row.client_cpu_ms > 0
    assert row.compared > 0
    assert row.largest_difference < 1e-4
    assert row.agreement == 1.0
    assert (row.marginal_judgements_per_second is not None) == (method in ("engine", "dynamic-cache"))


def test_tokens_are_saved_by_sharing_only(result):
    rows = _rows(result, 2)
    assert rows["sequence"].tokens_saved == 0
    assert rows["padded"].tokens_saved == pytest.approx(0, abs=0.02)
    assert rows["engine"].tokens_saved > rows["dynamic-cache"].tokens_saved > 0.5


def test_cells_compare_the_engine_with_its_peers(result):
    for cell in result.cells:
        assert set(cell.peers) == {"sequence", "padded", "dynamic-cache"}
        assert cell.tokens_computed == pytest.approx(cell.trie_edges, rel=0.03)
        rows = _rows(result, cell.variants)
        peer, engine = cell.peers["padded"], rows["engine"]
        assert peer.ratio == pytest.approx(engine.judgements_per_second / rows["padded"].judgements_per_second)
        assert peer.marginal_share_of_ideal == pytest.approx(peer.marginal_ratio / peer.ideal_marginal_ratio)
        assert 1 < peer.ideal_ratio < peer.ideal_marginal_ratio
        assert cell.peers["dynamic-cache"].ideal_ratio is None


def test_a_model_without_gguf_leaves_the_server_unmeasured(result):
    note = _rows(result, 1)["dspy-server"].note
    assert note.startswith("not measured: ")


def test_without_llama_cpp_the_server_row_says_so(settings, monkeypatch):
    monkeypatch.setattr(llama_server, "is_installed", lambda: False)
    (row,) = run_engine_bench(settings.model_copy(update={"variants": (1,), "methods": ("dspy-server",)})).rows
    assert row.note == "not measured: llama-cpp-python is not installed"
    assert row.judgements_per_second is None


def test_a_server_that_does_not_start_is_a_row_and_not_an_end(settings, tmp_path):
    if not llama_server.is_installed():
        pytest.skip("llama-cpp-python is not installed")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    changes = {"variants": (1,), "methods": ("dspy-server",), "gguf": broken}
    (row,) = run_engine_bench(settings.model_copy(update=changes)).rows
    assert row.note.startswith("not measured: llama.cpp's server did not start (")


def test_ctrl_c_keeps_the_rows_that_are_there(settings):
    begun = []

    def begins(cell, method):
        begun.append((cell.variants, method))
        if begun[-1] == (2, "sequence"):
            raise KeyboardInterrupt

    seen = []
    result = run_engine_bench(settings, Watcher(begins=begins, row=seen.append))
    assert not result.complete
    assert [row.method for row in seen] == [row.method for row in result.rows] == [*METHODS, "engine"]
    assert [cell.variants for cell in result.cells] == [1]


def test_bfloat16_is_compared_with_float32(settings):
    changes = {"variants": (1,), "methods": ("engine", "padded"), "dtype": "bfloat16"}
    result = run_engine_bench(settings.model_copy(update=changes))
    assert result.card["dtype"] == "bfloat16"
    assert all(1e-6 < row.largest_difference < 0.2 for row in result.rows)


def test_shares_are_of_the_better_peak(settings, monkeypatch):
    peaks = iter([1e9, 4e9])
    monkeypatch.setattr(engine_bench, "matmul_peak", lambda *_: next(peaks))
    seen = []
    changes = {"variants": (1,), "methods": ("sequence",)}
    (row,) = run_engine_bench(settings.model_copy(update=changes), Watcher(row=seen.append)).rows
    assert row.share_of_peak == pytest.approx(row.gflops / 4)
    assert seen[0].share_of_peak == pytest.approx(row.gflops)


def test_agreement_and_differences_are_over_common_cases(tiny, work_of):
    work = work_of(tiny)
    timing = Timing(cases=3, rate=1.0, probabilities={0: 0.6, 1: 0.2, 7: 0.9}, verdicts={0: 0, 1: 1, 7: 0})
    shape = engine_bench.ModelShape(1, 1, 1, 1)
    row = make_row("sequence", timing, work, shape, 1e9, {0: 0.45, 1: 0.3, 2: 0.5})
    assert row.compared == 2
    assert row.largest_difference == pytest.approx(0.15)
    assert row.agreement == 0.5


def test_rows_survive_in_csv(tmp_path, result):
    path = tmp_path / "deep" / "rows.csv"
    rows = CsvRows(path)
    for row in result.rows:
        rows.append(row)
    with path.open(newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    assert list(read[0]) == list(COLUMNS)
    assert [row["method"] for row in read] == [row.method for row in result.rows]
    assert float(read[0]["judgements_per_second"]) == result.rows[0].judgements_per_second
    assert read[4]["cases"] == ""


def test_the_page_needs_no_network(tmp_path, result):
    path = tmp_path / "report.html"
    write_page(result, path)
    page = path.read_text(encoding="utf-8")
    assert "<script src=" not in page
    assert "Plotly.newPlot" in page
    assert page.count("plotly.js v") >= 1
    assert "128 + 12, x2" in page


def test_a_page_without_any_figure_can_be_written(tmp_path, result):
    bare = result.model_copy(
        update={"rows": (missing_row("engine", Cell(1, 1, 1), "no"),), "cells": (), "complete": False}
    )
    write_page(bare, tmp_path / "report.html")
    assert "interrupted" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_result_is_plain_json(result):
    data = json.loads(result.model_dump_json())
    assert data["card"]["engine"] == "local"
    assert data["machine"]["threads"] == 1
    assert {"python", "torch", "transformers", "numpy"} <= set(data["versions"])
