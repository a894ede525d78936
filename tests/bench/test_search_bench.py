"""The end-to-end search benchmark runs every method alike, keeps its cells, and says who is significantly better."""

from __future__ import annotations

import json

import numpy as np
import pytest

from promptopt.bench.search_bench import BenchPlan, SearchCell, run_search_bench
from promptopt.bench.search_methods import OWN, OWN_JURY, on_shape
from promptopt.bench.search_report import write_search_bench
from promptopt.bench.search_summary import summarise_search
from promptopt.bench.search_tasks import open_task, read_tasks
from promptopt.errors import ConfigError

METHODS = (OWN, "seed", "random")


@pytest.fixture
def plan(search_tasks_file, tmp_path):
    return BenchPlan(read_tasks(search_tasks_file), METHODS, (0, 1), tmp_path / "out")


def test_every_cell_is_run_once_and_found_again(plan, tmp_path):
    told = []
    cells = run_search_bench(plan, told.append)
    assert [(c.seed, c.method) for c in cells] == [(s, m) for s in (0, 1) for m in METHODS]
    assert all(c.judgements <= 250 for c in cells)
    assert {c.test for c in cells} == {cells[0].test}, "one test for all methods and seeds"
    assert len(cells[0].scores) == 40
    assert run_search_bench(plan, told.append) == cells
    assert len(told) == 1 + len(cells), "the second time there was nothing to run"
    openings = (tmp_path / "runs" / "test_openings.jsonl").read_text().splitlines()
    assert len(openings) == len(cells)
    summary = summarise_search(cells)
    write_search_bench(summary, cells, tmp_path / "written")
    assert json.loads((tmp_path / "written" / "result.json").read_text())["rows"][0]["method"] == OWN
    assert "plotly" in (tmp_path / "written" / "report.html").read_text()
    header, *rows = (tmp_path / "written" / "rows.csv").read_text().splitlines()
    assert len(rows) == len(cells)
    assert "scores" not in header


def test_a_method_works_on_programs_of_another_shape(plan):
    methods = ("seed", "seed@verbalized", f"{OWN}@verbalized", f"{OWN_JURY}@verbalized")
    cells = run_search_bench(BenchPlan(plan.file, methods, (0,), plan.out), lambda _: None)
    assert [cell.method for cell in cells] == list(methods)
    assert len({cell.prompts for cell in cells[:2]}) == 2
    assert all(cell.judgements <= 250 for cell in cells)
    assert all(np.isfinite(cell.auprc) for cell in cells)
    rows = {row.method: row for row in summarise_search(cells).rows}
    assert set(rows["seed@verbalized"].differences) == set(methods[2:])
    assert rows[f"{OWN}@verbalized"].differences == {}


@pytest.mark.parametrize(
    ("name", "says"), [("magic", "no search method 'magic'"), ("seed@round", "no shape 'round'"), ("", "method ''")]
)
def test_unknown_methods_and_shapes_are_named(name, says):
    with pytest.raises(ConfigError, match=says):
        on_shape(name)


def test_cells_of_other_settings_are_run_anew(plan):
    first = run_search_bench(plan, lambda _: None)
    smaller = BenchPlan(plan.file.model_copy(update={"judgements": 120}), (OWN,), (0,), plan.out)
    (cell,) = run_search_bench(smaller, lambda _: None)
    assert cell.judgements <= 120 < first[0].judgements


def _cell(method, seed, quality):
    """A cell whose scores tell violations apart as well as asked, 200 cases in groups of two."""
    random = np.random.default_rng(seed)
    labels = np.arange(200) % 3 == 0
    scores = quality * labels + random.random(200)
    return SearchCell(
        task="t", method=method, seed=seed, settings="s", prompts=("p",), judgements=10, tokens=5, generations=0,
        seconds=2.0, engine_seconds=1.9, fresh=10, search_auprc=0.9, auprc=0.5, precision=0.8, recall=0.7, f1=0.75,
        unjudged=0, test="t", groups=tuple(str(i // 2) for i in range(200)),
        labels=tuple(labels.tolist()), scores=tuple(scores.tolist()),
    )  # fmt: skip


def test_differences_are_paired_and_losses_are_named():
    quality = {OWN: 0.5, OWN_JURY: 0.9, "random": 0.1, "tpe": 2.0}
    summary = summarise_search([_cell(m, s, q) for s in (0, 1) for m, q in quality.items()])
    rows = {row.method: row for row in summary.rows}
    assert rows[OWN].differences == rows[OWN_JURY].differences == {}
    assert list(rows["random"].differences) == [OWN, OWN_JURY]
    assert rows["random"].differences[OWN_JURY].low > rows["random"].differences[OWN].low > 0
    assert rows["tpe"].differences[OWN].high < 0
    assert summary.below == ((OWN, "t", "tpe"), (OWN_JURY, "t", "tpe"))
    assert summary.above_best == {OWN: (), OWN_JURY: ()}
    assert summary.overhead == pytest.approx(0.05)
    alone = summarise_search([_cell(m, s, q) for s in (0, 1) for m, q in quality.items() if m != "tpe"])
    assert (alone.below, alone.above_best) == ((), {OWN: ("t",), OWN_JURY: ("t",)})


@pytest.mark.parametrize(("text", "said"), [("judgements: 0", "judgements"), ("tasks: {}", "judgements")])
def test_a_task_file_that_does_not_fit_is_refused(tmp_path, text, said):
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        read_tasks(path)


def test_a_task_has_one_judge(plan):
    file = plan.file.model_copy(update={"overrides": (*plan.file.overrides, "judges=[smollm2_135m]")})
    with pytest.raises(ConfigError, match=r"task 'abuse' names further judges \(smollm2-135m\); leave `judges` out"):
        open_task("abuse", file)
