"""Figures of a sweep, as plotly figures: pure functions of numbers.

Colours are Okabe and Ito's, which people with any colour vision tell apart; what matters also differs in shape or dash.
Values that are not finite are unjudged: they are left out and counted below the title.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

FloatArray = npt.NDArray[np.float64]
Role = Literal["trial", "seed", "finalist", "winner", "dropped"]

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, GREY = "#CC79A7", "#56B4E9", "#000000", "#8C8C8C"

_SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SHAPE_MARKERS = ((BLUE, "circle"), (GREEN, "square"), (PURPLE, "diamond"), (SKY, "triangle-up"), (BLACK, "cross"))
_ROLE_MARKERS = {"seed": ("x", VERMILION), "finalist": ("circle-open", BLACK), "winner": ("star", ORANGE)}
_DROPPED = {"color": GREY, "symbol": "circle-open", "size": 6, "opacity": 0.6}
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class TrialPoint:
    """One trial of a sweep, as the figures show it.

    Attributes:
        number: Number of the trial.
        candidate: Short digest of the candidate.
        shape: Program shape (``"direct"``, ``"checklist"``).
        auprc: Area under the precision-recall curve; NaN when the trial has none.
        tokens_per_case: Tokens submitted to the judge per case.
        role: What the trial became; ``"dropped"`` by racing, and so measured on part of the cases only.
    """

    number: int
    candidate: str
    shape: str
    auprc: float
    tokens_per_case: float
    role: Role = "trial"

    @property
    def is_measured(self) -> bool:
        return bool(np.isfinite(self.auprc) and np.isfinite(self.tokens_per_case))


def precision_recall_figure(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], precision_floor: float | None = None
) -> go.Figure:
    """Precision against recall.

    Args:
        curves: Name of a judge to its (precision, recall), of equal lengths, in any order.
        precision_floor: Drawn as a line, if given.

    Returns:
        The figure.
    """
    figure = go.Figure()
    for i, (name, (precision, recall)) in enumerate(curves.items()):
        order = np.lexsort((-np.asarray(precision, dtype=np.float64), np.asarray(recall, dtype=np.float64)))
        figure.add_scatter(
            x=np.asarray(recall, dtype=np.float64)[order],
            y=np.asarray(precision, dtype=np.float64)[order],
            name=name,
            mode="lines",
            line={"color": _SERIES[i % len(_SERIES)], "dash": _DASHES[i % len(_DASHES)], "width": 2.5},
            hovertemplate="recall %{x:.3f}<br>precision %{y:.3f}<extra>%{fullData.name}</extra>",
        )
    if precision_floor is not None:
        figure.add_hline(
            y=precision_floor,
            line={"color": GREY, "dash": "dash", "width": 1.5},
            annotation={"text": f"precision floor {precision_floor:g}", "font": {"color": "#555555"}},
            annotation_position="bottom left",
        )
    figure.update_xaxes(range=[-0.01, 1.01])
    figure.update_yaxes(range=[-0.01, 1.02])
    return _finish(figure, "Precision and recall", "Recall of violations", "Precision of violations")


def score_distribution_figure(labels: Sequence[bool], scores: Sequence[float], threshold: float | None) -> go.Figure:
    """How the scores of violations and of allowed cases lie about the threshold.

    Args:
        labels: True for a violation; one per case.
        scores: Probability of a violation; NaN for an unjudged case.
        threshold: Scores at or above it are violations; None draws no line.

    Returns:
        The figure: shares of each gold label, so that a rare label stays visible; counts are in the hover text.
    """
    violation = np.asarray(labels, dtype=bool)
    values = np.asarray(scores, dtype=np.float64)
    judged = np.isfinite(values)
    low, high = (values[judged].min(), values[judged].max()) if judged.any() else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, 31)
    figure = go.Figure()
    for name, mask, colour, pattern in (("allowed", ~violation, BLUE, ""), ("violation", violation, VERMILION, "/")):
        counts, _ = np.histogram(values[mask & judged], bins=edges)
        total = max(int(counts.sum()), 1)
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts / total,
            width=np.diff(edges),
            name=f"{name} ({int(counts.sum())})",
            marker={"color": colour, "opacity": 0.6, "pattern": {"shape": pattern}, "line": {"width": 0}},
            customdata=np.stack([edges[:-1], edges[1:], counts], axis=1),
            hovertemplate="scores %{customdata[0]:.3f} to %{customdata[1]:.3f}<br>%{customdata[2]:d} cases, %{y:.1%}"
            "<extra>%{fullData.name}</extra>",
        )
    if threshold is not None and np.isfinite(threshold):
        figure.add_vline(
            x=threshold,
            line={"color": BLACK, "dash": "dash", "width": 2},
            annotation={"text": f"threshold {threshold:.3g}"},
            annotation_position="top right" if threshold < (low + high) / 2 else "top left",
        )
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_yaxes(tickformat=".0%")
    note = _left_out(int((~judged).sum()), "unjudged case")
    return _finish(figure, "Scores by gold label", "Score", "Share of the label's cases", note)


def cost_quality_figure(trials: Sequence[TrialPoint]) -> go.Figure:
    """AUPRC against tokens per case, with the trials that no other beats on both (the Pareto front)."""
    shown = [trial for trial in trials if trial.is_measured]
    figure = go.Figure()
    kept = [trial for trial in shown if trial.role != "dropped"]
    front = pareto_front(kept)
    figure.add_scatter(
        x=[trial.tokens_per_case for trial in front],
        y=[trial.auprc for trial in front],
        name="Pareto front",
        mode="lines",
        line={"color": GREY, "width": 2, "shape": "hv"},
        hoverinfo="skip",
    )
    _add_dropped(figure, shown, lambda trial: trial.tokens_per_case)
    for i, shape in enumerate(sorted({trial.shape for trial in kept})):
        own = [trial for trial in kept if trial.shape == shape]
        colour, symbol = _SHAPE_MARKERS[i % len(_SHAPE_MARKERS)]
        marker = {"color": colour, "symbol": symbol, "size": 9, "opacity": 0.75}
        _add_trials(figure, own, shape, lambda trial: trial.tokens_per_case, marker)
    _add_roles(figure, shown, lambda trial: trial.tokens_per_case)
    note = _left_out(len(trials) - len(shown), "trial without a score", "trials without a score")
    return _finish(figure, "Cost and quality", "Tokens per case", "AUPRC", note)


def history_figure(trials: Sequence[TrialPoint]) -> go.Figure:
    """AUPRC of each trial in order, with the best so far."""
    shown = sorted((trial for trial in trials if np.isfinite(trial.auprc)), key=lambda trial: trial.number)
    figure = go.Figure()
    marker = {"color": SKY, "symbol": "circle", "size": 8, "line": {"color": BLUE, "width": 1}}
    _add_trials(figure, [t for t in shown if t.role == "trial"], "trial", lambda trial: trial.number, marker)
    _add_dropped(figure, shown, lambda trial: trial.number)
    kept = [trial for trial in shown if trial.role != "dropped"]
    best = np.maximum.accumulate([trial.auprc for trial in kept]) if kept else np.array([])
    figure.add_scatter(
        x=[trial.number for trial in kept],
        y=best,
        name="best so far",
        mode="lines",
        line={"color": VERMILION, "width": 2.5, "shape": "hv"},
        hovertemplate="best after trial %{x}: %{y:.4f}<extra></extra>",
    )
    _add_roles(figure, shown, lambda trial: trial.number)
    note = _left_out(len(trials) - len(shown), "trial without a score", "trials without a score")
    return _finish(figure, "Trials", "Trial", "AUPRC", note)


def calibration_figure(labels: Sequence[bool], probs: Sequence[float], bins: int = 10) -> go.Figure:
    """Reliability diagram: how often cases of a given probability are violations.

    Args:
        labels: True for a violation; one per case.
        probs: Probability of a violation in [0, 1]; NaN for an unjudged case.
        bins: Number of equally wide bins.

    Returns:
        The figure; error bars are Wilson's 95% intervals, sizes grow with the number of cases.
    """
    violation = np.asarray(labels, dtype=bool)
    values = np.asarray(probs, dtype=np.float64)
    judged = np.isfinite(values)
    place = np.minimum((values[judged] * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    used = counts > 0
    total = np.maximum(counts, 1)
    mean = (np.bincount(place, weights=values[judged], minlength=bins) / total)[used]
    share = (np.bincount(place, weights=violation[judged].astype(np.float64), minlength=bins) / total)[used]
    low, high = _wilson(share, counts[used])
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], name="perfectly calibrated", mode="lines", hoverinfo="skip",
        line={"color": GREY, "dash": "dash", "width": 1.5},
    )  # fmt: skip
    figure.add_scatter(
        x=mean,
        y=share,
        name="judge",
        mode="lines+markers",
        line={"color": BLUE, "width": 2},
        marker={"color": BLUE, "size": 7 + 17 * np.sqrt(counts[used] / max(counts.max(), 1))},
        error_y={"type": "data", "array": high - share, "arrayminus": share - low, "color": BLUE, "thickness": 1.2},
        customdata=np.stack([counts[used], low, high], axis=1),
        hovertemplate="mean probability %{x:.3f}<br>violations %{y:.1%} (95%: %{customdata[1]:.1%} to "
        "%{customdata[2]:.1%})<br>%{customdata[0]:d} cases<extra></extra>",
    )
    figure.update_xaxes(range=[-0.02, 1.02])
    figure.update_yaxes(range=[-0.02, 1.02])
    note = _left_out(int((~judged).sum()), "unjudged case")
    return _finish(figure, "Calibration", "Mean probability in the bin", "Share of violations in the bin", note)


def pareto_front(trials: Sequence[TrialPoint]) -> list[TrialPoint]:
    """The measured trials that no other beats: each costs more than the one before it and has a higher AUPRC."""
    front: list[TrialPoint] = []
    measured = (trial for trial in trials if trial.is_measured)
    for trial in sorted(measured, key=lambda trial: (trial.tokens_per_case, -trial.auprc, trial.number)):
        if not front or trial.auprc > front[-1].auprc:
            front.append(trial)
    return front


def _add_trials(figure: go.Figure, trials: Sequence[TrialPoint], name: str, x: Any, marker: Mapping[str, Any]) -> None:
    figure.add_scatter(
        x=[x(trial) for trial in trials],
        y=[trial.auprc for trial in trials],
        name=name,
        mode="markers",
        marker=dict(marker),
        customdata=[[trial.number, trial.candidate, trial.shape, trial.tokens_per_case] for trial in trials],
        hovertemplate="trial %{customdata[0]}, %{customdata[2]}<br>candidate %{customdata[1]}<br>AUPRC %{y:.4f}"
        "<br>%{customdata[3]:,.0f} tokens per case<extra>%{fullData.name}</extra>",
    )


def _add_dropped(figure: go.Figure, trials: Sequence[TrialPoint], x: Any) -> None:
    dropped = [trial for trial in trials if trial.role == "dropped"]
    if dropped:
        _add_trials(figure, dropped, "dropped by racing, part of the cases", x, _DROPPED)


def _add_roles(figure: go.Figure, trials: Sequence[TrialPoint], x: Any) -> None:
    for role, (symbol, colour) in _ROLE_MARKERS.items():
        own = [trial for trial in trials if trial.role == role]
        if own:
            marker = {"symbol": symbol, "color": colour, "size": 16, "line": {"color": BLACK, "width": 1.5}}
            _add_trials(figure, own, role, x, marker)


def _wilson(share: FloatArray, counts: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Wilson's 95% score interval of a share among counts (Wilson 1927)."""
    z2 = _Z95**2 / counts
    centre = (share + z2 / 2) / (1 + z2)
    half = _Z95 * np.sqrt(share * (1 - share) / counts + z2 / (4 * counts)) / (1 + z2)
    return np.minimum(centre - half, share), np.maximum(centre + half, share)


def _left_out(count: int, one: str, many: str | None = None) -> str:
    if not count:
        return ""
    return f"{count} {one if count == 1 else many or one + 's'} not shown"


def _finish(figure: go.Figure, title: str, x: str, y: str, note: str = "") -> go.Figure:
    subtitle = {"text": note, "font": {"size": 13, "color": "#555555"}}
    figure.update_layout(
        template="plotly_white",
        title={
            "text": title,
            "font": {"size": 20},
            "subtitle": subtitle,
            "x": 0,
            "xref": "paper",
            "y": 0.97,
            "yref": "container",
            "yanchor": "top",
        },
        font={"size": 14},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "right", "x": 1},
        margin={"l": 70, "r": 30, "t": 110, "b": 70},
        hoverlabel={"bgcolor": "white", "font": {"size": 13}},
    )
    figure.update_xaxes(title_text=x, showline=True, linecolor="#444444", ticks="outside")
    figure.update_yaxes(title_text=y, showline=True, linecolor="#444444", ticks="outside")
    return figure
