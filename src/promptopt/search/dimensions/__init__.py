"""Dimensions of a search space that are one file each.

A module here that holds a ``DIMENSION`` (:class:`promptopt.search.dimensions.base.Dimension`) can be searched by naming
its choices: ``program.extra.NAME=[...]``. Nothing else has to know of it.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from promptopt.errors import ConfigError
from promptopt.search.dimensions.base import Dimension


@cache
def known_dimensions() -> dict[str, Dimension]:
    """Every dimension of this package by name.

    Raises:
        ConfigError: A module holds no ``DIMENSION``, or one whose name is taken.
    """
    found: dict[str, Dimension] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        if module == "base" or module.startswith("_"):
            continue
        dimension: Dimension | None = getattr(import_module(f"{__name__}.{module}"), "DIMENSION", None)
        if dimension is None or dimension.name in found:
            fault = (
                "holds no DIMENSION" if dimension is None else f"names its dimension {dimension.name!r} like another"
            )
            raise ConfigError(
                f"the module {module} {fault}",
                where="promptopt/search/dimensions",
                remedy="see base.py, or let the module's name begin with _",
            )
        found[dimension.name] = dimension
    return found


def find_dimension(name: str) -> Dimension:
    """A dimension by name.

    Raises:
        ConfigError: There is none of this name.
    """
    known = known_dimensions()
    if name not in known:
        raise ConfigError(
            f"there is no dimension {name!r}",
            where="program.extra",
            remedy=f"choose from {', '.join(sorted(known))}, or add a file to promptopt/search/dimensions",
        )
    return known[name]
