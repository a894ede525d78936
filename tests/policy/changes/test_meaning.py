"""Other words, and whether they mean another thing."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace

import pytest

from promptopt.policy.changes.meaning import OTHER_CLAUSE, clause_likeness, same_words


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("Threatens a person.", "threatens the person"),
        ("Threats, insults and lies", "Threat, insult and lie."),
        ("A café's “offer”", "a café's offer"),
        ("at 18 or more", "At 18 or more."),
        ("", "..."),
    ],
)
def test_the_same_words(before, now):
    assert same_words(before, now)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("under 18", "under 16"),
        ("0.5 of it", "0.7 of it"),
        ("with approval", "without approval"),
        ("is a threat", "is not a threat"),
        ("asks for or offers it", "asks for and offers it"),
        ("a dog that bites a man", "a man that bites a dog"),
        ("threatens a person", "menaces a person"),
        ("кража денег", "кража личных денег"),
    ],
)
def test_other_words(before, now):
    assert not same_words(before, now)


def test_a_clause_that_only_keeps_its_title_or_its_definition_is_still_that_clause():
    old = SimpleNamespace(title="Incitement to violence", definition="Urges others to use violence.")
    retitled = SimpleNamespace(title="Calls for attacks", definition="Urges others to use violence.")
    redefined = SimpleNamespace(title="Incitement to violence", definition="Praise of an attack by name.")
    other = SimpleNamespace(title="Stalking", definition="Follows somebody in secret.")
    assert clause_likeness(old, retitled) == 1.0
    assert clause_likeness(old, redefined) == 1.0
    assert clause_likeness(old, other) < OTHER_CLAUSE


def test_most_pairs_of_clauses_of_a_shipped_policy_are_told_apart(shipped_policies):
    alike = [
        clause_likeness(one, two)
        for policy in shipped_policies
        for one, two in combinations([c for c in policy.clauses if c.is_violating], 2)
    ]
    told_apart = sum(found < OTHER_CLAUSE for found in alike) / len(alike)
    assert told_apart > 0.85  # two clauses of one policy are the hardest to tell apart: they share its subject
