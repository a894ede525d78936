"""The local engine: any Hugging Face causal language model as a judge that scores closed label sets."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from promptopt.engines.base import EngineCard, LabelQuery, LabelScores, TokenCount, Usage
from promptopt.engines.batching import PreparedQuery, Row, cut_batches, group_rows
from promptopt.engines.forward import PaddedForward, SharedPrefixForward, TreeForward, supports_trees
from promptopt.engines.hardware import choose_device, choose_dtype
from promptopt.engines.head import LabelHead, Question
from promptopt.engines.loading import LoadedModel, load_model
from promptopt.engines.tokenization import SegmentTokenizer, TokenIds, without_system_role
from promptopt.engines.trie import PrefixChunks, split_prefix
from promptopt.engines.truncation import KEEP_HEAD, fit

_UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class LocalEngineSettings:
    """How a local judge is loaded and fed.

    Attributes:
        model: Hub id or folder.
        revision: Hub revision; empty for the default branch.
        device: ``auto``, ``cpu`` or ``cuda``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        chat_template: Jinja text that replaces the tokenizer's chat template.
        answer_prefix: Template text between the opening of the judge's turn and the label.
        system_role: False folds the system turn into the user turn.
        max_item_tokens: Case texts are shortened to this many tokens (0: only to the model's context): the first
            three quarters and the last quarter of the allowance are kept, the middle is dropped.
        too_long: ``truncate`` by that rule, or ``unjudged``.
        batch_tokens: Tokens per forward pass; 0 chooses by device and free memory.
        prefix_cache_mib: Memory for shared prefixes, in MiB.
        quantization: ``bitsandbytes-8bit``, ``bitsandbytes-4bit``, ``torchao-int8`` or an empty string.
        compile: Compile feed-forward blocks and norms.
        packed: False computes every query on its own (the reference path).
    """

    model: str
    revision: str = ""
    device: str = "auto"
    dtype: str = "auto"
    chat_template: str | None = None
    answer_prefix: str = ""
    system_role: bool = True
    max_item_tokens: int = 0
    too_long: str = "truncate"
    batch_tokens: int = 0
    prefix_cache_mib: int = 1024
    quantization: str = ""
    compile: bool = False
    packed: bool = True


class LocalEngine:
    """Scores labels with a causal language model; see :class:`promptopt.engines.base.JudgeEngine`.

    Queries that share everything before the case text share its computation, and queries that share the case too (a
    checklist's questions) share the case's. Rows are sorted by length and packed into batches of ``batch_tokens``.

    Args:
        settings: How to load and feed the model.
        loaded: A model that is already in memory; loaded from ``settings`` when None.

    Raises:
        EngineError: The model cannot be loaded, or has no chat template.
    """

    def __init__(self, settings: LocalEngineSettings, loaded: LoadedModel | None = None) -> None:
        self.settings = settings
        device = choose_device(settings.device)
        dtype = choose_dtype(settings.dtype, device)
        loaded = loaded or load_model(settings.model, revision=settings.revision, device=device, dtype=dtype)
        self._loaded = loaded
        self._tokens = SegmentTokenizer(loaded.tokenizer, settings.chat_template, settings.answer_prefix)
        context = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
        self._context = int(context or _UNLIMITED)
        self._head = LabelHead(loaded.model)
        self._card = self._make_card()
        self._forward: TreeForward
        if settings.packed and supports_trees(loaded.model):
            self._forward = SharedPrefixForward(loaded.model, settings.prefix_cache_mib << 20)
        else:
            pad = loaded.tokenizer.pad_token_id or 0
            self._forward = PaddedForward(loaded.model, pad, settings.batch_tokens)

    def describe(self) -> EngineCard:
        return self._card

    def close(self) -> None:
        for name in ("_loaded", "_head", "_forward"):
            self.__dict__.pop(name, None)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def score(self, queries: Sequence[LabelQuery]) -> LabelScores:
        began = time.perf_counter()
        computed, model_seconds = self._forward.tokens_computed, self._forward.seconds
        width = max((len(q.labels) for q in queries), default=0)
        logprobs = np.full((len(queries), width), np.nan, dtype=np.float32)
        unjudged: dict[int, str] = {}
        dropped: dict[int, int] = {}
        prepared = self._prepare(queries, unjudged, dropped)
        for prefix, rows in group_rows(prepared).items():
            for batch in cut_batches(rows, self.settings.batch_tokens):
                self._score_batch(prefix, batch, logprobs, unjudged)
        usage = Usage(
            queries=len(queries),
            tokens_submitted=sum(sum(map(len, q.prefix)) + len(q.trunk) + len(q.branch) for q in prepared),
            tokens_computed=self._forward.tokens_computed - computed,
            seconds=time.perf_counter() - began,
            model_seconds=self._forward.seconds - model_seconds,
        )
        return LabelScores(logprobs, unjudged, dropped, usage)

    def count_tokens(self, queries: Sequence[LabelQuery]) -> TokenCount:
        groups = group_rows(self._prepare(queries, {}, {}))
        return TokenCount(
            prefix=sum(len(chunk) for prefix in groups for chunk in prefix),
            marginal=sum(len(row.tree) for rows in groups.values() for row in rows),
        )

    def _prepare(
        self, queries: Sequence[LabelQuery], unjudged: dict[int, str], dropped: dict[int, int]
    ) -> list[PreparedQuery]:
        out = []
        for row, query in enumerate(queries):
            labels = self._tokens.label_ids(query.labels)
            prepared = self._prepare_one(row, query, labels)
            if isinstance(prepared, str):
                unjudged[row] = prepared
                continue
            ready, cut = prepared
            out.append(ready)
            if cut:
                dropped[row] = cut
        return out

    def _prepare_one(
        self, row: int, query: LabelQuery, labels: tuple[TokenIds, ...]
    ) -> tuple[PreparedQuery, int] | str:
        """The query as tokens and how many of the case's were left out, or why it cannot be judged."""
        settings = self.settings
        segments = query.segments if settings.system_role else without_system_role(query.segments)
        try:
            stretches = self._tokens.stretches(segments)
        except UnicodeEncodeError:
            return "the text is not valid Unicode"
        fitted = fit(
            stretches,
            context=self._context,
            reserve=max(map(len, labels)),
            max_item_tokens=settings.max_item_tokens,
            too_long=settings.too_long,
        )
        if isinstance(fitted, str):
            return fitted
        prefix, rest = split_prefix(fitted[0])
        last = max((i for i, s in enumerate(rest) if s.from_case), default=-1)
        trunk = tuple(token for s in rest[: last + 1] for token in s.ids)
        branch = tuple(token for s in rest[last + 1 :] for token in s.ids)
        if not (prefix or trunk or branch):
            return "the query has no text"
        return PreparedQuery(row, prefix, trunk, branch, labels), fitted[1]

    def _score_batch(
        self, prefix: PrefixChunks, rows: list[Row], logprobs: np.ndarray, unjudged: dict[int, str]
    ) -> None:
        wanted = [row.decision_nodes for row in rows]
        try:
            states = self._forward.hidden(prefix, [row.tree for row in rows], wanted)
        except torch.OutOfMemoryError:
            states = None  # retried below, where the failed pass's memory is no longer held by the exception
        if states is None:
            self._score_halves(prefix, rows, logprobs, unjudged)
            return
        numbers, questions, offset = [], [], 0
        for row, nodes in zip(rows, wanted, strict=True):
            at = {node: offset + i for i, node in enumerate(nodes)}
            offset += len(nodes)
            for number, labels in row.queries:
                numbers.append(number)
                questions.append(Question(at, labels))
        for number, values in zip(numbers, self._head.logprobs(states, questions), strict=True):
            if all(math.isfinite(v) for v in values):
                logprobs[number] = -np.inf
                logprobs[number, : len(values)] = values
            else:
                unjudged[number] = "the model returned logits that are not finite"

    def _score_halves(
        self, prefix: PrefixChunks, rows: list[Row], logprobs: np.ndarray, unjudged: dict[int, str]
    ) -> None:
        torch.cuda.empty_cache()
        if len(rows) == 1:
            for number, _ in rows[0].queries:
                unjudged[number] = "the device ran out of memory on this text alone"
            return
        middle = len(rows) // 2
        self._score_batch(prefix, rows[:middle], logprobs, unjudged)
        self._score_batch(prefix, rows[middle:], logprobs, unjudged)

    def _make_card(self) -> EngineCard:
        model, settings = self._loaded.model, self.settings
        template = self._tokens.chat_template or ""
        limit = settings.max_item_tokens or "context"
        return EngineCard(
            engine="local",
            model=self._loaded.name,
            revision=self._loaded.revision,
            weights_digest=self._loaded.weights_digest,
            dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
            quantization=_quantization(model.config),
            chat_template_digest=_digest(template, settings.answer_prefix, str(settings.system_role)),
            truncation=f"{settings.too_long} beyond {limit} tokens, keeping the first {KEEP_HEAD:.0%} and the end",
            device=next(model.parameters()).device.type,
            versions={name: version(name) for name in ("torch", "transformers", "numpy")},
        )


def _quantization(config: Any) -> str:
    """Name of the weight quantisation, or an empty string."""
    found = getattr(config, "quantization_config", None)
    if not found:
        return ""
    method = found.get("quant_method") if isinstance(found, dict) else getattr(found, "quant_method", None)
    return str(getattr(method, "value", method) or "unnamed")


def _digest(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()
