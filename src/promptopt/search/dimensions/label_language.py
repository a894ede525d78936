"""The language of the answer words: some judges answer texts better in the language of the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from promptopt.core.candidate import Choice
from promptopt.errors import ConfigError
from promptopt.policy.grading import SEVERITY_WORDS, Ladder
from promptopt.search.dimensions.base import PromptDraft

_Pair = tuple[str, str]
_IN_ENGLISH: tuple[_Pair, ...] = (
    ("yes", "no"),
    ("violates", "allowed"),
    ("violation", "fine"),
    ("harmful", "harmless"),
    ("unsafe", "safe"),
    ("true", "false"),
    ("remove", "keep"),
    ("bad", "good"),
)
_TRANSLATED: dict[str, tuple[_Pair, ...]] = {
    "de": (
        ("ja", "nein"),
        ("verstößt", "erlaubt"),
        ("Verstoß", "unbedenklich"),
        ("schädlich", "harmlos"),
        ("unsicher", "sicher"),
        ("wahr", "falsch"),
        ("entfernen", "behalten"),
        ("schlecht", "gut"),
    ),
    "es": (
        ("sí", "no"),
        ("infringe", "permitido"),
        ("infracción", "correcto"),
        ("dañino", "inofensivo"),
        ("inseguro", "seguro"),
        ("verdadero", "falso"),
        ("eliminar", "conservar"),
        ("malo", "bueno"),
    ),
    "fr": (
        ("oui", "non"),
        ("enfreint", "autorisé"),
        ("infraction", "correct"),
        ("nocif", "inoffensif"),
        ("dangereux", "sûr"),
        ("vrai", "faux"),
        ("supprimer", "garder"),
        ("mauvais", "bon"),
    ),
    "zh": (
        ("是", "否"),
        ("违规", "允许"),
        ("违反", "正常"),
        ("有害", "无害"),
        ("不安全", "安全"),
        ("真", "假"),
        ("删除", "保留"),
        ("坏", "好"),
    ),
}
_GRADES: dict[str, tuple[str, ...]] = {
    "de": ("keine", "gering", "mittel", "hoch", "kritisch"),
    "es": ("ninguna", "baja", "media", "alta", "crítica"),
    "fr": ("aucune", "faible", "moyenne", "élevée", "critique"),
    "zh": ("无", "低", "中", "高", "严重"),
}


class LabelLanguage:
    """Choices: ``none`` leaves the words as they are; ``policy`` takes the policy's language; or ``de``, ``es``,
    ``fr``, ``zh``. Words that have no translation here stay as they are."""

    name = "label_language"

    def applies(self, point: Mapping[str, Choice]) -> bool:
        """Always: every prompt asks for an answer."""
        return True

    def change(self, draft: PromptDraft, choice: Choice) -> PromptDraft:
        """The layout with the pair of answer words translated."""
        if choice not in ("none", "policy", *_TRANSLATED):
            known = ", ".join(("none", "policy", *_TRANSLATED))
            raise ConfigError(f"label_language {choice!r} is unknown", where="program.extra", remedy=f"use {known}")
        language = draft.language.split("-")[0].lower() if choice == "policy" else str(choice)
        layout = draft.layout
        if layout.ladder:
            return replace(draft, layout=layout.model_copy(update={"ladder": _translated(layout.ladder, language)}))
        pair = (layout.yes.lower(), layout.no.lower())
        if language not in _TRANSLATED or pair not in _IN_ENGLISH:
            return draft
        yes, no = _TRANSLATED[language][_IN_ENGLISH.index(pair)]
        if layout.yes[0].isupper():
            yes, no = yes[0].upper() + yes[1:], no[0].upper() + no[1:]
        return replace(draft, layout=layout.model_copy(update={"yes": yes, "no": no}))


def _translated(ladder: Ladder, language: str) -> Ladder:
    """The ladder with its words translated; as it is where one of them has no translation."""
    words = _GRADES.get(language)
    known = words is not None and all(word == SEVERITY_WORDS[severity] for severity, word in ladder)
    return tuple((severity, words[severity]) for severity, _ in ladder) if words is not None and known else ladder


DIMENSION = LabelLanguage()
