"""Segment-wise tokenisation: every stretch of a query becomes token ids on its own.

The chat template's own text is the only text whose special tokens are honoured. What prompts and cases say is tokenised
as plain text, so a case that spells out ``<|im_start|>`` stays a text about ``<|im_start|>``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from promptopt.engines.base import Segment
from promptopt.errors import EngineError, LabelSetError

_SLOT = re.compile("\ue000(\\d+)\ue001")
_MARKUP = re.compile(r"<\S*>|\[\S*\]")
_TEXT_CACHE = 65_536
_TEMPLATE_DATE = {
    "%Y": "2025", "%m": "01", "%d": "01", "%B": "January", "%b": "Jan", "%A": "Wednesday", "%a": "Wed",
    "%H": "00", "%M": "00", "%S": "00",
}  # fmt: skip

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
        answer_prefix: Text in the template's language that follows the opening of the judge's turn, such as the
            empty thinking block that tells a reasoning model to answer at once. Spaces at its end go to the labels,
            because most vocabularies join a space to the word that follows.

    Raises:
        EngineError: The tokenizer is not a fast one, or has no chat template and none is given.
    """

    def __init__(self, tokenizer: Any, chat_template: str | None = None, answer_prefix: str = "") -> None:
        name = str(getattr(tokenizer, "name_or_path", "")) or None
        if getattr(tokenizer, "backend_tokenizer", None) is None:
            raise EngineError("the tokenizer has no fast implementation", where=name, remedy="add a tokenizer.json")
        self._tokenizer = tokenizer
        self.chat_template = chat_template or _own_template(tokenizer)
        if not self.chat_template:
            raise EngineError(
                "the model has no chat template",
                where=name,
                remedy="set judge.chat_template to the template that the model was tuned with",
            )
        self._answer_prefix = answer_prefix.rstrip(" ")
        self._label_lead = answer_prefix[len(self._answer_prefix) :]
        self._control = _control_tokens(tokenizer)
        self._text_backend = _without_control_tokens(tokenizer, frozenset(self._control.values()))
        self._plain = lru_cache(maxsize=_TEXT_CACHE)(self._encode_plain)
        self._frame = lru_cache(maxsize=256)(self._render_frame)
        self._markers = self._written_markers()

    def stretches(self, segments: Sequence[Segment]) -> list[Stretch]:
        """The tokens of a query's segments in order, up to where the judge's answer begins.

        Raises:
            EngineError: The chat template refuses the turns.
            UnicodeEncodeError: A text holds lone surrogates.
        """
        messages = _messages(segments)
        pieces = self._frame(tuple(role for role, _ in messages))
        out = [Stretch(pieces[0], from_case=False)]
        for (_, parts), piece in zip(messages, pieces[1:], strict=True):
            for part in parts:
                text = self._defuse(part.text, self._markers) if part.from_case else part.text
                out.append(Stretch(self._plain(text), part.from_case))
            out.append(Stretch(piece, from_case=False))
        return [stretch for stretch in out if stretch.ids or stretch.from_case]

    def label_ids(self, labels: Sequence[str]) -> tuple[TokenIds, ...]:
        """Token ids of each label as the opening of the judge's turn.

        Raises:
            LabelSetError: There are fewer than two labels, a label has no tokens, or one label's tokens are the
                beginning of another's.
        """
        if len(labels) < 2:
            raise LabelSetError(f"a question needs two labels or more, found {list(labels)}")
        ids = tuple(self._plain(self._label_lead + label) for label in labels)
        for i, own in enumerate(ids):
            for j, theirs in enumerate(ids):
                if not own or (i != j and theirs[: len(own)] == own):
                    raise LabelSetError(
                        f"the judge's tokenizer cannot tell label {labels[i]!r} ({list(own)}) from "
                        f"{labels[j]!r} ({list(theirs)})",
                        remedy="choose labels that do not begin alike",
                    )
        return ids

    def _encode_plain(self, text: str) -> TokenIds:
        text.encode()  # a lone surrogate is reported here, as what it is
        ids = self._text_backend.encode(text, add_special_tokens=False).ids
        if not self._control.keys().isdisjoint(ids):
            # Vocabularies that list their control tokens among the ordinary pieces (Unigram) still match them.
            text = self._defuse(text, self._control.values())
            ids = self._text_backend.encode(text, add_special_tokens=False).ids
            ids = [i for i in ids if i not in self._control]
        return tuple(ids)

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
            raise EngineError(
                f"the chat template shows the turns {found} of {list(range(len(roles)))}",
                remedy="set judge.chat_template to one that shows every turn once and in order",
            )
        return tuple(self._encode_template(piece) for piece in parts[::2])

    def _apply(self, messages: list[dict[str, str]]) -> str:
        rendered: str = self._tokenizer.apply_chat_template(
            messages,
            chat_template=_with_fixed_date(self.chat_template or ""),
            tokenize=False,
            add_generation_prompt=True,
            date_string="01 Jan 2025",
        )
        return rendered + self._answer_prefix

    def _written_markers(self) -> tuple[str, ...]:
        """Control strings that the template writes in plain text (``[/INST]``), which a case could imitate."""
        written_text = (self.chat_template or "") + self._answer_prefix
        written = set(re.findall(r"\[/?[A-Z_]{3,}\]|<\|?[a-z_/]{3,}\|?>|<</?[A-Z]+>>", written_text))
        return tuple(sorted(written - set(self._control.values())))

    @staticmethod
    def _defuse(text: str, markers: Iterable[str]) -> str:
        """Breaks imitated control strings with a space after their first character; other text is left alone."""
        for marker in markers:
            if marker in text:
                text = text.replace(marker, f"{marker[0]} {marker[1:]}")
        return text


def _own_template(tokenizer: Any) -> str | None:
    template: str | dict[str, str] | None = getattr(tokenizer, "chat_template", None)
    return template.get("default") if isinstance(template, dict) else template


def _control_tokens(tokenizer: Any) -> dict[int, str]:
    """Tokens that text must never turn into: the special ones and those written like markup, without the unknown."""
    added = tokenizer.added_tokens_decoder
    control = {i: str(t.content) for i, t in added.items() if t.special or _MARKUP.fullmatch(t.content.strip())}
    control.update(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    if not any(t.content == tokenizer.unk_token and t.special for t in added.values()):
        control.pop(tokenizer.unk_token_id, None)
    return control


def _without_control_tokens(tokenizer: Any, control: frozenset[str]) -> Any:
    """A copy of the backend tokenizer that has never heard of its control tokens."""
    backend = tokenizer.backend_tokenizer
    plain = json.loads(backend.to_str())
    plain["added_tokens"] = [token for token in plain["added_tokens"] if token["content"] not in control]
    plain["truncation"] = plain["padding"] = None
    copy = type(backend).from_str(json.dumps(plain))
    copy.encode_special_tokens = True
    return copy


def _with_fixed_date(template: str) -> str:
    """The template with a date of its own in place of today's: a score must not change overnight.

    A macro hides the function that transformers offers to templates; passing another function is not possible, since
    it turns every argument into text.
    """
    if "strftime_now" not in template:
        return template
    filters = "".join(f" | replace('{code}', '{value}')" for code, value in _TEMPLATE_DATE.items())
    return f"{{%- macro strftime_now(format) -%}}{{{{ format{filters} }}}}{{%- endmacro -%}}{template}"


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
