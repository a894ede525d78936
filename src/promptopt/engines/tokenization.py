"""Segment-wise tokenisation: every stretch of a query becomes token ids on its own.

The chat template's own text is the only text whose special tokens are honoured. What prompts and cases say is tokenised
as plain text, so a case that spells out ``<|im_start|>`` stays a text about ``<|im_start|>``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from promptopt.engines.base import LabelQuery, Segment
from promptopt.errors import EngineError, LabelSetError

_SLOT = re.compile("\ue000(\\d+)\ue001")
_TEXT_CACHE = 65_536

TokenIds = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Token ids of one segment, or of a piece of the chat template."""

    ids: TokenIds
    from_case: bool


class SegmentTokenizer:
    """Turns queries into stretches of token ids.

    Args:
        tokenizer: A Hugging Face fast tokenizer.
        chat_template: A Jinja chat template that replaces the tokenizer's own, or None.

    Raises:
        EngineError: The tokenizer has no chat template and none is given.
    """

    def __init__(self, tokenizer: Any, chat_template: str | None = None) -> None:
        self._tokenizer = tokenizer
        self.chat_template: str | None = chat_template or getattr(tokenizer, "chat_template", None)
        if not self.chat_template:
            raise EngineError(
                "the model has no chat template",
                where=str(getattr(tokenizer, "name_or_path", "")) or None,
                remedy="set judge.chat_template to the template that the model was tuned with",
            )
        self._plain = lru_cache(maxsize=_TEXT_CACHE)(self._encode_plain)
        self._frame = lru_cache(maxsize=256)(self._render_frame)
        self._markers = self._control_markers()

    def stretches(self, query: LabelQuery) -> list[Stretch]:
        """The query's tokens in order, up to where the judge's answer begins."""
        messages = _messages(query.segments)
        pieces = self._frame(tuple(role for role, _ in messages))
        out = [Stretch(pieces[0], from_case=False)] if pieces[0] else []
        for (_, segments), piece in zip(messages, pieces[1:], strict=True):
            for segment in segments:
                text = self._defuse(segment.text) if segment.from_case else segment.text
                out.append(Stretch(self._plain(text), segment.from_case))
            if piece:
                out.append(Stretch(piece, from_case=False))
        return [stretch for stretch in out if stretch.ids or stretch.from_case]

    def label_ids(self, labels: Sequence[str]) -> tuple[TokenIds, ...]:
        """Token ids of each label as the opening of the judge's turn.

        Raises:
            LabelSetError: A label has no tokens, or one label's tokens are the beginning of another's.
        """
        ids = tuple(self._plain(label) for label in labels)
        for label, own in zip(labels, ids, strict=True):
            for other, theirs in zip(labels, ids, strict=True):
                if not own or (label != other and theirs[: len(own)] == own):
                    raise LabelSetError(
                        f"the judge's tokenizer cannot tell label {label!r} ({list(own)}) from {other!r} ({list(theirs)})",
                        remedy="choose labels that do not begin alike",
                    )
        return ids

    def _encode_plain(self, text: str) -> TokenIds:
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return tuple(encoded["input_ids"])

    def _encode_template(self, text: str) -> TokenIds:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _render_frame(self, roles: tuple[str, ...]) -> tuple[TokenIds, ...]:
        """Tokens of what the template puts before, between and after the messages' contents."""
        slots = [{"role": role, "content": f"\ue000{i}\ue001"} for i, role in enumerate(roles)]
        try:
            text = self._apply(slots)
        except Exception as cause:
            raise EngineError(
                f"the chat template refuses the turns {list(roles)} ({cause})",
                remedy="set judge.chat_template, or judge.system_role=false for models without a system turn",
            ) from cause
        parts = _SLOT.split(text)
        found = [int(i) for i in parts[1::2]]
        if found != list(range(len(roles))):
            raise EngineError(f"the chat template shows the turns {found} of {list(range(len(roles)))}")
        return tuple(self._encode_template(piece) for piece in parts[::2])

    def _apply(self, messages: list[dict[str, str]]) -> str:
        rendered: str = self._tokenizer.apply_chat_template(
            messages, chat_template=self.chat_template, tokenize=False, add_generation_prompt=True
        )
        return rendered

    def _control_markers(self) -> tuple[str, ...]:
        """Control strings that the template writes in plain text (``[/INST]``), which a case could imitate."""
        special = set(getattr(self._tokenizer, "all_special_tokens", ()))
        written = set(re.findall(r"\[/?[A-Z_]{3,}\]|<\|?[a-z_/]{3,}\|?>|<</?[A-Z]+>>", self.chat_template or ""))
        return tuple(sorted(written - special))

    def _defuse(self, text: str) -> str:
        """Breaks imitated control strings with a space after their first character; other text is left alone."""
        for marker in self._markers:
            if marker in text:
                text = text.replace(marker, f"{marker[0]} {marker[1:]}")
        return text


def without_system_role(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Moves the system turn into the user turn that follows it, for models that have no system turn."""
    out: list[Segment] = []
    for i, segment in enumerate(segments):
        if segment.role != "system":
            out.append(segment)
            continue
        last = i + 1 == len(segments) or segments[i + 1].role != "system"
        out.append(Segment("user", segment.text + ("\n\n" if last else ""), segment.from_case))
    return tuple(out)


def _messages(segments: Sequence[Segment]) -> list[tuple[str, list[Segment]]]:
    messages: list[tuple[str, list[Segment]]] = []
    for segment in segments:
        if messages and messages[-1][0] == segment.role:
            messages[-1][1].append(segment)
        else:
            messages.append((segment.role, [segment]))
    return messages
