"""The usual way as a peer: DSPy's ``Evaluate``, one request per judgement, to llama.cpp's server on this machine.

The server keeps the last prompt's state and computes only what differs from it, and prompts are asked variant by
variant, so its prefix cache hits whenever it can. Answers are as short as DSPy can read them. DSPy's own cache is off.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from promptopt.bench.llama_server import LlamaServer
from promptopt.bench.memory import PeakMemory
from promptopt.bench.timing import Timing
from promptopt.bench.workload import Workload
from promptopt.errors import EngineError

_HEADER = "[[ ## verdict ## ]]\n"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the server is run and asked.

    Attributes:
        gguf: The model.
        cores: Threads that the server computes with.
        client_threads: Numbers of DSPy's threads to try; the fastest counts.
        seconds: Time for each of them together.
    """

    gguf: Path
    cores: int
    client_threads: tuple[int, ...] = (1, 4, 16)
    seconds: float = 20.0


def time_dspy_server(work: Workload, options: ServerOptions, tokenizer: Any, cases: int) -> Timing:
    """Times DSPy against the server on the first variant, as all variants cost alike.

    Args:
        work: The judgements. DSPy writes its own, longer prompts around the same policy and case texts.
        options: Server and client.
        tokenizer: The model's, to see how many tokens an answer needs.
        cases: Judgements of all variants together that the prefixes are spread over in the rate that counts them.

    Returns:
        The timing: ``marginal_rate`` was measured with the prefix in the server's cache; ``rate`` adds one request per
        variant that computes it.

    Raises:
        EngineError: The server did not come up, or refuses requests.
    """
    import dspy

    variants = work.cell.variants
    answers = [len(tokenizer(_HEADER + label, add_special_tokens=False)["input_ids"]) for label in work.labels]
    longest = max(len(judgement.tokens) for judgement in work.judgements)
    with (
        LlamaServer(options.gguf, longest + 512, options.cores) as server,
        _quiet_dspy(),
        PeakMemory(torch.device("cpu"), [server.process]) as memory,
    ):
        lm = dspy.LM(
            "ollama/judge",  # as openai/, but sends `max_tokens`: this server ignores `max_completion_tokens`
            api_base=server.url,
            api_key="none",
            cache=False,
            temperature=0.0,
            max_tokens=max(answers) + 1,
            num_retries=0,
        )
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
            client = _Client(work, server)
            first_seconds = client.ask_first()
            slices = options.seconds / len(options.client_threads)
            runs = [client.run(threads, slices) for threads in options.client_threads]
    best = max(runs, key=lambda run: run.rate)
    each = max(1, cases // variants)
    return Timing(
        cases=best.cases,
        rate=each / (first_seconds + (each - 1) / best.rate),
        marginal_rate=best.rate,
        tokens_computed=best.tokens,
        cpu_ms=best.cpu_ms / best.cases,
        memory_mib=memory.mib,
        verdicts=client.verdicts,
        failures=best.failures,
        threads=best.threads,
    )


@dataclass(frozen=True, slots=True)
class _Run:
    threads: int
    cases: int
    failures: int
    seconds: float
    cpu_ms: float
    tokens: int

    @property
    def rate(self) -> float:
        return self.cases / self.seconds


class _Client:
    """Asks about the first variant's cases in order, beginning again when they run out."""

    def __init__(self, work: Workload, server: LlamaServer) -> None:
        import dspy

        self._work, self._server = work, server
        self._numbers = range(0, len(work), work.cell.variants)
        self._next = 0
        self.verdicts: dict[int, int] = {}
        fields = {"text": (str, dspy.InputField()), "verdict": (_literal(work.labels), dspy.OutputField())}
        self._program = dspy.Predict(dspy.Signature(fields, work.judgements[0].instructions))

    def ask_first(self) -> float:
        """Seconds of the request that computes the prefix; clients and server are warmed up before."""
        import dspy

        self._ask(dspy.Predict("text -> verdict"), "a")
        began = time.perf_counter()
        self._ask(self._program, self._work.judgements[self._numbers[-1]].text)
        return time.perf_counter() - began

    def run(self, threads: int, seconds: float) -> _Run:
        """Judgements for about so many seconds."""
        tokens = self._server.tokens_computed
        cpu, began = time.process_time(), time.perf_counter()
        cases, failures = self._evaluate(threads, max(4, threads))
        spent = time.perf_counter() - began
        if spent < seconds:
            more = self._evaluate(threads, max(threads, int(cases * (seconds - spent) / spent)))
            cases, failures = cases + more[0], failures + more[1]
        return _Run(
            threads=threads,
            cases=cases,
            failures=failures,
            seconds=time.perf_counter() - began,
            cpu_ms=1000 * (time.process_time() - cpu),
            tokens=self._server.tokens_computed - tokens,
        )

    def _ask(self, program: Any, text: str) -> None:
        from dspy.utils.exceptions import AdapterParseError

        try:
            program(text=text)
        except AdapterParseError:
            pass  # the answer was computed all the same
        except Exception as cause:
            raise EngineError(f"llama.cpp's server refuses requests ({' '.join(str(cause).split())[:200]})") from cause

    def _evaluate(self, threads: int, count: int) -> tuple[int, int]:
        """Cases judged, and how many of them got no answer that DSPy could read."""
        import dspy

        chosen = [self._numbers[(self._next + i) % len(self._numbers)] for i in range(count)]
        self._next += count
        examples = [dspy.Example(text=self._work.judgements[i].text).with_inputs("text") for i in chosen]
        evaluate = dspy.Evaluate(devset=examples, metric=_answered, num_threads=threads, max_errors=10**9)
        failures = 0
        for number, (_, prediction, _score) in zip(chosen, evaluate(self._program).results, strict=True):
            verdict = prediction.get("verdict")
            if verdict is None:
                failures += 1
            else:
                self.verdicts[number] = self._work.labels.index(verdict)
        return count, failures


def _answered(example: Any, prediction: Any, trace: Any = None) -> float:
    return float(prediction.get("verdict") is not None)


def _literal(labels: Sequence[str]) -> Any:
    return Literal.__getitem__(tuple(labels))


@contextmanager
def _quiet_dspy() -> Iterator[None]:
    """Answers that DSPy cannot read are counted; its warning about each would bury everything else."""
    logger = logging.getLogger("dspy")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
