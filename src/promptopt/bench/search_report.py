"""The end-to-end search benchmark as files: rows as CSV, the summary as JSON, and a page that needs no network."""

from __future__ import annotations

import csv
import html
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from promptopt.bench.search_bench import SearchCell
from promptopt.bench.search_summary import SearchBenchSummary

ROWS_FILE, SUMMARY_FILE, PAGE_FILE = "rows.csv", "result.json", "report.html"
_LONG = ("test", "groups", "labels", "scores", "prompts", "settings")
_OWN, _OTHER = "#0072B2", "#8C8C8C"  # Okabe and Ito's blue, and grey
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "pentagon", "cross")
_PANELS_IN_A_LINE = 3


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
    figures = [_estimates(summary), _optimism(summary)]
    drawn = "\n".join(
        f"<section>{figure.to_html(full_html=False, include_plotlyjs=number == 0)}</section>"
        for number, figure in enumerate(figures)
    )
    said = (
        "Every method had the same seed prompt, search cases and number of judgements; thresholds were fitted for all "
        "of them alike. Dots are means over seeds on the sealed test, with 95% intervals over test cases; promptopt's "
        "own are blue. A verbalized jury's words are weighed on all search cases, so that it looks too good there."
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>promptopt: search benchmark</title>'
        "<style>body{font-family:sans-serif;margin:2rem auto;max-width:80rem}</style></head><body>\n"
        f"<h1>Search benchmark: end to end</h1>\n<p>{html.escape(said)}</p>\n{drawn}\n</body></html>\n"
    )


def _estimates(summary: SearchBenchSummary) -> go.Figure:
    """A panel for each task, a line for each method; what is promptopt's stands out."""
    tasks = list(dict.fromkeys(row.task for row in summary.rows))
    methods = list(dict.fromkeys(row.method for row in summary.rows))
    columns = min(_PANELS_IN_A_LINE, len(tasks))
    lines = -(-len(tasks) // columns)
    figure = make_subplots(lines, columns, shared_yaxes=True, subplot_titles=tasks, vertical_spacing=0.18 / lines)
    for place, task in enumerate(tasks):
        for own in (False, True):
            rows = [row for row in summary.rows if row.task == task and (row.method in summary.above_best) == own]
            trace = go.Scatter(
                x=[row.auprc.point for row in rows],
                y=[row.method for row in rows],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [row.auprc.high - row.auprc.point for row in rows],
                    "arrayminus": [row.auprc.point - row.auprc.low for row in rows],
                },
                mode="markers",
                marker={"color": _OWN if own else _OTHER, "size": 9},
                showlegend=False,
            )
            figure.add_trace(trace, place // columns + 1, place % columns + 1)
    figure.update_yaxes(categoryorder="array", categoryarray=methods[::-1])
    figure.update_xaxes(range=[0, 1])
    figure.update_layout(title="AUPRC on the sealed test", height=140 + lines * (80 + 26 * len(methods)))
    return figure


def _optimism(summary: SearchBenchSummary) -> go.Figure:
    """What the search cases promised against what the test kept."""
    figure = go.Figure()
    for number, task in enumerate(dict.fromkeys(row.task for row in summary.rows)):
        rows = [row for row in summary.rows if row.task == task]
        figure.add_scatter(
            name=task,
            x=[row.search_auprc for row in rows],
            y=[row.auprc.point for row in rows],
            text=[row.method for row in rows],
            hovertemplate="%{text}: %{x:.3f} promised, %{y:.3f} kept",
            mode="markers",
            marker={
                "color": [_OWN if row.method in summary.above_best else _OTHER for row in rows],
                "symbol": _SYMBOLS[number % len(_SYMBOLS)],
                "size": 11,
            },
        )
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": _OTHER}, name="kept in full")
    figure.update_layout(title="AUPRC on the search cases against the sealed test", height=560)
    figure.update_xaxes(title="search cases", range=[0, 1])
    figure.update_yaxes(title="sealed test", range=[0, 1])
    return figure
