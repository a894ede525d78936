"""What a finished sweep hands back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from promptopt.bundle.model import PromptBundle
from promptopt.config import AppConfig
from promptopt.scores.store import Spent
from promptopt.search.finalists import FinalComparison
from promptopt.search.sweep import SweepResult


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """Everything a sweep leaves behind.

    Attributes:
        config: Its configuration.
        result: The search.
        comparison: The final round.
        bundle: The winner's bundle.
        bundle_folder: Where it is.
        plots_folder: Where the figures are.
        spent: What was paid, over all processes of the sweep.
        tracking_uri: The tracking store, or None.
        run_url: Web address of the run, or None.
        view_command: Command that shows the tracking store, or None.
    """

    config: AppConfig
    result: SweepResult
    comparison: FinalComparison
    bundle: PromptBundle
    bundle_folder: Path
    plots_folder: Path
    spent: Spent
    tracking_uri: str | None
    run_url: str | None
    view_command: str | None
