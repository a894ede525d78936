"""Bundles on disk that two engines were measured with, and judges made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptopt.bundle.composition.opening import OpenJudge, open_judge
from promptopt.bundle.files import write_bundle
from promptopt.bundle.model import ParityCase, PromptBundle
from promptopt.core.case import Label
from promptopt.policy.asking import answer


class Opener:
    """Opens the engine that a bundle's configuration names, and counts."""

    def __init__(self, engine: Callable[..., Any]) -> None:
        self._engine = engine
        self.opened: list[Any] = []
        self.closed = 0

    def __call__(self, config: Mapping[str, Any], folder: Path) -> Any:
        made = self._engine(config["model"])
        self.opened.append(made)
        close = made.close

        def counted() -> None:
            self.closed += 1
            close()

        made.close = counted
        return made


@pytest.fixture
def opener(make_engine) -> Opener:
    return Opener(make_engine)


@pytest.fixture(scope="session")
def measured(make_bundle, make_engine) -> Callable[..., PromptBundle]:
    """A bundle measured on an engine of these weights, with any field replaced."""

    def make(name: str, weights: str = "a", threshold: float = 0.45, **fields: object) -> PromptBundle:
        engine = make_engine(weights)
        plain = make_bundle(**fields)
        texts = [f"{name} pinned {number}" for number in range(16)]
        answers = answer(plain.prompts, texts, engine)
        scores = plain.procedure.score(answers.probabilities)
        calibrated = scores if plain.calibration is None else plain.calibration.apply(scores)
        parity = tuple(
            ParityCase(
                id=f"{name}-{row}",
                text=text,
                answers=answers.of_case(row),
                score=float(scores[row]),
                label=Label.VIOLATION if calibrated[row] >= threshold else Label.ALLOWED,
            )
            for row, text in enumerate(texts)
        )
        point = plain.operating_point.model_copy(update={"threshold": threshold})
        card = engine.describe()
        changed = {
            "name": name,
            "operating_point": point,
            "parity": parity,
            "engine": card.to_dict(),
            "fingerprint": card.fingerprint,
            "judge": {"name": f"judge {weights}", "model": weights},
        }
        return PromptBundle.model_validate({**dict(plain), **changed})

    return make


@pytest.fixture(scope="session")
def shelf(tmp_path_factory, measured, direct) -> Path:
    """``cheap`` and ``second`` on engine ``a``, ``dear`` and ``strict`` on ``b``; ``second`` asks one question."""
    folder = tmp_path_factory.mktemp("shelf")
    bundles = (
        measured("cheap"),
        measured("second", procedure=direct, threshold=0.5),
        measured("dear", "b"),
        measured("strict", "b", threshold=0.8),
    )
    for bundle in bundles:
        write_bundle(bundle, folder / bundle.name)
    return folder


@pytest.fixture
def composed_of(shelf, tmp_path) -> Callable[..., Path]:
    """Writes the file of a composition in which ``bundle`` names a bundle of the shelf, or another such file."""

    def write(name: str, **spec: object) -> Path:
        def placed(part: dict[str, Any]) -> dict[str, Any]:
            if "bundle" in part and not part["bundle"].endswith(".yaml"):
                return {**part, "bundle": str(shelf / part["bundle"])}
            return part

        for key in ("stages", "members"):
            if key in spec:
                spec[key] = [placed(part) for part in spec[key]]
        path = tmp_path / f"{name}.yaml"
        path.write_text(json.dumps(spec), encoding="utf-8")  # which is YAML, too
        return path

    return write


@pytest.fixture
def opened(opener) -> Callable[..., OpenJudge]:
    return lambda path, **options: open_judge(path, opener=opener, **options)


@pytest.fixture
def texts() -> list[str | None]:
    """Some that are judged, some that cannot be asked about, some that engines refuse, some that are too long."""
    made: list[str | None] = [f"text {number}" for number in range(60)]
    made[3:3] = ["", None, "  \n", "half \ud800"]
    made[20:20] = ["please <refuse> this", "x" * 230]
    return made


@pytest.fixture(scope="session")
def probability(shelf, make_engine) -> Callable[[str, list[str]], np.ndarray]:
    """What a bundle of the shelf thinks of texts, by hand."""

    def ask(name: str, texts: list[str]) -> np.ndarray:
        bundle = PromptBundle.load(shelf / name)
        answers = answer(bundle.prompts, texts, make_engine(str(bundle.judge["model"])))
        return bundle.procedure.score(answers.probabilities)

    return ask
