"""The reflective proposer: a language model reads what the incumbent gets wrong and rewrites one component.

The idea is GEPA's (Agrawal et al., 2025, arXiv 2507.19457), on the components of a judgement program: an instruction or
the rendered policy. The model sees the errors by clause and a few misjudged search cases; its text goes through the
guard like any other proposal's, so that it cannot carry a case into the prompt.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable

import numpy as np

from promptopt.core.candidate import Candidate
from promptopt.engines.base import GenerationRequest, JudgeEngine, Segment
from promptopt.metrics.operating_point import choose_threshold
from promptopt.policy.model import Policy
from promptopt.search.proposers.base import History, Incumbent, Proposal
from promptopt.search.proposers.config import ProposerConfig

_COMPONENTS = ("instruction", "policy")
_BLOCK = re.compile(r"```(?:\w*\n)?(.*?)```", re.S)
_CASE_CHARACTERS = 200

Texts = Callable[[Candidate], dict[str, str]]


class ReflectiveProposer:
    """Asks a language model for better texts.

    Args:
        engine: The model, by its ``generate``.
        policy: The policy.
        texts: The present text of every component of a candidate.
        precision_floor: Gives the incumbent's threshold.
        config: Lengths, temperature, errors to show.
    """

    name = "reflective"

    def __init__(
        self, engine: JudgeEngine, policy: Policy, texts: Texts, precision_floor: float, config: ProposerConfig
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._texts = texts
        self._floor = precision_floor
        self._config = config

    def propose(self, history: History, count: int, seed: int) -> list[Proposal]:
        """The incumbent with one component rewritten; nothing without an incumbent or where the model fails."""
        incumbent = history.incumbent
        if incumbent is None or count < 1:
            return []
        draw = random.Random(f"reflective|{seed}")  # noqa: S311 (a reproducible draw, not a secret)
        present = self._texts(incumbent.tried.candidate)
        components = [_COMPONENTS[(seed + number) % len(_COMPONENTS)] for number in range(count)]
        requests = [
            GenerationRequest(
                (Segment("user", self._question(incumbent, component, present[component], draw)),),
                self._config.max_tokens,
                self._config.temperature,
                1000 * seed + number,
            )
            for number, component in enumerate(components)
        ]
        base = incumbent.tried.proposal
        return [
            Proposal(base.point, {**base.texts, component: text}, self.name)
            for component, written in zip(components, self._engine.generate(requests), strict=True)
            if not written.failure and (text := written_text(written.text))
        ]

    def _question(self, incumbent: Incumbent, component: str, present: str, draw: random.Random) -> str:
        kind = "instruction" if component == "instruction" else "summary of the policy"
        return (
            f'A judge decides whether texts violate the policy on "{self._policy.title}". {self._policy.summary}\n\n'
            f"This {kind} is part of its prompt:\n```\n{present or '(none so far)'}\n```\n\n"
            f"What it gets wrong:\n{self._errors(incumbent, draw)}\n\n"
            f"Write a better {kind}, so that it makes fewer of these errors. State rules; do not quote the texts. "
            f"Answer with the {kind} alone, between ``` marks."
        )

    def _errors(self, incumbent: Incumbent, draw: random.Random) -> str:
        """Errors by clause, and a few of the cases."""
        labels = np.array([case.is_violation for case in incumbent.cases], dtype=np.bool_)
        point = choose_threshold(labels, incumbent.scores, "recall_at_precision", self._floor)
        flagged = np.nan_to_num(incumbent.scores, nan=-np.inf) >= point.threshold
        wrong = [case for case, flag in zip(incumbent.cases, flagged, strict=True) if bool(flag) != case.is_violation]
        if not wrong:
            return "- nothing on the cases at hand"
        counted = Counter((case.is_violation, case.clause) for case in wrong)
        lines = []
        for (violation, clause), times in counted.most_common():
            named = self._policy.by_id.get(clause or "")
            about = f"{named.title} ({named.definition})" if named else "no clause in particular"
            lines.append(f"- {'missed' if violation else 'wrongly flagged'} {times} times: {about}")
        shown = draw.sample(wrong, min(self._config.errors, len(wrong)))
        for case in shown:
            verdict = "violates, was missed" if case.is_violation else "is allowed, was flagged"
            lines.append(f'- "{case.text[:_CASE_CHARACTERS]}" {verdict}')
        return "\n".join(lines)


def written_text(reply: str) -> str:
    """The text in a model's reply: what is between marks, else its first paragraph."""
    if block := _BLOCK.search(reply):
        return block[1].strip()
    return reply.replace("```", "").strip().split("\n\n")[0].strip()
