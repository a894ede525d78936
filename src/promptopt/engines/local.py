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
import numpy.typing as npt
import torch

from promptopt.engines.base import (
    EngineCard,
    Generation,
    GenerationRequest,
    LabelQuery,
    LabelScores,
    TokenCount,
    Usage,
)
from promptopt.engines.batching import Row, cut_batches, group_rows
from promptopt.engines.forward import PrefixRows, SharedPrefixForward, TreeForward, supports_trees
from promptopt.engines.generation import TextWriter
from promptopt.engines.hardware import choose_batch_tokens, choose_device, choose_dtype
from promptopt.engines.head import LabelHead, PendingLogprobs, Question
from promptopt.engines.loading import LoadedModel, compile_blocks, load_model
from promptopt.engines.padded import PaddedForward
from promptopt.engines.prefixes import Prefix, edge_count
from promptopt.engines.preparing import QueryPreparer
from promptopt.engines.tokenization import SegmentTokenizer
from promptopt.engines.truncation import KEEP_HEAD

_UNLIMITED = 1 << 30
_FEWEST_BATCH_TOKENS = 64


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


@dataclass(frozen=True, slots=True)
class _Launched:
    """A batch that the device may still be working on."""

    numbers: list[int]
    answers: PendingLogprobs


class LocalEngine:
    """Scores labels with a causal language model; see :class:`promptopt.engines.base.JudgeEngine`.

    All queries of a call are laid out as one trie: prompts that begin alike share the computation of their beginning,
    queries with one prompt share all before the case text, and queries that share the case too (a checklist's
    questions) share the case's. Rows are packed into batches of ``batch_tokens``; the next batch is prepared while the
    device works on the last. Prefixes stay resident from call to call.

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
        loaded = loaded or load_model(
            settings.model,
            revision=settings.revision,
            device=device,
            dtype=dtype,
            quantization=settings.quantization,
        )
        if settings.compile:
            compile_blocks(loaded.model)
        self._loaded = loaded
        tokens = SegmentTokenizer(loaded.tokenizer, settings.chat_template, settings.answer_prefix)
        self._tokens = tokens
        config = loaded.model.config.get_text_config()
        self._queries = QueryPreparer(
            tokens,
            context=int(getattr(config, "max_position_embeddings", None) or _UNLIMITED),
            system_role=settings.system_role,
            max_item_tokens=settings.max_item_tokens,
            too_long=settings.too_long,
        )
        self._head = LabelHead(loaded.model)
        self._card = self._make_card()
        weights = next(loaded.model.parameters())
        self._batch_tokens = choose_batch_tokens(settings.batch_tokens, config, weights.device, dtype)
        self._forward: TreeForward
        if settings.packed and supports_trees(loaded.model):
            self._forward = SharedPrefixForward(loaded.model, settings.prefix_cache_mib << 20)
        else:
            pad = loaded.tokenizer.pad_token_id or 0
            self._forward = PaddedForward(loaded.model, pad, self._batch_tokens)

    @property
    def batch_tokens(self) -> int:
        """Tokens per forward pass, as chosen; halved whenever the device runs out of memory."""
        return self._batch_tokens

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
        prepared = self._queries.prepare(queries, unjudged, dropped)
        groups = group_rows(prepared)
        self._forward.announce([rows[0].prefix for rows in groups.values()])
        launched: _Launched | None = None
        for batch in cut_batches(groups, self._batch_tokens):
            following = self._launch(batch, logprobs, unjudged)
            _collect(launched, logprobs, unjudged)
            launched = following
        _collect(launched, logprobs, unjudged)
        usage = Usage(
            queries=len(queries),
            tokens_submitted=sum(len(q.prefix) + len(q.trunk) + len(q.branch) for q in prepared),
            tokens_computed=self._forward.tokens_computed - computed,
            seconds=time.perf_counter() - began,
            model_seconds=self._forward.seconds - model_seconds,
        )
        return LabelScores(logprobs, unjudged, dropped, usage)

    def count_tokens(self, queries: Sequence[LabelQuery]) -> TokenCount:
        groups = group_rows(self._queries.prepare(queries, {}, {}))
        return TokenCount(
            prefix=edge_count(groups),
            marginal=sum(len(row.tree) for rows in groups.values() for row in rows),
        )

    @torch.inference_mode()
    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        writer = TextWriter(self._forward, self._head, self._loaded.tokenizer, self._batch_tokens)
        return writer.write(requests, self._queries)

    def _launch(
        self, rows: Sequence[Row], logprobs: npt.NDArray[np.float32], unjudged: dict[int, str]
    ) -> _Launched | None:
        """Puts a batch on the device; a batch that its memory cannot hold is halved until it can."""
        wanted = [row.decision_nodes for row in rows]
        batch = [
            PrefixRows(prefix, [rows[i].tree for i in members], [wanted[i] for i in members])
            for prefix, members in _by_prefix(rows)
        ]
        try:
            return self._ask(rows, wanted, self._forward.hidden(batch))
        except torch.OutOfMemoryError:
            pass  # retried below, where the failed pass's memory is no longer held by the exception
        self._forward.release()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(rows) == 1:
            for number, _ in rows[0].queries:
                unjudged[number] = "the device ran out of memory on this text alone"
            return None
        total = sum(len(row.tree) for row in rows)
        self._batch_tokens = min(self._batch_tokens, max(_FEWEST_BATCH_TOKENS, total // 2))
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            _collect(self._launch(half, logprobs, unjudged), logprobs, unjudged)
        return None

    def _ask(self, rows: Sequence[Row], wanted: Sequence[Sequence[int]], states: torch.Tensor) -> _Launched:
        numbers, questions, offset = [], [], 0
        for row, nodes in zip(rows, wanted, strict=True):
            at = {node: offset + i for i, node in enumerate(nodes)}
            offset += len(nodes)
            for number, labels in row.queries:
                numbers.append(number)
                questions.append(Question(at, labels))
        return _Launched(numbers, self._head.launch(states, questions))

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
            quantization=settings.quantization or _quantization(model.config),
            chat_template_digest=_digest(template, settings.answer_prefix, str(settings.system_role)),
            truncation=f"{settings.too_long} beyond {limit} tokens, keeping the first {KEEP_HEAD:.0%} and the end",
            device=next(model.parameters()).device.type,
            versions={name: version(name) for name in ("torch", "transformers", "numpy")},
        )


def _collect(launched: _Launched | None, logprobs: npt.NDArray[np.float32], unjudged: dict[int, str]) -> None:
    if launched is None:
        return
    for number, values in zip(launched.numbers, launched.answers.read(), strict=True):
        if all(math.isfinite(v) for v in values):
            logprobs[number] = -np.inf
            logprobs[number, : len(values)] = values
        else:
            unjudged[number] = "the model returned logits that are not finite"


def _by_prefix(rows: Sequence[Row]) -> list[tuple[Prefix, list[int]]]:
    """Prefixes in the order of the rows, each with the numbers of its rows, which are neighbours."""
    out: list[tuple[Prefix, list[int]]] = []
    for i, row in enumerate(rows):
        if not out or out[-1][0].tokens != row.prefix.tokens:
            out.append((row.prefix, []))
        out[-1][1].append(i)
    return out


def _quantization(config: Any) -> str:
    """Name of the weight quantisation, or an empty string."""
    found = getattr(config, "quantization_config", None)
    if not found:
        return ""
    method = found.get("quant_method") if isinstance(found, dict) else getattr(found, "quant_method", None)
    return str(getattr(method, "value", method) or "unnamed")


def _digest(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()
