"""Words that leave the decision to the reader, and places that the author has not filled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from promptopt.policy.linting.finding import CheckGroup, Finding, Level, LintRule
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.subject import Subject
from promptopt.policy.linting.text import without_quotations

FILL_IN = "FILL IN"
QUANTIFIER = LintRule(
    code="PL301",
    name="vague quantifier",
    level=Level.WARNING,
    finds="a word such as *generally*, *often* or *some* leaves open when or how much",
    remedy="say when, how many or which, or leave the word out",
)
STANDARD = LintRule(
    code="PL302",
    name="vague standard",
    level=Level.WARNING,
    finds="a word such as *excessive*, *inappropriate* or *reasonable* judges without a measure",
    remedy="name what can be seen in the text, or define the word under `terms`",
)
UNFINISHED = LintRule(
    code="PL303",
    name="unfinished place",
    level=Level.ERROR,
    finds=f"a place or a comment is still marked `{FILL_IN}`",
    remedy="write what belongs there and take the mark away",
)
_QUANTIFIERS = """
    generally usually normally typically commonly often sometimes frequently occasionally mostly mainly largely rarely
    seldom regularly some several many few various numerous considerable considerably significant significantly
    substantial substantially somewhat fairly quite perhaps probably possibly etc
"""
_QUANTIFYING_PHRASES = (
    "and so on",
    "and the like",
    "a lot of",
    "lots of",
    "a number of",
    "as a rule",
    "in most cases",
    "in general",
    "more or less",
    "to some extent",
    "from time to time",
    "on occasion",
    "most of the time",
    "by and large",
    "for the most part",
    "as a general rule",
    "tend to",
    "tends to",
    "or similar",
    "among others",
)
_STANDARDS = """
    excessive excessively inappropriate inappropriately appropriate appropriately unacceptable acceptable reasonable
    reasonably unreasonable unreasonably offensive problematic objectionable undue unduly unnecessary unnecessarily
    suitable unsuitable improper improperly distasteful tasteless indecent questionable borderline obvious obviously
    clearly extreme disturbing harmful sufficient sufficiently adequate adequately gratuitous gratuitously egregious
    disproportionate disproportionately
"""
_STANDARD_PHRASES = (
    "too much",
    "too many",
    "bad taste",
    "common sense",
    "as needed",
    "where possible",
    "if necessary",
    "case by case",
    "case-by-case",
    "depending on context",
    "depending on the context",
    "depending on the circumstances",
    "use judgement",
    "use your judgement",
    "use your own judgement",
    "at your discretion",
    "in bad faith",
)


def check(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """Vague words outside quotations; a word that the policy defines is not vague."""
    defined = _any_of([term for _, term, _ in subject.terms if term], "")
    for place, prose in subject.prose():
        said = defined.sub(" ", without_quotations(prose))
        for pattern, rule in ((_QUANTIFIER, QUANTIFIER), (_STANDARD, STANDARD)):
            for word in dict.fromkeys(match.lower() for match in pattern.findall(said)):
                yield rule.at(subject, place, f"{word!r} leaves the decision to the reader")


def check_marks(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """Marks that the author has not taken away, in values and in comments, one finding a line."""
    for number, line in enumerate(subject.file.text.split("\n"), start=1):
        if FILL_IN in line:
            yield UNFINISHED.on_line(number, line.strip().partition(":")[0].lstrip("- ")[:30], f"`{FILL_IN}` is left")


def _any_of(phrases: Sequence[str], words: str) -> re.Pattern[str]:
    choices = "|".join(sorted(map(re.escape, (*phrases, *words.split())), key=len, reverse=True))
    return re.compile(rf"(?<![\w-])(?:{choices or '(?!)'})(?![\w-])", re.IGNORECASE)


_QUANTIFIER = _any_of(_QUANTIFYING_PHRASES, _QUANTIFIERS)
_STANDARD = _any_of(_STANDARD_PHRASES, _STANDARDS)

GROUP = CheckGroup(rules=(QUANTIFIER, STANDARD), check=check, english=True)
MARKS = CheckGroup(rules=(UNFINISHED,), check=check_marks)
