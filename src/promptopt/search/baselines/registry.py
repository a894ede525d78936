"""Baselines by name; a baseline's libraries are imported when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

from promptopt.errors import ConfigError
from promptopt.search.baselines.base import SearchMethod

_WHERE = {
    "seed": ("seed", "SeedPrompt"),
    "random": ("random_search", "RandomSearch"),
    "random_jury": ("random_search", "RandomJury"),
    "tpe": ("tpe", "PlainTpe"),
    "miprov2": ("miprov2", "MiproV2"),
    "gepa": ("gepa", "Gepa"),
    "capo": ("capo", "Capo"),
    "promptolution": ("promptolution_capo", "PromptolutionCapo"),
    "reanchor": ("reanchor", "ReAnchor"),
}

_EXTRAS = frozenset({"promptolution"})


def _maker(module: str, name: str) -> Callable[[], SearchMethod]:
    def make() -> SearchMethod:
        try:
            made: SearchMethod = getattr(import_module(f"promptopt.search.baselines.{module}"), name)()
        except ModuleNotFoundError as cause:
            if (package := (cause.name or "").partition(".")[0]) not in _EXTRAS:
                raise
            raise ConfigError(
                f"the search method needs the package {package}, which is not installed",
                where="--methods",
                remedy=f"pip install 'promptopt[{package}]'",
            ) from cause
        return made

    return make


BASELINES: Mapping[str, Callable[[], SearchMethod]] = MappingProxyType(
    {name: _maker(*where) for name, where in _WHERE.items()}
)
