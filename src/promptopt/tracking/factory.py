"""Makes the run log that the settings ask for."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from promptopt.tracking.base import RunLog
from promptopt.tracking.config import TrackingConfig
from promptopt.tracking.null import NullRunLog


def tracking_uri(config: TrackingConfig, default_folder: Path) -> str:
    """The address of the store: the configured one, or ``mlflow.db`` in the folder of runs."""
    return config.uri or f"sqlite:///{default_folder.resolve() / 'mlflow.db'}"


def open_run_log(config: TrackingConfig, default_folder: Path, forbidden_texts: Mapping[str, str]) -> RunLog:
    """Opens the run log; MLflow is imported only when it is asked for (about three seconds).

    Args:
        config: The settings.
        default_folder: The folder of runs; made when the store lies in it.
        forbidden_texts: Case id to text of every golden case and precedent: what may not be written unless
            ``config.log_texts``.

    Returns:
        The log.

    Raises:
        ConfigError: The experiment was deleted.
        TrackingStoreError: The store cannot be reached or made.
    """
    if config.backend == "none":
        return NullRunLog()
    from promptopt.tracking.mlflow_log import MlflowRunLog

    return MlflowRunLog(
        tracking_uri(config, default_folder),
        config.experiment,
        forbidden_texts=forbidden_texts,
        log_texts=config.log_texts,
        registered_prompts=config.registered_prompts,
    )


def view_command(config: TrackingConfig, default_folder: Path) -> str | None:
    """The command that shows a local store in a browser; None when a server does, or nothing is tracked.

    It turns off MLflow's job runner, which can hang at start-up on a machine without a network.
    """
    uri = tracking_uri(config, default_folder)
    if config.backend == "none" or not uri.startswith("sqlite:"):
        return None
    return f"MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --backend-store-uri {shlex.quote(uri)}"
