"""Opens the judge that a bundle was measured with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promptopt.core.yaml_file import explain_validation
from promptopt.engines.base import JudgeEngine
from promptopt.errors import BundleError
from promptopt.judges.config import JudgeConfig
from promptopt.judges.factory import open_engine


def open_bundle_engine(judge: Mapping[str, Any], where: Path) -> JudgeEngine:
    """The engine that a bundle names.

    Args:
        judge: The bundle's judge configuration as plain data.
        where: The bundle's folder, for errors.

    Raises:
        BundleError: The configuration does not fit this version.
        EngineError: The judge cannot be loaded here.
    """
    try:
        config = JudgeConfig.model_validate(dict(judge))
    except ValidationError as cause:
        raise BundleError(
            f"the bundle's judge does not fit this version of promptopt ({explain_validation(cause)})",
            where=where,
            remedy="install the version that the bundle names",
        ) from cause
    return open_engine(config)
