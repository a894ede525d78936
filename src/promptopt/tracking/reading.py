"""Reads back what a run logged."""

from __future__ import annotations

import tempfile
from pathlib import Path

from promptopt.tracking.base import TrackingStoreError


def read_artifact(tracking_uri: str, run_id: str, file: str) -> str:
    """The text of a file that a run logged.

    Args:
        tracking_uri: The store.
        run_id: The run.
        file: The artifact's path within the run.

    Raises:
        TrackingStoreError: There is no such run, or it has no such file.
    """
    import promptopt.tracking.mlflow_log  # noqa: F401, I001 (sets what MLflow reads when it is imported)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        with tempfile.TemporaryDirectory() as folder:
            path = MlflowClient(tracking_uri=tracking_uri).download_artifacts(run_id, file, folder)
            return Path(path).read_text(encoding="utf-8")
    except (MlflowException, OSError) as cause:
        raise TrackingStoreError(
            f"run {run_id} has no {file}", where=tracking_uri, remedy="name the parent run of a finished sweep"
        ) from cause
