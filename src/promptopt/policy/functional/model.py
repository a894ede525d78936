"""A functional case: a golden case that names the function it tests."""

from __future__ import annotations

from promptopt.core.case import GoldenCase


class FunctionalCase(GoldenCase):
    """A case with the verdict that the routing implies.

    Attributes:
        function: What is tested, such as ``clause:A1/plain``, ``exception:A9`` or ``obfuscation:leetspeak``.
        base: Id of the case that this one is made from; None for those that stand on their own.
    """

    function: str
    base: str | None = None
