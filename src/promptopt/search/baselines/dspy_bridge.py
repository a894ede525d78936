"""What DSPy's optimisers need to work on a judgement program through the meter.

DSPy evaluates a program one example at a time. Here each evaluation is first scored in one batch, so that the examples
then find their scores waiting: the numbers are the same and come several times faster. A spent budget ends GEPA and
ReAnchor at once; MIPROv2 takes a refused evaluation for a score of 0 and goes on to those that it can still afford.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any
from unittest import mock

import dspy
import tqdm
from dspy.evaluate.evaluate import Evaluate
from dspy.lm15 import Message, Request, Response, Usage

from promptopt.core.case import GoldenCase
from promptopt.engines.base import GenerationRequest, Segment
from promptopt.policy.asking import answers_of_case
from promptopt.policy.procedure import DIRECT_QUESTION
from promptopt.programs.decision_client import Evidence, NotJudgedError, evidence_of
from promptopt.programs.lowering import Demonstration, lower
from promptopt.programs.program import JudgementProgram
from promptopt.programs.prompt_format import PromptFormat
from promptopt.search.baselines.base import BudgetSpentError, Meter, SearchTask

_FIELD = re.compile(r"\[\[ ## (\w+) ## \]\]")
_JSON_FIELD = re.compile(r"`(\w+)`")
_END = "completed"


class MeteredClient:
    """Answers a DSPy predictor's decision request through the meter.

    Args:
        meter: Who pays.
        layout: Label words, quoting and placement of the program that asks.
        cases: Everything that may be asked about.
    """

    supports_decision_requests = True
    cache = False

    def __init__(self, meter: Meter, layout: PromptFormat, cases: Sequence[GoldenCase]) -> None:
        self._meter = meter
        self._layout = layout
        self._cases = {case.text: case for case in cases}
        self.model = f"promptopt/{meter.engine.describe().fingerprint}"
        self.callbacks: list[Any] = []
        self.history: list[Any] = []

    def __call__(self, state: Mapping[str, Any], questions: Mapping[str, Any]) -> dict[str, Evidence]:
        """What was measured, for every output field.

        Raises:
            NotJudgedError: The judge gave no scores.
            BudgetSpentError: Nothing is left to pay for it.
        """
        inputs = state["inputs"]
        demos = [Demonstration.of(demo, inputs["question"], self._layout.ladder) for demo in state.get("demos", ())]
        prompt = lower(DIRECT_QUESTION, state["instructions"], inputs["question"], demos, self._layout)
        answers = self._meter.answers([prompt], [self._cases[inputs["text"]]])
        if answers.unjudged:
            raise NotJudgedError(answers.unjudged[0])
        answer = answers_of_case(answers.probabilities, 0)[DIRECT_QUESTION]
        return dict.fromkeys(questions, evidence_of(answer, self._layout))

    async def acall(self, state: Mapping[str, Any], questions: Mapping[str, Any]) -> dict[str, Evidence]:
        """As :meth:`__call__`; there is nothing to wait for."""
        return self(state, questions)

    def __deepcopy__(self, memo: dict[int, Any]) -> MeteredClient:
        return self

    def copy(self, **_settings: Any) -> MeteredClient:
        """The client itself: nothing is sampled, so DSPy's temperatures have nothing to change."""
        return self


class MeteredWriter:
    """The judge's own model as an engine that writes text for DSPy.

    A model too small for DSPy's answer format would lose every proposal to the parser. What it writes is therefore put
    into the field that was asked for.

    Args:
        meter: Counts what is written.
        max_tokens: Most tokens of a text.
        temperature: Of sampling.
        seed: Each text draws from its own, counted on from here.
    """

    def __init__(self, meter: Meter, max_tokens: int, temperature: float, seed: int) -> None:
        self._meter = meter
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._seed = seed

    def complete(self, request: Request) -> Response:
        """Writes one text; see ``dspy.clients.engines.base``."""
        turns = [Segment(_role(message.role), _text(message.parts)) for message in request.messages]
        if request.system:
            turns.insert(0, Segment("system", _text(request.system)))
        self._seed += 1
        (written,) = self._meter.generate(
            [GenerationRequest(tuple(turns), self._max_tokens, self._temperature, self._seed)]
        )
        text = _as_asked(written.text.strip() or "(nothing)", turns[-1].text.rpartition("Respond with")[2])
        usage = Usage(output_tokens=written.tokens)
        return Response(None, request.model, Message.assistant(text), "stop", usage)

    def close(self) -> None:
        """Nothing to release: the engine belongs to the benchmark."""


class Evaluated:
    """Evaluations that an optimiser made, for a run that the budget cuts short.

    Attributes:
        scores: Program, its average, and on how many examples, in order.
    """

    def __init__(self) -> None:
        self.scores: list[tuple[JudgementProgram, float, int]] = []

    def best(self, otherwise: JudgementProgram) -> JudgementProgram:
        """The highest average among the evaluations on the most examples."""
        most = max((size for *_, size in self.scores), default=0)
        full = [(score, program) for program, score, size in self.scores if size == most]
        return max(full, key=lambda pair: pair[0])[1] if full else otherwise


def examples(cases: Sequence[GoldenCase]) -> list[Any]:
    """Cases as DSPy examples with the input ``text``."""
    return [dspy.Example(text=c.text, answer=c.is_violation, question="").with_inputs("text") for c in cases]


def closeness(example: Any, prediction: Any, trace: Any = None) -> float:
    """1 - |gold - probability|: DSPy averages a score per example, and this one, unlike accuracy at 0.5, sees how the
    judge ranks while its probabilities lie on one side; 0 without a verdict."""
    if prediction.probability is None:
        return 0.0
    return float(1.0 - abs(float(example.answer) - prediction.probability))


@contextmanager
def optimising(task: SearchTask, program: JudgementProgram) -> Iterator[tuple[MeteredClient, Evaluated]]:
    """DSPy set up for a task: its judge, batched evaluations, no cache, no progress bars, one thread."""
    cases = {case.digest: case for case in (*task.pool, *task.cases)}
    client = MeteredClient(task.meter, program.layout, tuple(cases.values()))
    by_text = {case.text: case for case in cases.values()}
    seen = Evaluated()
    plain = Evaluate.__call__

    def batched(self: Any, program: Any, *args: Any, **kwargs: Any) -> Any:
        self.display_progress = kwargs["display_progress"] = False
        devset = kwargs.get("devset") or (args[1] if len(args) > 1 else None) or self.devset
        if isinstance(program, JudgementProgram):
            task.meter.answers(program.lower(), [by_text[example.text] for example in devset])
        result = plain(self, program, *args, **kwargs)
        if isinstance(program, JudgementProgram) and isinstance(result.score, int | float):
            seen.scores.append((program.deepcopy(), float(result.score), len(devset)))
        return result

    make_bar = tqdm.tqdm.__init__

    def silent(self: Any, *args: Any, **kwargs: Any) -> None:
        make_bar(self, *args, **{**kwargs, "disable": True})  # some optimisers ask for a bar whatever they are told

    dspy.disable_logging()
    try:
        with (
            dspy.context(lm=client, num_threads=1),
            mock.patch.object(Evaluate, "__call__", batched),
            mock.patch.object(tqdm.tqdm, "__init__", silent),
            redirect_stdout(io.StringIO()),
        ):
            yield client, seen
    finally:
        dspy.enable_logging()


def writer(task: SearchTask, max_tokens: int = 96) -> Any:
    """The judge's own model as a ``dspy.LM``."""
    engine = MeteredWriter(task.meter, max_tokens, 0.7, 1000 * (task.seed + 1))
    return dspy.LM("local/judge", engine=engine, cache=False, num_retries=0)


def within_budget(run: Callable[[], Any], seen: Evaluated, otherwise: JudgementProgram) -> JudgementProgram:
    """What an optimiser returns, or the best that it had evaluated when the budget ended it."""
    try:
        found = run()
    except BudgetSpentError:
        return seen.best(otherwise)
    return found if isinstance(found, JudgementProgram) else otherwise


def _as_asked(text: str, wanted: str) -> str:
    """The text in the fields that DSPy's chat or JSON adapter wants; as it is where it wants none."""
    if "JSON object" in wanted:
        return json.dumps(dict.fromkeys(_JSON_FIELD.findall(wanted), text))
    fields = [name for name in _FIELD.findall(wanted) if name != _END]
    marked = [f"[[ ## {name} ## ]]\n{text}" for name in fields]
    return "\n\n".join([*marked, f"[[ ## {_END} ## ]]"]) if fields else text


def _role(role: str) -> str:
    return role if role in ("system", "assistant") else "user"


def _text(parts: Any) -> str:
    return parts if isinstance(parts, str) else "\n".join(getattr(part, "text", "") for part in parts)
