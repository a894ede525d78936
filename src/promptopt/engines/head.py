"""The output head, computed for label tokens only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from promptopt.engines.hardware import to_device
from promptopt.engines.tokenization import TokenIds
from promptopt.engines.trie import LabelStep


@dataclass(frozen=True, slots=True)
class Question:
    """Where a query's decisions are found.

    Attributes:
        states: Tree node to its row among the batch's hidden states.
        labels: For each label the decisions whose probabilities multiply to the label's.
    """

    states: Mapping[int, int]
    labels: Sequence[Sequence[LabelStep]]


class LabelHead:
    """Turns hidden states into label log-probabilities without computing the rest of the vocabulary.

    Args:
        model: A causal language model with an output embedding.
    """

    def __init__(self, model: Any) -> None:
        head = model.get_output_embeddings()
        config = model.config.get_text_config()
        self._weight: torch.Tensor = head.weight
        self._bias: torch.Tensor | None = getattr(head, "bias", None)
        self._scale = float(getattr(config, "logit_scale", None) or 1.0)
        self._scale /= float(getattr(config, "logits_scaling", None) or 1.0)
        self._cap = float(getattr(config, "final_logit_softcapping", None) or 0.0)

    def launch(self, states: torch.Tensor, questions: Sequence[Question]) -> PendingLogprobs:
        """Starts computing the log-probabilities of every question's labels, without waiting for the device.

        Args:
            states: (decisions, hidden size).
            questions: What to read off them; questions with the same label tokens are computed together.
        """
        asked: dict[TokenIds, dict[int, int]] = {}
        for question in questions:
            for path in question.labels:
                for step in path:
                    rows = asked.setdefault(step.among, {})
                    rows.setdefault(question.states[step.node], len(rows))
        tables = {among: _to_cpu(self._table(states, list(rows), among)) for among, rows in asked.items()}
        done = None
        if states.is_cuda:
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record()
        return PendingLogprobs(questions, asked, tables, done)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """float32 logits over the whole vocabulary: (rows, vocabulary)."""
        return self._finish(torch.nn.functional.linear(states, self._weight).float(), self._bias)

    def _table(self, states: torch.Tensor, rows: list[int], among: TokenIds) -> torch.Tensor:
        """float32 log-probabilities (rows, tokens) over the given tokens alone."""
        tokens = to_device(among, states.device)
        chosen = states if rows == list(range(len(states))) else states[to_device(rows, states.device)]
        logits = chosen.float() @ self._weight[tokens].float().T
        return torch.log_softmax(self._finish(logits, None if self._bias is None else self._bias[tokens]), dim=-1)

    def _finish(self, logits: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if bias is not None:
            logits = logits + bias.float()
        logits = logits * self._scale
        return torch.tanh(logits / self._cap) * self._cap if self._cap else logits


@dataclass(frozen=True, slots=True)
class PendingLogprobs:
    """Log-probabilities that the device may still be computing.

    Attributes:
        questions: Whose they are.
        rows: For each set of tokens, the row of its table that each state has.
        tables: For each set of tokens log-probabilities (rows, tokens), on their way to the processor.
        done: CUDA event after which the tables are there; None when they are.
    """

    questions: Sequence[Question]
    rows: Mapping[TokenIds, Mapping[int, int]]
    tables: Mapping[TokenIds, torch.Tensor]
    done: Any = None

    def read(self) -> list[list[float]]:
        """For each question one natural log-probability per label, normalised over the question's labels."""
        if self.done is not None:
            self.done.synchronize()
        tables = {among: table.numpy() for among, table in self.tables.items()}
        return [
            [
                sum(
                    float(tables[s.among][self.rows[s.among][question.states[s.node]], s.among.index(s.token)])
                    for s in path
                )
                for path in question.labels
            ]
            for question in self.questions
        ]


def _to_cpu(table: torch.Tensor) -> torch.Tensor:
    if not table.is_cuda:
        return table
    return torch.empty(table.shape, dtype=table.dtype, pin_memory=True).copy_(table, non_blocking=True)
