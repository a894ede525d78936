"""Reads a document in Markdown: its headings, and the text under each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from promptopt.core.model import FrozenModel
from promptopt.core.yaml_file import read_utf8_text
from promptopt.errors import PolicyError
from promptopt.policy.wording import printable

MAX_DOCUMENT_BYTES = 200 * 1024
MAX_SECTIONS = 60
_DIVIDE = "divide it into one document for each risk domain"


class Section(FrozenModel):
    """A heading with the text under it.

    Attributes:
        line: Line of the heading, counted from 1.
        heading: Its text.
        path: The headings above it, the outermost first; the document's title is none of them.
        text: The text up to the next heading, on one line; items of a list are divided by semicolons.
    """

    line: int
    heading: str
    path: tuple[str, ...] = ()
    text: str = ""


class Document(FrozenModel):
    """A document.

    Attributes:
        name: Name of its file.
        title: Its title, or empty.
        preamble: The text before the first section.
        sections: The sections that become clauses; a heading that only groups others is in their paths.
    """

    name: str
    title: str = ""
    preamble: str = ""
    sections: tuple[Section, ...] = ()


@dataclass(slots=True)
class _Heading:
    level: int
    line: int
    heading: str
    blocks: list[str] = field(default_factory=list)


def read_document(path: Path) -> Document:
    """Reads a Markdown document.

    Args:
        path: A UTF-8 file of at most 200 KiB, which is about 70 pages.

    Returns:
        Its title and sections. A heading of the first level that no other shares is the title, if it comes first;
        code, HTML and pictures are left out.

    Raises:
        PolicyError: The file is missing, too large, not UTF-8, empty, has no headings, or has more than 60 sections.
    """
    text = printable(read_utf8_text(path, PolicyError, MAX_DOCUMENT_BYTES))
    if not text.strip():
        raise PolicyError("the document is empty", where=path, remedy="write headings with the rules under them")
    first, headings = _headings(_body(text))
    if not headings:
        raise PolicyError(
            "the document has no headings, of which clauses could be made",
            where=path,
            remedy="put a heading such as `## Threats` before each rule",
        )
    title = ""
    alone = [h.level for h in headings].count(1) == 1
    if alone and headings[0].level == 1 and len(headings) > 1:
        title, first = headings[0].heading, [*first, *headings[0].blocks]
        headings = headings[1:]
    sections = _sections(headings)
    if len(sections) > MAX_SECTIONS:
        where = f"{path}:{sections[MAX_SECTIONS].line}"
        what = f"the document has {len(sections)} sections, and a policy is laid out from at most {MAX_SECTIONS}"
        raise PolicyError(what, where=where, remedy=_DIVIDE)
    return Document(name=path.name, title=title, preamble=_joined(first), sections=sections)


def _body(text: str) -> str:
    """The text with blank lines in place of front matter, so that lines keep their numbers."""
    lines = text.split("\n")
    if lines[0].rstrip() == "---" and "---" in (rest := [line.rstrip() for line in lines[1:]]):
        end = rest.index("---") + 2
        lines[:end] = [""] * end
    return "\n".join(lines)


def _headings(text: str) -> tuple[list[str], list[_Heading]]:
    """The blocks before the first heading, and the headings with the blocks under each."""
    before: list[str] = []
    found: list[_Heading] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    items = 0
    for place, token in enumerate(tokens):
        items += (token.type == "list_item_open") - (token.type == "list_item_close")
        if token.type != "inline":
            continue
        said, opened = _flat(token.children or ()), tokens[place - 1]
        if opened.type == "heading_open" and opened.level == 0:
            found.append(_Heading(int(opened.tag[1]), (opened.map or [0])[0] + 1, said))
        elif said:
            (found[-1].blocks if found else before).append(f"{said.rstrip('.;,')};" if items else said)
    return before, found


def _sections(headings: Sequence[_Heading]) -> tuple[Section, ...]:
    above: list[_Heading] = []
    sections = []
    for place, heading in enumerate(headings):
        above = [h for h in above if h.level < heading.level]
        groups = place + 1 < len(headings) and headings[place + 1].level > heading.level
        if heading.blocks or not groups:
            path = tuple(h.heading for h in above)
            text = _joined(heading.blocks)
            sections.append(Section(line=heading.line, heading=heading.heading, path=path, text=text))
        above.append(heading)
    return tuple(sections)


def _flat(tokens: Sequence[Token]) -> str:
    """The text of a paragraph without its marks."""
    parts = []
    for token in tokens:
        if token.type in ("text", "code_inline"):
            parts.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            parts.append(" ")
    return " ".join("".join(parts).split())


def _joined(blocks: Sequence[str]) -> str:
    joined = " ".join(blocks)
    return f"{joined[:-1]}." if joined.endswith(";") else joined
