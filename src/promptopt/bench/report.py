"""Benchmark results as files: CSV, row by row while it runs, and a page that needs no network."""

from __future__ import annotations

import csv
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from promptopt.bench.engine_bench import EngineBenchResult
from promptopt.bench.rows import METHODS, BenchRow
from promptopt.bench.workload import Cell

COLUMNS = tuple(BenchRow.model_fields)
# Okabe and Ito's colours, which people with any colour vision tell apart.
_COLOURS = dict(zip(METHODS, ("#0072B2", "#8C8C8C", "#E69F00", "#009E73", "#D55E00"), strict=True))


class CsvRows:
    """A CSV file that grows row by row, so that an interrupted benchmark keeps what it has.

    Args:
        path: The file; replaced when it exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.replace([])

    def append(self, row: BenchRow) -> None:
        """Adds a row."""
        with self._path.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, COLUMNS).writerow(row.model_dump())

    def replace(self, rows: Sequence[BenchRow]) -> None:
        """Writes all rows anew."""
        with self._path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(row.model_dump() for row in rows)


def write_page(result: EngineBenchResult, path: Path) -> None:
    """Writes the result as one HTML file with plotly inside."""
    figures = [_speed_figure(result), _ratio_figure(result), _share_figure(result), _table(result.rows)]
    drawn = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0, config={"displaylogo": False})
        for number, figure in enumerate(figures)
    ]
    machine, card = result.machine, result.card
    facts = (
        f"{card['model']}, {card['dtype']}, on {machine['name']} ({machine['device']}, {machine['threads']} threads); "
        f"measured matrix multiplication {max(result.peak_gflops):,.0f} GFLOP/s; "
        + ", ".join(f"{name} {number}" for name, number in result.versions.items())
    )
    ending = "" if result.complete else "<p>The benchmark was interrupted; rows are missing.</p>"
    body = "\n".join(f"<section>{figure}</section>" for figure in drawn)
    path.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>promptopt: engine benchmark</title>'
        "<style>body{font-family:sans-serif;margin:2rem auto;max-width:80rem}</style></head><body>\n"
        f"<h1>Engine benchmark</h1>\n<p>{html.escape(facts)}</p>{ending}\n{body}\n</body></html>\n",
        encoding="utf-8",
    )


def _speed_figure(result: EngineBenchResult) -> go.Figure:
    figure = go.Figure()
    for method in METHODS:
        rows = [row for row in result.rows if row.method == method and row.judgements_per_second]
        if not rows:
            continue
        speeds = [row.marginal_judgements_per_second or row.judgements_per_second for row in rows]
        whole = [row.judgements_per_second for row in rows]
        figure.add_bar(
            name=method,
            x=[_label(row.cell) for row in rows],
            y=speeds,
            customdata=whole,
            marker_color=_COLOURS[method],
            text=[f"{speed:,.3g}" for speed in speeds],
            hovertemplate="%{y:,.3g}/s, %{customdata:,.3g}/s with the prefix counted",
        )
    figure.update_layout(title="Judgements per second, one-off prefix apart (log scale)", barmode="group")
    figure.update_yaxes(type="log")
    return figure


def _ratio_figure(result: EngineBenchResult) -> go.Figure:
    figure = go.Figure()
    for method in METHODS[1:]:
        cells = [cell for cell in result.cells if method in cell.peers]
        if cells:
            figure.add_bar(
                name=f"to {method}",
                x=[_label(cell.cell) for cell in cells],
                y=[cell.peers[method].marginal_ratio for cell in cells],
                marker_color=_COLOURS[method],
                text=[f"{cell.peers[method].marginal_ratio:.1f}x" for cell in cells],
            )
    ideals = [(cell, peer) for cell in result.cells for peer in cell.peers.values() if peer.ideal_marginal_ratio]
    if ideals:
        places = {_label(cell.cell): peer.ideal_marginal_ratio for cell, peer in ideals}
        figure.add_scatter(
            name="ratio of operations, nothing shared to all shared",
            x=list(places),
            y=list(places.values()),
            mode="markers",
            marker={"symbol": "line-ew-open", "size": 30, "color": "#000000"},
        )
    figure.update_layout(title="The engine's ratio to each peer, one-off prefix apart", barmode="group")
    return figure


def _share_figure(result: EngineBenchResult) -> go.Figure:
    figure = go.Figure()
    for method in METHODS:
        rows = [row for row in result.rows if row.method == method and row.share_of_peak is not None]
        if rows:
            figure.add_bar(
                name=method,
                x=[_label(row.cell) for row in rows],
                y=[row.share_of_peak for row in rows],
                marker_color=_COLOURS[method],
            )
    figure.update_layout(title="Share of the measured matrix multiplication", barmode="group")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def _table(rows: Sequence[BenchRow]) -> go.Figure:
    cells = [[_cell(getattr(row, name)) for row in rows] for name in COLUMNS]
    table = go.Table(header={"values": [name.replace("_", " ") for name in COLUMNS]}, cells={"values": cells})
    return go.Figure(table, layout={"height": 200 + 30 * len(rows)})


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))


def _label(cell: Cell) -> str:
    return f"{cell.prefix:,} + {cell.item}, x{cell.variants}"
