"""The configuration of a judge: which model, how it is run, and how it likes to be asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from promptopt.core.model import FrozenModel


class JudgeConfig(FrozenModel):
    """One judge.

    Attributes:
        name: What people call it.
        engine: ``local`` runs a Hugging Face model in this process; ``fake`` is a deterministic stand-in without a
            model, for tests and dry runs.
        model: Name in the model catalog (``promptopt models list``), hub id, or folder.
        revision: Hub revision; empty for the default branch.
        device: ``auto``, ``cpu`` or ``cuda``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        chat_template: Jinja text that replaces the model's chat template.
        answer_prefix: Template text between the opening of the judge's turn and the label.
        system_role: False for models that have no system turn.
        max_item_tokens: Longest case text in tokens; 0 for the model's context.
        too_long: What happens to longer texts: ``truncate`` keeps the first three quarters and the last quarter of
            the allowance, ``unjudged`` gives no verdict.
        batch_tokens: Tokens per forward pass.
        prefix_cache_mib: Memory for shared prefixes, in MiB.
        label_words: Pairs (violating, allowed) that suit the model; searched besides those of the search space.
        licence: Licence of the weights, and what it asks for.
        notes: What to know before using it.
    """

    name: str
    engine: Literal["local", "fake"] = "local"
    model: str = ""
    revision: str = ""
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    chat_template: str | None = None
    answer_prefix: str = ""
    system_role: bool = True
    max_item_tokens: int = Field(default=256, ge=0)
    too_long: Literal["truncate", "unjudged"] = "truncate"
    batch_tokens: int = Field(default=2048, ge=16)
    prefix_cache_mib: int = Field(default=1024, ge=1)
    label_words: tuple[tuple[str, str], ...] = ()
    licence: str = ""
    notes: str = ""
