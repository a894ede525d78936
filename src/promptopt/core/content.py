"""Content with named parts, and its rendering as one text.

A part begins at the start of a line with its label (``Title: ``); every further line of it is indented. No line of a
part can therefore stand where a label does, whatever the part says: one rendering has one reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from promptopt.core.model import FrozenModel

PART_NAME: Final = r"^[a-z][a-z0-9_]{0,39}$"
PartName = Annotated[str, StringConstraints(pattern=PART_NAME)]
# what people read first comes first; parts of other names follow in the order of the alphabet
PART_ORDER: Final = ("title", "text", "body", "transcript", "ocr", "comments", "author_note")
PLAIN: Final = "text"
LEFT_OUT: Final = "[...]"
_INDENT = "  "


class ImagePart(FrozenModel):
    """A picture, carried along for judges that see.

    Attributes:
        kind: Always ``image``.
        reference: Where it is: a path, an address or a digest. It is never opened here.
        media_type: Such as ``image/png``.
    """

    kind: Literal["image"]
    reference: Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[!-~]+$")]
    media_type: Annotated[str, StringConstraints(pattern=r"^image/[a-z0-9.+-]+$")]


Parts = Mapping[str, str | ImagePart]


class PartLimit(FrozenModel):
    """How much of a part is read.

    Attributes:
        max_chars: Most characters (Unicode code points); of a longer part the rest is left out, and said to be.
        keep: Which stay: the first (``head``), the last (``tail``), or three quarters of them from the beginning and
            the others from the end (``ends``), as engines shorten a text that is too long.
    """

    max_chars: int = Field(ge=1)
    keep: Literal["head", "tail", "ends"] = "head"

    def shorten(self, text: str) -> str:
        """The text, or what is left of it with ``[...]`` where something was left out."""
        if len(text) <= self.max_chars:
            return text
        head = {"head": self.max_chars, "tail": 0, "ends": -(-3 * self.max_chars // 4)}[self.keep]
        tail = self.max_chars - head
        ends = text[:head].rstrip(), LEFT_OUT, text[-tail:].lstrip() if tail else ""
        return " ".join(piece for piece in ends if piece)


class PartedText(str):
    """The rendering of all parts of a case, which remembers the parts.

    It is a text like any other to whatever does not ask for parts; a question that reads some of the parts renders
    those (:class:`promptopt.core.reading.Reading`).

    Args:
        parts: Part name to text or image; blank texts are left out.

    Attributes:
        parts: The parts that are not blank, in the order in which they are rendered.

    Raises:
        ValueError: A name that no part can have, or a value that is neither a text nor an image.
    """

    parts: dict[str, str | ImagePart]

    def __new__(cls, parts: Mapping[str, Any]) -> PartedText:
        read = {name: _part(name, value) for name, value in parts.items()}
        kept = {name: read[name] for name in in_order(read) if not _is_blank(read[name])}
        made = super().__new__(cls, render_parts(kept))
        made.parts = kept
        return made

    def __getnewargs__(self) -> tuple[Any]:
        return (self.parts,)


def in_order(names: Iterable[str]) -> list[str]:
    """Part names in the order in which they are rendered."""
    place = {name: i for i, name in enumerate(PART_ORDER)}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))


def part_label(name: str) -> str:
    """What stands before a part: ``Author note`` for ``author_note``; no two names have one label."""
    return "OCR" if name == "ocr" else name[0].upper() + name[1:].replace("_", " ")


def render_parts(parts: Parts) -> str:
    """The parts as one text, in the order given.

    Args:
        parts: Part name to text or image. An image is rendered as what is known of it, for people and for digests.

    Returns:
        A labelled stretch per part; a single part named ``text`` is that text, as if there were no parts.
    """
    if list(parts) == [PLAIN] and isinstance(parts[PLAIN], str):
        return str(parts[PLAIN])
    return "\n".join(f"{part_label(name)}: {_indented(value)}" for name, value in parts.items())


def _indented(value: str | ImagePart) -> str:
    if isinstance(value, ImagePart):
        return f"[image, {value.media_type}, {value.reference}]"
    first, *others = value.strip().splitlines()
    return "\n".join([first, *(_INDENT + line if line.strip() else "" for line in others)])


def _is_blank(value: str | ImagePart) -> bool:
    return isinstance(value, str) and not value.strip()


def _part(name: str, value: Any) -> str | ImagePart:
    if not isinstance(name, str) or not re.fullmatch(PART_NAME, name):
        raise ValueError(f"{str(name)[:40]!r} is no name for a part (small letters, digits and _, a letter first)")
    if isinstance(value, Mapping):
        try:
            return ImagePart.model_validate(dict(value))
        except ValueError:
            raise ValueError(
                f"part `{name}` is neither a text nor an image with kind, reference and media_type"
            ) from None
    if value is None:
        return ""
    if not isinstance(value, str | ImagePart):
        raise ValueError(f"part `{name}` holds {type(value).__name__}, neither a text nor an image")
    return value
