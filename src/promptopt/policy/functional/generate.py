"""Makes functional cases from a policy: plain ones, contrasts, exceptions, minimal edits, obfuscations."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise, product

from promptopt.core.case import CaseKind, Label
from promptopt.core.digest import digest_text
from promptopt.policy.functional.frames import framed, frames_of
from promptopt.policy.functional.implied import implied_verdict
from promptopt.policy.functional.model import FunctionalCase
from promptopt.policy.functional.obfuscation import OBFUSCATIONS
from promptopt.policy.model import CaseTemplate, Policy

_ID_DIGITS = 10
_LEAST_OVERLAP = 0.15


def functional_cases(policy: Policy, *, seed: int = 0, limit: int | None = None) -> tuple[FunctionalCase, ...]:
    """Functional cases of a policy, from its boundary examples and templates.

    The verdict of every case comes from the policy's routing, given the clauses that the case is made to fall under; a
    text that the routing leaves to people makes no case.
    The functions are: ``clause:X/plain``; ``contrast:X`` (the allowed half of a pair of boundary examples);
    ``permitted:X`` (an allowed example that stands alone); ``minimal_edit:X`` (a template with a control word);
    ``exception:E`` (a violation inside a context that lifts it); ``zero_tolerance:X`` (inside one that does not);
    ``obfuscation:NAME``. The approach is that of functional tests of HateCheck (Röttger et al., 2021).

    Args:
        policy: The policy.
        seed: For choices inside obfuscations, and which cases a limit keeps.
        limit: At most this many cases, taken in turn from every function.

    Returns:
        Cases with distinct ids and texts; the same policy and seed give the same cases.
    """
    bases = [*_boundary_cases(policy), *_template_cases(policy)]
    derived = [case for base in bases if base.is_violation for case in _derived(policy, base, seed)]
    cases = tuple({case.text: case for case in reversed([*bases, *derived])}.values())[::-1]
    return cases if limit is None else limited(cases, limit, seed)


def limited(cases: Iterable[FunctionalCase], limit: int, seed: int) -> tuple[FunctionalCase, ...]:
    """At most ``limit`` cases, one from each function in turn, in the order they came in.

    Args:
        cases: The cases.
        limit: How many; at least 1.
        seed: Which of a function's cases come first.

    Raises:
        ValueError: The limit is below 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    given = list(cases)
    queues: dict[str, list[FunctionalCase]] = defaultdict(list)
    for case in sorted(given, key=lambda c: digest_text(f"{seed}\n{c.id}")):
        queues[case.function].append(case)
    turns = sorted((place, name, c.id) for name, queue in queues.items() for place, c in enumerate(queue))
    kept = {case_id for _, _, case_id in turns[:limit]}
    return tuple(case for case in given if case.id in kept)


def _boundary_cases(policy: Policy) -> Iterator[FunctionalCase]:
    pairs = _contrasts(policy)
    for number, example in enumerate(policy.boundary_examples):
        applying = () if example.clause is None else (example.clause,)
        if implied_verdict(policy, applying).label is not example.label:
            continue  # the example speaks of more than one clause, so its verdict does not follow from the one it cites
        violation = example.label is Label.VIOLATION
        if violation:
            function = f"clause:{example.clause}/plain"
        elif number in pairs:
            function = f"contrast:{policy.boundary_examples[pairs[number]].clause}"
        else:
            function = f"permitted:{example.clause or 'none'}"
        partner = pairs.get(number)
        first = None if partner is None else policy.boundary_examples[min(number, partner)].text
        pair = None if first is None else f"{policy.domain}-fp-{digest_text(first)[:_ID_DIGITS]}"
        yield from _cases(policy, example.text, applying, function, pair=pair)


def _contrasts(policy: Policy) -> dict[int, int]:
    """Each boundary example of a contrast pair to the other: a violation and the allowed example right after it."""
    found: dict[int, int] = {}
    examples = policy.boundary_examples
    for i, (one, two) in enumerate(pairwise(examples)):
        sides = (one.label, two.label) == (Label.VIOLATION, Label.ALLOWED)
        if sides and _overlap(one.text, two.text) >= _LEAST_OVERLAP:
            found[i], found[i + 1] = i + 1, i
    return found


def _overlap(first: str, second: str) -> float:
    one, two = (set(re.findall(r"\w+", text.lower())) for text in (first, second))
    return len(one & two) / max(1, len(one | two))


def _template_cases(policy: Policy) -> Iterator[FunctionalCase]:
    for template in policy.templates:
        fillings = list(_fillings(template.slots))
        violating = policy.by_id[template.clause].is_violating
        name = f"clause:{template.clause}/plain" if violating else f"permitted:{template.clause}"
        plain = [c for f in fillings for c in _cases(policy, _fill(template, f), (template.clause,), name)]
        yield from plain
        for slot, words in template.controls.items() if plain else ():
            for word in words:
                text = _fill(template, {**fillings[0], slot: word})
                yield from _cases(policy, text, (), f"minimal_edit:{template.clause}", base=plain[0])


def _fillings(slots: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, str]]:
    for words in product(*slots.values()):
        yield dict(zip(slots, words, strict=True))


def _fill(template: CaseTemplate, words: Mapping[str, str]) -> str:
    text = template.text
    for slot, word in words.items():
        text = text.replace(f"{{{slot}}}", word)
    return text[:1].upper() + text[1:]


def _derived(policy: Policy, base: FunctionalCase, seed: int) -> Iterator[FunctionalCase]:
    violated = policy.by_id[str(base.clause)]
    for permitting in policy.permitting:
        lifted = permitting.id in violated.exceptions
        if lifted or violated.zero_tolerance:
            function = f"exception:{permitting.id}" if lifted else f"zero_tolerance:{violated.id}"
            for _, sentence in frames_of(permitting):
                applying = (violated.id, permitting.id)
                yield from _cases(policy, framed(sentence, base.text), applying, function, base=base)
    for name, obfuscate in OBFUSCATIONS.items():
        chance = random.Random(digest_text(f"{seed}\n{name}\n{base.text}"))  # noqa: S311 (a reproducible draw, not a secret)
        text = obfuscate(base.text, chance)
        if text != base.text:
            yield from _cases(policy, text, (violated.id,), f"obfuscation:{name}", base=base)


def _cases(
    policy: Policy,
    text: str,
    applying: tuple[str, ...],
    function: str,
    *,
    base: FunctionalCase | None = None,
    pair: str | None = None,
) -> Iterator[FunctionalCase]:
    """The one case, or none where the routing leaves it to people."""
    implied = implied_verdict(policy, applying)
    if implied.label is None:
        return
    own = f"{policy.domain}-f-{digest_text(function + chr(10) + text)[:_ID_DIGITS]}"
    contrast = pair is not None or function.startswith("minimal_edit:")
    allowed = CaseKind.HARD_NEGATIVE if implied.label is Label.ALLOWED else CaseKind.PLAIN
    yield FunctionalCase(
        id=own,
        text=text,
        language=policy.language,
        label=implied.label,
        clause=implied.clause,
        severity=implied.severity,
        group=base.id if base else pair or own,
        kind=CaseKind.CONTRAST if contrast else allowed,
        pair=pair,
        function=function,
        base=base.id if base else None,
    )
