"""The local engine: any Hugging Face causal language model as a judge that scores closed label sets."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch

from promptopt.engines.base import EngineCard, LabelQuery, LabelScores, Usage
from promptopt.engines.forward import PaddedForward, PrefixChunks, SharedPrefixForward, TreeForward, supports_trees
from promptopt.engines.hardware import choose_device, choose_dtype
from promptopt.engines.loading import LoadedModel, load_model
from promptopt.engines.tokenization import SegmentTokenizer, Stretch, TokenIds, without_system_role
from promptopt.engines.trie import LabelStep, TokenTree, add_label_steps, split_prefix
from promptopt.errors import EngineError

_KEEP_HEAD = 0.75


@dataclass(frozen=True, slots=True)
class LocalEngineSettings:
    """How a local judge is loaded and fed.

    Attributes:
        model: Hub id or folder.
        revision: Hub revision; empty for the default branch.
        device: ``auto``, ``cpu`` or ``cuda``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        chat_template: Jinja text that replaces the tokenizer's chat template.
        system_role: False folds the system turn into the user turn.
        max_item_tokens: Case texts are shortened to this many tokens (0: only to the model's context): the first
            three quarters and the last quarter of the allowance are kept, the middle is dropped.
        too_long: ``truncate`` by that rule, or ``unjudged``.
        batch_tokens: Tokens per forward pass.
        prefix_cache_mib: Memory for shared prefixes, in MiB.
        packed: False computes every query on its own (the reference path).
    """

    model: str
    revision: str = ""
    device: str = "auto"
    dtype: str = "auto"
    chat_template: str | None = None
    system_role: bool = True
    max_item_tokens: int = 0
    too_long: str = "truncate"
    batch_tokens: int = 2048
    prefix_cache_mib: int = 1024
    packed: bool = True


@dataclass(slots=True)
class _Query:
    """One query on its way through a batch."""

    row: int
    prefix: PrefixChunks
    trunk: TokenIds
    branch: TokenIds
    labels: tuple[TokenIds, ...]


@dataclass(slots=True)
class _Row:
    """The queries about one case after one prefix, and the tree that answers them."""

    tree: TokenTree
    queries: list[tuple[int, list[list[LabelStep]]]]


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
        self._tokens = SegmentTokenizer(loaded.tokenizer, settings.chat_template)
        self._context = int(getattr(loaded.model.config, "max_position_embeddings", 0) or 1 << 30)
        self._head: torch.Tensor = loaded.model.get_output_embeddings().weight
        self._card = self._make_card()
        self._forward: TreeForward
        if settings.packed and supports_trees(loaded.model):
            self._forward = SharedPrefixForward(loaded.model, settings.prefix_cache_mib << 20)
        else:
            self._forward = PaddedForward(loaded.model, loaded.tokenizer.pad_token_id or 0)

    def describe(self) -> EngineCard:
        return self._card

    def close(self) -> None:
        del self._loaded, self._head, self._forward

    @torch.inference_mode()
    def score(self, queries: Sequence[LabelQuery]) -> LabelScores:
        began = time.perf_counter()
        computed, model_seconds = self._forward.tokens_computed, self._forward.seconds
        width = max((len(q.labels) for q in queries), default=0)
        logprobs = np.full((len(queries), width), np.nan, dtype=np.float32)
        unjudged: dict[int, str] = {}
        dropped: dict[int, int] = {}
        prepared = self._prepare(queries, unjudged, dropped)
        for prefix, rows in self._batches(prepared):
            self._score_batch(prefix, rows, logprobs, unjudged)
        usage = Usage(
            queries=len(queries),
            tokens_submitted=sum(sum(map(len, q.prefix)) + len(q.trunk) + len(q.branch) for q in prepared),
            tokens_computed=self._forward.tokens_computed - computed,
            seconds=time.perf_counter() - began,
            model_seconds=self._forward.seconds - model_seconds,
        )
        return LabelScores(logprobs, unjudged, dropped, usage)

    def _prepare(
        self, queries: Sequence[LabelQuery], unjudged: dict[int, str], dropped: dict[int, int]
    ) -> list[_Query]:
        out = []
        for row, query in enumerate(queries):
            labels = self._tokens.label_ids(query.labels)
            segments = query.segments if self.settings.system_role else without_system_role(query.segments)
            stretches = self._tokens.stretches(LabelQuery(tuple(segments), query.labels))
            fitted = self._fit(stretches, reserve=max(map(len, labels)))
            if isinstance(fitted, str):
                unjudged[row] = fitted
                continue
            stretches, cut = fitted
            if cut:
                dropped[row] = cut
            prefix, rest = split_prefix(stretches)
            last = max((i for i, s in enumerate(rest) if s.from_case), default=-1)
            trunk = tuple(token for s in rest[: last + 1] for token in s.ids)
            branch = tuple(token for s in rest[last + 1 :] for token in s.ids)
            out.append(_Query(row, prefix, trunk, branch, labels))
        return out

    def _fit(self, stretches: list[Stretch], reserve: int) -> tuple[list[Stretch], int] | str:
        """Shortens case text to the limits, or says why the query cannot be judged."""
        case = sum(len(s.ids) for s in stretches if s.from_case)
        fixed = sum(len(s.ids) for s in stretches) - case + reserve
        room = self._context - fixed
        if room < 1:
            return f"the prompt without the case takes {fixed} of the model's {self._context} tokens"
        limit = min(room, self.settings.max_item_tokens or room)
        if case <= limit:
            return stretches, 0
        if self.settings.too_long == "unjudged":
            return f"the text has {case} tokens, more than {limit}"
        out = []
        for s in stretches:
            own = max(1, limit * len(s.ids) // case) if s.from_case else len(s.ids)
            out.append(Stretch(_middle_out(s.ids, own), s.from_case))
        return out, case - sum(len(s.ids) for s in out if s.from_case)

    def _batches(self, queries: list[_Query]) -> list[tuple[PrefixChunks, list[_Row]]]:
        """Rows by prefix, in order of first appearance, sorted by length and cut into batches."""
        by_prefix: dict[PrefixChunks, dict[TokenIds, _Row]] = {}
        for query in queries:
            rows = by_prefix.setdefault(query.prefix, {})
            row = rows.setdefault(query.trunk, _Row(TokenTree(), []))
            end = row.tree.extend(row.tree.extend(-1, query.trunk), query.branch)
            row.queries.append((query.row, add_label_steps(row.tree, end, query.labels)))
        batches = []
        for prefix, rows in by_prefix.items():
            current: list[_Row] = []
            size = 0
            for row in sorted(rows.values(), key=lambda r: len(r.tree)):
                if current and size + len(row.tree) > self.settings.batch_tokens:
                    batches.append((prefix, current))
                    current, size = [], 0
                current.append(row)
                size += len(row.tree)
            batches.append((prefix, current))
        return batches

    def _score_batch(
        self, prefix: PrefixChunks, rows: list[_Row], logprobs: np.ndarray, unjudged: dict[int, str]
    ) -> None:
        wanted = [sorted({s.node for _, labels in row.queries for path in labels for s in path}) for row in rows]
        try:
            states = self._forward.hidden(prefix, [row.tree for row in rows], wanted)
        except torch.OutOfMemoryError as cause:
            torch.cuda.empty_cache()
            if len(rows) == 1:
                raise EngineError(
                    "the device ran out of memory on a single row", remedy="use a smaller model or judge.prefix_cache_mib"
                ) from cause
            middle = len(rows) // 2
            self._score_batch(prefix, rows[:middle], logprobs, unjudged)
            self._score_batch(prefix, rows[middle:], logprobs, unjudged)
            return
        for row, nodes, hidden in zip(rows, wanted, states, strict=True):
            at = {node: i for i, node in enumerate(nodes)}
            for number, labels in row.queries:
                values = self._label_logprobs(labels, at, hidden)
                if all(math.isfinite(v) for v in values):
                    logprobs[number] = -np.inf
                    logprobs[number, : len(values)] = values
                else:
                    unjudged[number] = "the model returned logits that are not finite"

    def _label_logprobs(self, labels: list[list[LabelStep]], at: dict[int, int], hidden: torch.Tensor) -> list[float]:
        """Log-probability of each label: the product of its decisions, each normalised in float32 over its options."""
        known: dict[int, dict[int, float]] = {}
        out = []
        for path in labels:
            total = 0.0
            for step in path:
                if step.node not in known:
                    logits = self._logits(hidden[at[step.node]], step.among)
                    known[step.node] = dict(zip(step.among, torch.log_softmax(logits, dim=0).tolist(), strict=True))
                total += known[step.node][step.token]
            out.append(total)
        return out

    def _logits(self, hidden: torch.Tensor, tokens: TokenIds) -> torch.Tensor:
        """float32 logits of the given tokens only: the head's other rows are never computed."""
        config = self._loaded.model.config
        logits = self._head[list(tokens)].float() @ hidden.float()
        bias = self._loaded.model.get_output_embeddings().bias
        if bias is not None:
            logits = logits + bias[list(tokens)].float()
        logits = logits / float(getattr(config, "logits_scaling", None) or 1.0)
        logits = logits * float(getattr(config, "logit_scale", None) or 1.0)
        cap = getattr(config, "final_logit_softcapping", None)
        return logits if not cap else torch.tanh(logits / cap) * cap

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
            quantization=str((getattr(model.config, "quantization_config", None) or {}) and "yes"),
            chat_template_digest=hashlib.sha256(f"{template}|{settings.system_role}".encode()).hexdigest(),
            truncation=f"{settings.too_long} beyond {limit} tokens, keeping the first {_KEEP_HEAD:.0%} and the end",
            device=next(model.parameters()).device.type,
            versions={name: version(name) for name in ("torch", "transformers", "numpy")},
        )


def _middle_out(ids: TokenIds, keep: int) -> TokenIds:
    """The first three quarters and the last quarter of an allowance of tokens."""
    if len(ids) <= keep:
        return ids
    head = math.ceil(keep * _KEEP_HEAD)
    tail = keep - head
    return ids[:head] + (ids[-tail:] if tail else ())
