"""The output head, computed for label tokens only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

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

    def logprobs(self, states: torch.Tensor, questions: Sequence[Question]) -> list[list[float]]:
        """Log-probabilities of every question's labels.

        Args:
            states: (decisions, hidden size).
            questions: What to read off them; questions with the same label tokens are computed together.

        Returns:
            For each question one natural log-probability per label, normalised over the question's labels.
        """
        asked: dict[TokenIds, dict[int, int]] = {}
        for question in questions:
            for path in question.labels:
                for step in path:
                    rows = asked.setdefault(step.among, {})
                    rows.setdefault(question.states[step.node], len(rows))
        tables = {among: self._table(states, list(rows), among) for among, rows in asked.items()}
        out = []
        for question in questions:
            values = []
            for path in question.labels:
                total = 0.0
                for step in path:
                    row = asked[step.among][question.states[step.node]]
                    total += float(tables[step.among][row, step.among.index(step.token)])
                values.append(total)
            out.append(values)
        return out

    def _table(self, states: torch.Tensor, rows: list[int], among: TokenIds) -> npt.NDArray[np.float32]:
        """float32 log-probabilities (rows, tokens) over the given tokens alone."""
        tokens = torch.tensor(among, device=states.device)
        chosen = states if rows == list(range(len(states))) else states[torch.tensor(rows, device=states.device)]
        logits = chosen.float() @ self._weight[tokens].float().T
        if self._bias is not None:
            logits = logits + self._bias[tokens].float()
        logits = logits * self._scale
        if self._cap:
            logits = torch.tanh(logits / self._cap) * self._cap
        table: npt.NDArray[np.float32] = torch.log_softmax(logits, dim=-1).cpu().numpy()
        return table
