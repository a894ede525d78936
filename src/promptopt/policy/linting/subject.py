"""A policy file as the checks see it: what of it can be understood, whatever else is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from promptopt.core.yaml_file import Place, YamlFile
from promptopt.policy.model import BoundaryExample, CaseTemplate, Policy, Rule

MOST_COMPARED = 60
_Record = TypeVar("_Record", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ClauseView:
    """A clause as far as it can be read.

    Attributes:
        number: Its position in the file.
        id: Its id; ``clause 3`` where it has none that is text.
        severity: None where it is missing or no number from 0 to 4.
        exceptions: Cited ids, whether they exist or not.
    """

    number: int
    id: str
    title: str
    severity: int | None
    definition: str
    question: str
    includes: tuple[str, ...]
    excludes: tuple[str, ...]
    exceptions: tuple[str, ...]
    zero_tolerance: bool
    action: str

    @property
    def is_violating(self) -> bool:
        """By its severity, and where that is missing by its action."""
        return self.action != "allow" if self.severity is None else self.severity > 0

    def at(self, *keys: str | int) -> Place:
        """The place of one of its keys."""
        return ("clauses", self.number, *keys)

    def prose(self) -> Iterator[tuple[Place, str]]:
        """Place and text of everything that it says in words."""
        for key in ("title", "definition", "question"):
            yield self.at(key), getattr(self, key)
        for key in ("includes", "excludes"):
            for i, text in enumerate(getattr(self, key)):
                yield self.at(key, i), text


@dataclass(frozen=True)
class Subject:
    """A policy file.

    Attributes:
        file: The file.
        policy: The policy; None where the file is not one.
        fault: Why it is not one.
    """

    file: YamlFile
    policy: Policy | None = None
    fault: ValidationError | None = None

    @classmethod
    def of(cls, file: YamlFile) -> Subject:
        """The subject of a file, valid or not."""
        try:
            return cls(file, Policy.model_validate(file.data))
        except ValidationError as fault:
            return cls(file, None, fault)

    @property
    def is_english(self) -> bool:
        """Whether the policy says that it is in English, or does not say."""
        language = self.file.data.get("language", "en")
        return isinstance(language, str) and language.lower().split("-")[0] == "en"

    @cached_property
    def clauses(self) -> tuple[ClauseView, ...]:
        """Every entry under `clauses` that is a mapping."""
        return tuple(_clause(i, entry) for i, entry in _mappings(self.file.data.get("clauses")))

    @property
    def compared(self) -> tuple[ClauseView, ...]:
        """The clauses that are compared with each other: the first 60; a policy with more is too long in any case."""
        return self.clauses[:MOST_COMPARED]

    @cached_property
    def by_id(self) -> Mapping[str, ClauseView]:
        """Clauses by id; of two with one id, the first."""
        found: dict[str, ClauseView] = {}
        for clause in self.clauses:
            found.setdefault(clause.id, clause)
        return found

    @property
    def violating(self) -> tuple[ClauseView, ...]:
        """Clauses that describe violations."""
        return tuple(c for c in self.clauses if c.is_violating)

    @property
    def permitting(self) -> tuple[ClauseView, ...]:
        """Clauses that describe permitted contexts."""
        return tuple(c for c in self.clauses if not c.is_violating)

    @cached_property
    def rules(self) -> tuple[tuple[int, Rule], ...]:
        """Position and routing rule, of those that are well formed."""
        return tuple(_valid(Rule, self.file.data.get("routing")))

    @cached_property
    def examples(self) -> tuple[tuple[int, BoundaryExample], ...]:
        """Position and boundary example, of those that are well formed."""
        return tuple(_valid(BoundaryExample, self.file.data.get("boundary_examples")))

    @cached_property
    def templates(self) -> tuple[tuple[int, CaseTemplate], ...]:
        """Position and template, of those that are well formed."""
        return tuple(_valid(CaseTemplate, self.file.data.get("templates")))

    @cached_property
    def precedence(self) -> tuple[str, ...]:
        """Ids in the order of precedence."""
        return texts(self.file.data.get("precedence"))

    @cached_property
    def terms(self) -> tuple[tuple[int, str, str], ...]:
        """Position, term and definition of the defined words."""
        entries = _mappings(self.file.data.get("terms"))
        return tuple((i, text(entry.get("term")), text(entry.get("definition"))) for i, entry in entries)

    def text(self, key: str) -> str:
        """The text under a key of the policy itself; empty where there is none."""
        return text(self.file.data.get(key))

    def prose(self) -> Iterator[tuple[Place, str]]:
        """Place and text of everything that the policy says in words, examples and templates left out."""
        for key in ("purpose", "summary", "question"):
            yield (key,), self.text(key)
        for i, _, definition in self.terms:
            yield ("terms", i, "definition"), definition
        for clause in self.clauses:
            yield from clause.prose()

    def name_of(self, place: Place) -> str:
        """What people call a place: ``A1 definition``, ``rule R2``, ``boundary example 3``, ``precedence``."""
        if len(place) < 2 or not isinstance(place[1], int):
            return str(place[0]) if place else "policy"
        section, number = str(place[0]), place[1]
        named = _NAMES.get(section, section)
        entry = _at(self.file.data.get(section), number)
        if section == "clauses":
            name = text(entry.get("id")) or f"{named} {number + 1}"
        elif section == "routing":
            name = f"{named} {text(entry.get('id')) or number + 1}"
        else:
            name = f"{named} {number + 1}"
        return " ".join([name, *(str(part) for part in place[2:3])])

    def clause_of(self, place: Place) -> str | None:
        """The id of the clause that a place lies in, or that the example or template there cites."""
        if len(place) < 2 or not isinstance(place[1], int):
            return None
        key = _CLAUSE_KEYS.get(str(place[0]))
        return None if key is None else text(_at(self.file.data.get(str(place[0])), place[1]).get(key)) or None


_CLAUSE_KEYS = {"clauses": "id", "boundary_examples": "clause", "templates": "clause"}
_NAMES = {
    "clauses": "clause",
    "routing": "rule",
    "boundary_examples": "boundary example",
    "templates": "template",
    "terms": "term",
    "changelog": "changelog entry",
}


def text(value: object) -> str:
    """A value if it is text, otherwise nothing."""
    return value if isinstance(value, str) else ""


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list, otherwise nothing."""
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def _clause(number: int, entry: Mapping[str, Any]) -> ClauseView:
    severity = entry.get("severity")
    known = isinstance(severity, int) and not isinstance(severity, bool) and 0 <= severity <= 4
    return ClauseView(
        number=number,
        id=text(entry.get("id")) or f"clause {number + 1}",
        title=text(entry.get("title")),
        severity=severity if known else None,
        definition=text(entry.get("definition")),
        question=text(entry.get("question")),
        includes=texts(entry.get("includes")),
        excludes=texts(entry.get("excludes")),
        exceptions=texts(entry.get("exceptions")),
        zero_tolerance=entry.get("zero_tolerance") is True,
        action=text(entry.get("action")),
    )


def _mappings(value: object) -> Iterable[tuple[int, Mapping[str, Any]]]:
    entries = value if isinstance(value, list) else []
    return [(i, entry) for i, entry in enumerate(entries) if isinstance(entry, dict)]


def _valid(model: type[_Record], value: object) -> Iterator[tuple[int, _Record]]:
    for i, entry in _mappings(value):
        try:
            yield i, model.model_validate(entry)
        except ValidationError:
            continue  # the check of the shape says what is wrong with it


def _at(value: object, number: int) -> Mapping[str, Any]:
    entry = value[number] if isinstance(value, list) and number < len(value) else None
    return entry if isinstance(entry, dict) else {}
