"""Connected components of names."""

from __future__ import annotations

from collections.abc import Iterable


class Components:
    """Sets of connected names (a disjoint-set forest); each set is known by its first name in sorted order."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parent = {name: name for name in names}

    def find(self, name: str) -> str:
        """The first name, in sorted order, of those connected to this one."""
        parent = self._parent
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    def join(self, first: str, second: str) -> None:
        """Connects two names, whatever the order."""
        low, high = sorted((self.find(first), self.find(second)))
        self._parent[high] = low
