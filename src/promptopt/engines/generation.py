"""Writing short texts: rationales for people, proposals for prompts.

Requests share their prefixes as judgements do. Each row's own keys and values are kept, so a step computes one token
per row. Sampling draws its noise from the request's seed and the step alone, so a text does not depend on what else is
in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from promptopt.engines.base import Generation, GenerationRequest
from promptopt.engines.forward import PrefixRows, SharedPrefixForward, TreeForward
from promptopt.engines.head import LabelHead
from promptopt.engines.plans import LayerKV, RowCache, TreePlan
from promptopt.engines.prefixes import Prefix
from promptopt.engines.preparing import Prompt, QueryPreparer
from promptopt.engines.trie import TokenTree

_OUT_OF_MEMORY = "the device ran out of memory on this request alone"


@dataclass(slots=True)
class _Draft:
    """A text in the making."""

    number: int
    request: GenerationRequest
    prompt: Prompt
    written: list[int] = field(default_factory=list)
    finish_reason: str = ""

    @property
    def row(self) -> tuple[int, ...]:
        """The prompt's tokens after the shared prefix."""
        return self.prompt.trunk + self.prompt.branch

    @property
    def room(self) -> int:
        """Tokens that the row may come to hold."""
        return len(self.row) + self.request.max_tokens


class _Decoder(Protocol):
    """Says which token comes next, for rows that grow."""

    def start(self, drafts: Sequence[_Draft]) -> torch.Tensor:
        """Hidden states after the prompts: (drafts, hidden size)."""
        ...

    def step(self, drafts: Sequence[_Draft], kept: Sequence[int]) -> torch.Tensor:
        """Hidden states after each draft's newest token; ``kept`` are their places in the step before."""
        ...


class TextWriter:
    """Writes texts with a model that is loaded for judging.

    Args:
        forward: Its forward passes.
        head: Its output head.
        tokenizer: Its tokenizer.
        batch_tokens: Tokens that the rows of a batch may hold together, with what they may grow by.
    """

    def __init__(self, forward: TreeForward, head: LabelHead, tokenizer: Any, batch_tokens: int) -> None:
        self._forward = forward
        self._head = head
        self._tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        self._ends = {tokenizer.eos_token_id, *_turn_ends(tokenizer)} - {None}

    def write(self, requests: Sequence[GenerationRequest], preparer: QueryPreparer) -> list[Generation]:
        """One generation per request, in order.

        Args:
            requests: Any number.
            preparer: Turns their messages into tokens.
        """
        out: dict[int, Generation] = {}
        drafts = []
        for number, request in enumerate(requests):
            prompt = preparer.prompt(request.segments, reserve=request.max_tokens)
            if isinstance(prompt, str):
                out[number] = Generation("", 0, "failed", prompt)
            else:
                drafts.append(_Draft(number, request, _with_row(prompt)))
        # Rows with one prefix stand side by side, as they were announced.
        drafts.sort(key=lambda d: (d.prompt.prefix.tokens, d.room))
        self._forward.announce([d.prompt.prefix for d in drafts])
        for batch in _batches(drafts, self._batch_tokens):
            self._write_batch(batch, out)
        return [out[number] for number in range(len(requests))]

    def _write_batch(self, drafts: list[_Draft], out: dict[int, Generation]) -> None:
        try:
            texts = self._run(drafts)
        except torch.OutOfMemoryError:
            texts = None  # halved below, where the failed pass's memory is no longer held by the exception
        if texts is not None:
            out.update(texts)
            return
        self._forward.release()
        if len(drafts) == 1:
            out[drafts[0].number] = Generation("", 0, "failed", _OUT_OF_MEMORY)
            return
        middle = len(drafts) // 2
        for half in (drafts[:middle], drafts[middle:]):
            for draft in half:
                draft.written, draft.finish_reason = [], ""
            self._write_batch(half, out)

    def _run(self, drafts: list[_Draft]) -> dict[int, Generation]:
        decoder: _Decoder
        if isinstance(self._forward, SharedPrefixForward):
            decoder = _CachedDecoder(self._forward)
        else:
            decoder = _PlainDecoder(self._forward)
        out: dict[int, Generation] = {}
        active = list(drafts)
        states = decoder.start(active)
        while active:
            logits = self._head.logits(states)
            finite = torch.isfinite(logits).all(-1).tolist()
            likeliest = logits.argmax(-1).tolist()
            for i, draft in enumerate(active):
                if not finite[i]:
                    draft.finish_reason = "failed"
                elif draft.request.temperature > 0:
                    self._extend(draft, _sample(logits[i], draft.request, len(draft.written)))
                else:
                    self._extend(draft, likeliest[i])
            kept = [i for i, draft in enumerate(active) if not draft.finish_reason]
            out.update({d.number: self._finished(d) for d in active if d.finish_reason})
            active = [active[i] for i in kept]
            if active:
                states = decoder.step(active, kept)
        return out

    def _extend(self, draft: _Draft, token: int) -> None:
        if token in self._ends:
            draft.finish_reason = "stop"
            return
        draft.written.append(token)
        if draft.request.stop and any(stop in self._text(draft) for stop in draft.request.stop):
            draft.finish_reason = "stop"
        elif len(draft.written) >= draft.request.max_tokens:
            draft.finish_reason = "length"

    def _finished(self, draft: _Draft) -> Generation:
        if draft.finish_reason == "failed":
            return Generation("", len(draft.written), "failed", "the model returned logits that are not finite")
        text = self._text(draft)
        cut = min((text.index(stop) for stop in draft.request.stop if stop in text), default=len(text))
        return Generation(text[:cut], len(draft.written), draft.finish_reason)

    def _text(self, draft: _Draft) -> str:
        return str(self._tokenizer.decode(draft.written, skip_special_tokens=True))


class _CachedDecoder:
    """Keeps the rows' keys and values; one token per row and step goes through the model."""

    def __init__(self, forward: SharedPrefixForward) -> None:
        self._forward = forward
        self._rows: RowCache | None = None
        self._prefixes: list[Prefix] = []

    def start(self, drafts: Sequence[_Draft]) -> torch.Tensor:
        self._prefixes = [d.prompt.prefix for d in drafts]
        lengths = [len(d.row) for d in drafts]
        prefixes, widths = _runs(self._prefixes, lengths)
        spans = self._forward.prefix_spans(prefixes, widths)
        plan = self._forward.plan([list(range(-1, n - 1)) for n in lengths], spans)
        plan.capture = []
        tokens = [token for d in drafts for token in d.row]
        positions = [len(d.prompt.prefix) + i for d in drafts for i in range(len(d.row))]
        states = self._forward.run(tokens, positions, plan)
        self._rows = _row_cache(plan.capture, lengths, max(d.room for d in drafts))
        ends = torch.tensor(lengths, device=states.device).cumsum(0) - 1
        return states[ends]

    def step(self, drafts: Sequence[_Draft], kept: Sequence[int]) -> torch.Tensor:
        rows = self._rows
        if rows is None:
            raise RuntimeError("step before start")
        if len(kept) < len(rows.lengths):
            index = torch.tensor(kept, device=rows.lengths.device)
            rows = RowCache([(k[index], v[index]) for k, v in rows.layers], rows.lengths[index])
            self._prefixes = [self._prefixes[i] for i in kept]
        prefixes, widths = _runs(self._prefixes, [1] * len(drafts))
        plan = TreePlan(self._forward.prefix_spans(prefixes, widths), rows=rows)
        tokens = [d.written[-1] for d in drafts]
        positions = [len(d.prompt.prefix) + len(d.row) + len(d.written) - 1 for d in drafts]
        states = self._forward.run(tokens, positions, plan)
        self._rows = RowCache(rows.layers, rows.lengths + 1)
        return states


class _PlainDecoder:
    """Computes every row anew at each step: slow, and right for every architecture."""

    def __init__(self, forward: TreeForward) -> None:
        self._forward = forward

    def start(self, drafts: Sequence[_Draft]) -> torch.Tensor:
        batch = []
        for draft in drafts:
            tree = TokenTree()
            end = tree.extend(-1, (*draft.row, *draft.written))
            batch.append(PrefixRows(draft.prompt.prefix, [tree], [[end]]))
        return self._forward.hidden(batch)

    def step(self, drafts: Sequence[_Draft], kept: Sequence[int]) -> torch.Tensor:
        return self.start(drafts)


def _sample(logits: torch.Tensor, request: GenerationRequest, step: int) -> int:
    """The next token, by the Gumbel-max trick (Gumbel 1954): the noise depends on seed and step, not on the model."""
    generator = np.random.Generator(np.random.Philox(key=[request.seed % (1 << 64), step]))
    noise = torch.from_numpy(generator.gumbel(size=len(logits)))
    return int((logits.double().cpu() / request.temperature + noise).argmax())


def _with_row(prompt: Prompt) -> Prompt:
    """A prompt whose row holds a token at least: a prefix that ends the prompt gives up its last."""
    if prompt.trunk or prompt.branch:
        return prompt
    tokens = prompt.prefix.tokens
    cuts = (*(c for c in prompt.prefix.cuts if c < len(tokens) - 1), len(tokens) - 1)
    return Prompt(Prefix(tokens[:-1], cuts if len(tokens) > 1 else ()), (), tokens[-1:], prompt.dropped)


def _batches(drafts: Sequence[_Draft], batch_tokens: int) -> list[list[_Draft]]:
    out: list[list[_Draft]] = []
    size = 0
    for draft in drafts:
        if not out or size + draft.room > batch_tokens:
            out.append([])
            size = 0
        out[-1].append(draft)
        size += draft.room
    return out


def _runs(prefixes: Sequence[Prefix], widths: Sequence[int]) -> tuple[list[Prefix], list[int]]:
    """Neighbours with one prefix put together."""
    out: list[Prefix] = []
    sums: list[int] = []
    for prefix, width in zip(prefixes, widths, strict=True):
        if out and out[-1].tokens == prefix.tokens:
            sums[-1] += width
        else:
            out.append(prefix)
            sums.append(width)
    return out, sums


def _row_cache(captured: Sequence[LayerKV], lengths: Sequence[int], room: int) -> RowCache:
    device = captured[0][0].device
    rows = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(device)
    columns = torch.cat([torch.arange(n) for n in lengths]).to(device)
    layers = []
    for packed_key, packed_value in captured:
        kv_heads, _, size = packed_key.shape
        key, value = (packed_key.new_zeros(len(lengths), kv_heads, room, size) for _ in range(2))
        key[rows, :, columns] = packed_key.transpose(0, 1)
        value[rows, :, columns] = packed_value.transpose(0, 1)
        layers.append((key, value))
    return RowCache(layers, torch.tensor(lengths, device=device))


def _turn_ends(tokenizer: Any) -> set[int]:
    """Special tokens with which chat templates end a turn, where the tokenizer has them."""
    names = ("<|im_end|>", "<|eot_id|>", "<|eot|>", "<end_of_turn>", "<|end_of_text|>", "<|return|>", "<|end|>")
    known = {token.content: i for i, token in tokenizer.added_tokens_decoder.items()}
    return {known[name] for name in names if name in known}
