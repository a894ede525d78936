"""What kinds of values a JSON column holds, so that it can be given a column type without loss."""

from __future__ import annotations

_EXACT_IN_FLOAT = 2**53
_LONG = 2**63


def kind_of(value: object) -> str:
    """The kind of a JSON value: ``empty``, ``bool``, ``int``, ``long``, ``float``, ``text`` or ``json``."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if abs(value) <= _EXACT_IN_FLOAT:
            return "int"
        return "long" if -_LONG <= value < _LONG else "json"
    return {float: "float", str: "text"}.get(type(value), "json")


def joint_kind(one: str, other: str) -> str:
    """The narrowest kind that holds both without loss; ``long`` is an integer that a float cannot hold."""
    if one == other or other == "empty":
        return one
    if one == "empty":
        return other
    return {frozenset({"int", "float"}): "float", frozenset({"int", "long"}): "long"}.get(
        frozenset({one, other}), "json"
    )
