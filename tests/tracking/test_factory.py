"""Settings say where runs go, and MLflow is imported for no other reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from promptopt.tracking.config import TrackingConfig
from promptopt.tracking.factory import open_run_log, tracking_uri, view_command
from promptopt.tracking.null import NullRunLog


def test_the_default_store_lies_in_the_folder_of_runs(tmp_path: Path) -> None:
    assert tracking_uri(TrackingConfig(), tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    command = view_command(TrackingConfig(), tmp_path)
    assert command is not None
    assert command.endswith(f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db")


def test_a_server_needs_no_command(tmp_path: Path) -> None:
    assert view_command(TrackingConfig(uri="http://tracking.example.org"), tmp_path) is None
    assert view_command(TrackingConfig(backend="none"), tmp_path) is None


def test_no_tracking_touches_no_disk(tmp_path: Path) -> None:
    log = open_run_log(TrackingConfig(backend="none"), tmp_path / "runs", {})
    assert isinstance(log, NullRunLog)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("uri", ["postgresql://host/db", "mlruns", "file:///tmp/x", "sqlite://"])
def test_an_address_that_cannot_work_is_refused(uri: str) -> None:
    with pytest.raises(ValidationError, match="sqlite:///, http:// or https://"):
        TrackingConfig(uri=uri)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="log_text"):
        TrackingConfig.model_validate({"log_text": True})


def test_importing_the_room_imports_nothing_heavy() -> None:
    script = (
        "import sys, promptopt.tracking.factory, promptopt.tracking.memory;"
        "print([m for m in ('mlflow', 'plotly', 'numpy', 'pandas') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
