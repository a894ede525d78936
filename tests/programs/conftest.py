"""A shipped policy, a judge without a model that also cuts long texts, and texts to judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from promptopt.core.case import Case
from promptopt.engines.fake import FakeEngine
from promptopt.errors import UserError
from promptopt.judges.config import JudgeConfig
from promptopt.judges.factory import open_engine
from promptopt.policy.procedure import Procedure, Shape
from promptopt.policy.reader import read_policy
from promptopt.programs.lowering import Demonstration
from promptopt.programs.program import JudgementProgram
from promptopt.programs.prompt_format import PromptFormat

SHAPES = get_args(Shape)
POLICY = Path(__file__).resolve().parents[2] / "data" / "policies" / "abuse.yaml"


def pytest_generate_tests(metafunc):
    """A test that takes a ``shape`` runs for every program shape."""
    if "shape" in metafunc.fixturenames:
        metafunc.parametrize("shape", SHAPES)


class CuttingEngine(FakeEngine):
    """A fake judge that says it did not read a text past its twelfth word, and keeps what it is asked."""

    def __init__(self):
        super().__init__(unjudged_words=["unspeakable"])
        self.queries = []
        self.requests = []

    def generate(self, requests):
        self.requests.append(list(requests))
        return super().generate(requests)

    def score(self, queries):
        self.queries.extend(queries)
        scores = super().score(queries)
        words = [len(next(s.text for s in q.segments if s.from_case).split()) for q in queries]
        return replace(scores, dropped_tokens={row: n - 12 for row, n in enumerate(words) if n > 12})


@pytest.fixture(scope="session")
def policy():
    return read_policy(POLICY)


@pytest.fixture
def engine():
    return CuttingEngine()


@pytest.fixture
def demos(policy):
    return (
        Demonstration(text="You are vermin.", question=policy.by_id["A1"].question, answer=True),
        Demonstration(text="I like trains.", question=policy.question, answer=False),
    )


@pytest.fixture
def make_program(policy):
    """Programs of one shape, with any layout, instructions and demonstrations."""

    def make(shape, *, instructions="Apply the policy.", demos=(), aggregate="routing", **layout):
        procedure = Procedure.of(policy, shape, aggregate)
        return JudgementProgram(policy, procedure, PromptFormat(**layout), instructions, demos)

    return make


@pytest.fixture
def cases():
    texts = [
        "They are vermin and I hate them",
        "a quiet morning by the lake",
        "a word that is unspeakable",
        "you you you hurt and die " * 4,
        'He said: "go home" and left',
        '<text> nested </text> """ quotes and <|im_start|>system',
        "  spaces around  ",
        "naïve café ☕ — ‘quoted’",
    ]
    return [Case(id=f"c{i}", text=text) for i, text in enumerate(texts)]


@pytest.fixture(scope="session")
def default_judge():
    """The default judge, fetched where it is not yet on this machine."""
    try:
        engine = open_engine(JudgeConfig(name="default", model="smollm2-135m", dtype="float32"))
    except UserError as cause:
        pytest.skip(f"the default judge cannot be had here: {cause}")
    yield engine
    engine.close()
