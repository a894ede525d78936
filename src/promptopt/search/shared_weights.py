"""Weights of a panel's words that lean on what other prompts of the same sweep said of the same cases.

A hundred cases are few for fifty weights. Every other prompt that a sweep has judged read the same words about the same
cases, and is paid for: what all of them have in common is known better than what is this prompt's own. The weights of
one prompt are therefore drawn to those that serve all (docs/design/verbalizer.md has the measurements). They are part
of the procedure that is shipped; the prompt costs in production what it did before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from promptopt.core.case import GoldenCase
from promptopt.metrics.arrays import FloatArray
from promptopt.metrics.calibration import MIN_PER_CLASS
from promptopt.metrics.weights import fit_shared_weights
from promptopt.policy.procedure import DIRECT_QUESTION, Procedure
from promptopt.policy.verbalizer import word_features
from promptopt.search.candidates import CandidateMaker
from promptopt.search.judging import AnsweringJudge
from promptopt.search.study import TrialRecord
from promptopt.search.weighing import PANEL_PENALTY, is_unfitted, weigh

SHARED_PENALTY: Final = 20.0
"""Of the distance to the shared weights; anything from 5 to 40 does as well."""


@dataclass(frozen=True, slots=True)
class PanelAnswers:
    """What a panel of words said of some cases with one prompt.

    Attributes:
        words: The labels of the lowered prompt.
        table: Their probabilities, (cases, words); NaN where not judged.
    """

    words: tuple[str, ...]
    table: FloatArray

    def features_of(self, words: Sequence[str]) -> FloatArray:
        """Features of these words, (cases, words); NaN for a word that is not among its own."""
        found = np.full((len(self.table), len(words)), np.nan)
        features, place = word_features(self.table), {word: i for i, word in enumerate(self.words)}
        for column, word in enumerate(words):
            if word in place:
                found[:, column] = features[:, place[word]]
        return found


class SharedWeights:
    """All prompts of a sweep, for the weights of one of them.

    Args:
        panels: What each of them said of the cases.
        cases: The cases; search cases only.
    """

    def __init__(self, panels: Sequence[PanelAnswers], cases: Sequence[GoldenCase]) -> None:
        self._panels = tuple(panels)
        self._cases = tuple(cases)
        self._labels = np.array([case.is_violation for case in cases], dtype=np.bool_)

    @classmethod
    def of(
        cls,
        records: Sequence[TrialRecord],
        seen: Sequence[GoldenCase],
        maker: CandidateMaker,
        judge: AnsweringJudge,
        cases: Sequence[GoldenCase],
    ) -> SharedWeights:
        """Reads what a sweep's verbalized prompts said; nothing of it is judged anew.

        Args:
            records: The sweep's trials.
            seen: The search cases in the order in which candidates met them: a trial of n cases saw the first n.
            maker: Makes programs from candidates.
            judge: The judge behind the score store.
            cases: The search cases, in the order in which weights are fitted.
        """
        place = {case.id: row for row, case in enumerate(cases)}
        panels = []
        for record in (record for record in records if record.repeats is None and record.cases):
            program = maker.program(record.candidate)
            if program.procedure.shape != "verbalized":
                continue
            (prompt,) = program.lower()
            read = seen[: record.cases]
            table = np.full((len(cases), len(prompt.labels)), np.nan)
            table[[place[case.id] for case in read]] = judge.answers([prompt], read).probabilities[prompt.question]
            panels.append(PanelAnswers(tuple(prompt.labels), table))
        return cls(panels, cases)

    def weigh(self, procedure: Procedure, words: Sequence[str], answers: Mapping[str, FloatArray]) -> Procedure:
        """The procedure with its weights, drawn to those of all prompts.

        Args:
            procedure: Any; one that is not verbalized, or has its weights, is treated as :func:`weigh` treats it.
            words: The labels of its lowered prompt.
            answers: Question name to answers about the cases, as :func:`weigh` takes them.
        """
        if not is_unfitted(procedure) or procedure.shape != "verbalized":
            return weigh(procedure, answers, self._cases)
        centre = self._centre(PanelAnswers(tuple(words), np.asarray(answers[DIRECT_QUESTION], dtype=np.float64)))
        if centre is None:
            return weigh(procedure, answers, self._cases)
        return weigh(procedure, answers, self._cases, SHARED_PENALTY, centre)

    def _centre(self, own: PanelAnswers) -> FloatArray | None:
        """What all prompts have in common, on the scale of standardised features; None where they say too little."""
        if len(self._panels) < 2:
            return None
        opinions = [panel.features_of(own.words) for panel in self._panels]
        known = np.any([~np.isnan(one).all(axis=1) for one in opinions], axis=0)
        if min(int((self._labels & known).sum()), int((~self._labels & known).sum())) < MIN_PER_CLASS:
            return None
        return fit_shared_weights(opinions, self._labels, penalty=PANEL_PENALTY)
