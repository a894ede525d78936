"""A replay as files: rows and summaries as CSV, everything as JSON, and a page that needs no network."""

from __future__ import annotations

import csv
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from promptopt.bench.replay import PolicySummary, ReplayResult, ReplayRow

ROWS_FILE, SUMMARY_FILE, RESULT_FILE, PAGE_FILE = "rows.csv", "summary.csv", "result.json", "report.html"
# Okabe and Ito's colours, which people with any colour vision tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#E69F00", "#CC79A7", "#009E73", "#56B4E9", "#8C8C8C", "#000000")


def write_replay(result: ReplayResult, folder: Path) -> None:
    """Writes all files of a replay into a folder, in place of those of an earlier one."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(folder / ROWS_FILE, [row.model_dump() for row in result.rows], list(ReplayRow.model_fields))
    _write_csv(folder / SUMMARY_FILE, [_flat(summary) for summary in result.summaries])
    (folder / RESULT_FILE).write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / PAGE_FILE).write_text(_page(result), encoding="utf-8")


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns or list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _flat(summary: PolicySummary) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in summary.model_dump().items():
        if isinstance(value, dict):
            out |= {name: value["point"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
        else:
            out[name] = value
    return out


def _page(result: ReplayResult) -> str:
    figures = [_curve(result), _spread(result), _table(result)]
    drawn = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0, config={"displaylogo": False})
        for number, figure in enumerate(figures)
    ]
    facts = (
        f"{result.settings.seeds} seeds; {result.candidates} candidates and {result.cases} cases "
        f"({result.violations} violations) in each; every policy may spend {result.settings.budget:.0%} of the grid's "
        "judgements. The pool's best is the one on the same scores that the policies search with, and all seeds share "
        "one matrix: this measures selection, not how the winner does on new cases."
    )
    body = "\n".join(f"<section>{figure}</section>" for figure in drawn)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>promptopt: search benchmark</title>'
        "<style>body{font-family:sans-serif;margin:2rem auto;max-width:80rem}</style></head><body>\n"
        f"<h1>Search benchmark: replay</h1>\n<p>{html.escape(facts)}</p>\n{body}\n</body></html>\n"
    )


def _curve(result: ReplayResult) -> go.Figure:
    """Mean regret against judgements used, one line per policy over the budgets."""
    figure = go.Figure()
    for number, policy in enumerate(result.settings.policies):
        points = sorted((s for s in result.summaries if s.policy == policy), key=lambda s: s.budget)
        regrets = [point.mean_regret for point in points]
        figure.add_scatter(
            name=policy,
            x=[point.share for point in points],
            y=[regret.point for regret in regrets],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [regret.high - regret.point for regret in regrets],
                "arrayminus": [regret.point - regret.low for regret in regrets],
            },
            mode="lines+markers",
            line={"color": _COLOURS[number % len(_COLOURS)]},
            hovertemplate="%{y:.2f} points at %{x:.1%}",
        )
    figure.update_layout(title="Mean regret against judgements used, 95% bootstrap intervals over seeds")
    figure.update_xaxes(title="share of the full grid's judgements", tickformat=".1%", rangemode="tozero")
    figure.update_yaxes(title="regret in AUPRC points", rangemode="tozero")
    return figure


def _spread(result: ReplayResult) -> go.Figure:
    """Every seed's regret at the budget."""
    figure = go.Figure()
    for number, policy in enumerate(result.settings.policies):
        rows = [r for r in result.rows if r.policy == policy and r.budget == result.settings.budget]
        figure.add_box(
            name=policy,
            y=[row.regret for row in rows],
            boxpoints="all",
            marker_color=_COLOURS[number % len(_COLOURS)],
        )
    figure.update_layout(title=f"Regret of each seed at {result.settings.budget:.0%} of the grid", showlegend=False)
    figure.update_yaxes(title="regret in AUPRC points", rangemode="tozero")
    return figure


def _table(result: ReplayResult) -> go.Figure:
    rows = [_flat(summary) for summary in result.summaries]
    cells = [[_cell(row[name]) for row in rows] for name in rows[0]]
    table = go.Table(header={"values": [name.replace("_", " ") for name in rows[0]]}, cells={"values": cells})
    return go.Figure(table, layout={"height": 200 + 30 * len(rows)})


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))
