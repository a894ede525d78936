"""Settings of tracking."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from promptopt.core.model import FrozenModel


class TrackingConfig(FrozenModel):
    """Where runs are recorded, and what may be.

    Attributes:
        backend: ``"mlflow"``, or ``"none"`` to record nothing.
        uri: ``sqlite:///<file>`` or the ``http(s)://`` address of a tracking server; None stands for ``mlflow.db`` in
            the folder of runs. Other databases belong behind a tracking server, which also keeps the files.
        experiment: The MLflow experiment.
        log_texts: Whether texts of golden cases, harmful ones among them, may be written.
        registered_prompts: Whether finalists become registered prompts; otherwise they are files of their runs.
    """

    backend: Literal["mlflow", "none"] = "mlflow"
    uri: str | None = None
    experiment: str = "promptopt"
    log_texts: bool = False
    registered_prompts: bool = True

    @field_validator("uri")
    @classmethod
    def _supported(cls, uri: str | None) -> str | None:
        if uri is not None and not uri.startswith(("sqlite:///", "http://", "https://")):
            scheme = uri.partition(":")[0]
            raise ValueError(f"a tracking uri starts with sqlite:///, http:// or https://, not {scheme!r}")
        return uri

    @field_validator("experiment")
    @classmethod
    def _named(cls, experiment: str) -> str:
        if not experiment.strip():
            raise ValueError("an experiment needs a name")
        return experiment
