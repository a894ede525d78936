"""A deterministic engine without a model, and bundles measured on it one query at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from promptopt.bundle.model import GoldenRecord, ParityCase, PolicyRecord, PromptBundle, SealOpening, SplitScores
from promptopt.core.case import Label, Split
from promptopt.core.prompt import LoweredPrompt, PromptSegment
from promptopt.engines.base import EngineCard, LabelQuery, LabelScores, Usage
from promptopt.metrics.calibration import PlattCalibrator
from promptopt.metrics.intervals import Interval
from promptopt.metrics.operating_point import OperatingPoint
from promptopt.policy.asking import bind
from promptopt.policy.model import Action, Clause, Outcome, Rule, When
from promptopt.policy.procedure import Procedure

MakeBundle = Callable[..., PromptBundle]


class HashEngine:
    """Scores from a hash of messages and label; refuses texts with ``<refuse>`` and shortens those past 200 letters."""

    def __init__(self, weights: str = "a", shift: float = 0.0) -> None:
        self.calls: list[list[LabelQuery]] = []
        self._weights = weights
        self._shift = shift

    def score(self, queries: Sequence[LabelQuery]) -> LabelScores:
        self.calls.append(list(queries))
        logprobs = np.full((len(queries), max((len(q.labels) for q in queries), default=0)), -np.inf, dtype=np.float32)
        unjudged, dropped = {}, {}
        for row, query in enumerate(queries):
            item = "".join(segment.text for segment in query.segments if segment.from_case)
            if "<refuse>" in item:
                unjudged[row] = "refused"
                logprobs[row] = np.nan
                continue
            if len(item) > 200:
                dropped[row] = len(item) - 200
            logits = np.array([self._logit(query, label) for label in query.labels])
            logits[0] += self._shift
            logprobs[row, : len(logits)] = logits - np.logaddexp.reduce(logits)
        return LabelScores(logprobs, unjudged, dropped, Usage(queries=len(queries), tokens_submitted=10 * len(queries)))

    def _logit(self, query: LabelQuery, label: str) -> float:
        facts = repr(([(s.role, s.text, s.from_case) for s in query.segments], label, self._weights))
        return int.from_bytes(hashlib.sha256(facts.encode()).digest()[:4], "big") / 2**32 * 6 - 3

    def describe(self) -> EngineCard:
        return EngineCard(
            engine="fake",
            model="hash",
            revision="",
            weights_digest=self._weights,
            dtype="float32",
            quantization="",
            chat_template_digest="",
            truncation="head",
            device="cpu",
            versions={"numpy": "2"},
        )

    def close(self) -> None:
        self.calls.clear()


def _clause(name: str, severity: int, exceptions: tuple[str, ...] = ()) -> Clause:
    return Clause(
        id=name,
        title=f"clause {name}",
        severity=severity,
        definition="d",
        question=f"Does {name} apply?",
        includes=("i",),
        excludes=("e",),
        exceptions=exceptions,
        action=Action.REMOVE if severity else Action.ALLOW,
    )


@pytest.fixture(scope="session")
def checklist() -> Procedure:
    return Procedure(
        shape="checklist",
        clauses=(_clause("V1", 4, ("V3",)), _clause("V2", 2), _clause("V3", 0)),
        precedence=("V1", "V2"),
        routing=(
            Rule(id="R1", when=When(any=("V1",), none=("V3",)), then=Outcome.ESCALATE),
            Rule(id="R2", when=When(any=("V2",)), then=Outcome.VIOLATION),
            Rule(id="R3", when=When(), then=Outcome.ALLOWED),
        ),
    )


@pytest.fixture(scope="session")
def direct(checklist: Procedure) -> Procedure:
    return checklist.model_copy(update={"shape": "direct"})


def _prompts(procedure: Procedure) -> tuple[LoweredPrompt, ...]:
    return tuple(
        LoweredPrompt(
            question=question,
            segments=(
                PromptSegment(role="system", text="The policy, ünabridged.\n"),
                PromptSegment(role="user", text="Text: "),
                PromptSegment(role="user", slot="text"),
                PromptSegment(role="user", text=f"\n{question}?"),
            ),
            labels=("Yes", "No"),
        )
        for question in procedure.questions
    )


def _pinned(number: int, prompts: Sequence[LoweredPrompt], procedure: Procedure, decide: OperatingPoint) -> ParityCase:
    text = f"pinned text {number} — ‘quoted’\nsecond line\u2028third"
    engine = HashEngine()
    answers = {p.question: float(np.exp(engine.score([bind(p, {"text": text})]).logprobs[0, 0])) for p in prompts}
    score = float(procedure.score({q: np.array([a]) for q, a in answers.items()})[0])
    label = Label.VIOLATION if score >= decide.threshold else Label.ALLOWED
    return ParityCase(id=f"case-{number}", text=text, answers=answers, score=score, label=label)


@pytest.fixture(scope="session")
def make_bundle(checklist: Procedure) -> MakeBundle:
    """Bundles measured on ``HashEngine()``, with any field replaced."""

    def make(procedure: Procedure = checklist, **fields: object) -> PromptBundle:
        prompts = _prompts(procedure)
        point = OperatingPoint(
            threshold=0.45, criterion="recall_at_precision", precision=0.9, recall=0.8, f1=0.85, feasible=True
        )
        card = HashEngine().describe()
        metrics = {"auprc": Interval(point=0.91, low=0.85, high=0.95, level=0.95)}
        nothing = {"auprc": Interval(point=float("nan"), low=float("nan"), high=float("nan"), level=0.95)}
        opening = SealOpening(opened=datetime(2026, 1, 2, tzinfo=UTC), who="lead", why="final", candidate="c" * 64)
        values: dict[str, object] = {
            "name": "demo-judge",
            "domain": "demo",
            "created": datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
            "promptopt": "0.1.0",
            "prompts": prompts,
            "procedure": procedure,
            "operating_point": point,
            "policy": PolicyRecord(title="Demo | policy", version="1.0.0", digest="a" * 64),
            "golden": GoldenRecord(name="demo", digest="b" * 64),
            "candidate": "c" * 64,
            "engine": card.to_dict(),
            "fingerprint": card.fingerprint,
            "judge": {"model": "hash", "max_item_tokens": 256, "label_words": [["Yes", "No"]]},
            "scores": {
                Split.TEST: SplitScores(metrics=metrics, cases=80, positives=40, unjudged=1),
                Split.SEARCH: SplitScores(metrics=nothing, cases=0, positives=0, unjudged=0),
            },
            "openings": (opening,),
        }
        if "parity" not in fields:
            values["parity"] = tuple(_pinned(number, prompts, procedure, point) for number in range(16))
        return PromptBundle.model_validate(values | fields)

    return make


@pytest.fixture
def bundle(make_bundle: MakeBundle) -> PromptBundle:
    return make_bundle(calibration=None, policy_source="domain: demo\r\ntitle: Démo\n")


@pytest.fixture
def engine() -> HashEngine:
    return HashEngine()


@pytest.fixture(scope="session")
def make_engine() -> type[HashEngine]:
    return HashEngine


@pytest.fixture
def steep() -> PlattCalibrator:
    return PlattCalibrator(slope=4.0, intercept=0.5)
