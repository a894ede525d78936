"""The end-to-end search benchmark as files: rows as CSV, the summary as JSON, and a page that needs no network."""

from __future__ import annotations

import csv
import html
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from promptopt.bench.search_bench import SearchCell
from promptopt.bench.search_summary import SearchBenchSummary

ROWS_FILE, SUMMARY_FILE, PAGE_FILE = "rows.csv", "result.json", "report.html"
_LONG = ("test", "groups", "labels", "scores", "prompts", "settings")
# Okabe and Ito's colours, which people with any colour vision tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#E69F00", "#CC79A7", "#009E73", "#56B4E9", "#8C8C8C", "#000000")


def write_search_bench(summary: SearchBenchSummary, cells: Sequence[SearchCell], folder: Path) -> None:
    """Writes all files into a folder, in place of earlier ones."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = [name for name in SearchCell.model_fields if name not in _LONG]
    with (folder / ROWS_FILE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(cell.model_dump(include=set(columns)) for cell in cells)
    (folder / SUMMARY_FILE).write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / PAGE_FILE).write_text(_page(summary), encoding="utf-8")


def _page(summary: SearchBenchSummary) -> str:
    figures = [_bars(summary), _optimism(summary)]
    drawn = "\n".join(
        f"<section>{figure.to_html(full_html=False, include_plotlyjs=number == 0)}</section>"
        for number, figure in enumerate(figures)
    )
    said = (
        "Every method had the same seed prompt, search cases and number of judgements; thresholds were fitted for all "
        "of them alike. Bars are means over seeds on the sealed test, with 95% intervals over test cases."
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>promptopt: search benchmark</title>'
        "<style>body{font-family:sans-serif;margin:2rem auto;max-width:80rem}</style></head><body>\n"
        f"<h1>Search benchmark: end to end</h1>\n<p>{html.escape(said)}</p>\n{drawn}\n</body></html>\n"
    )


def _bars(summary: SearchBenchSummary) -> go.Figure:
    figure = go.Figure()
    for number, method in enumerate(dict.fromkeys(row.method for row in summary.rows)):
        rows = [row for row in summary.rows if row.method == method]
        figure.add_bar(
            name=method,
            x=[row.task for row in rows],
            y=[row.auprc.point for row in rows],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [row.auprc.high - row.auprc.point for row in rows],
                "arrayminus": [row.auprc.point - row.auprc.low for row in rows],
            },
            marker_color=_COLOURS[number % len(_COLOURS)],
        )
    figure.update_layout(barmode="group", title="AUPRC on the sealed test")
    figure.update_yaxes(range=[0, 1], title="AUPRC")
    return figure


def _optimism(summary: SearchBenchSummary) -> go.Figure:
    """What the search cases promised against what the test kept."""
    figure = go.Figure()
    for number, method in enumerate(dict.fromkeys(row.method for row in summary.rows)):
        rows = [row for row in summary.rows if row.method == method]
        figure.add_scatter(
            name=method,
            x=[row.search_auprc for row in rows],
            y=[row.auprc.point for row in rows],
            text=[row.task for row in rows],
            mode="markers+text",
            textposition="top center",
            marker={"color": _COLOURS[number % len(_COLOURS)], "size": 11},
        )
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": "#8C8C8C"}, name="kept in full")
    figure.update_layout(title="AUPRC on the search cases against the sealed test")
    figure.update_xaxes(title="search cases", range=[0, 1])
    figure.update_yaxes(title="sealed test", range=[0, 1])
    return figure
