"""promptolution's own CAPO (Zehle et al., 2025, arXiv 2504.16005) on the seed prompt's program.

The package's optimiser is used as it comes: its crossover and mutation by a language model, its racing with paired
t-tests, its penalty on length. What it asks of a model is answered by the task's judge: texts are written by the
judge's own model, and a case's score is ``1 - |gold - probability|`` where the package would parse a written answer
and count it right or wrong. Demonstrations are shown without rationales, which a judgement program has no place for.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import pandas as pd
from promptolution.llms.base_llm import BaseLLM
from promptolution.optimizers.capo import CAPO
from promptolution.predictors.base_predictor import BasePredictor
from promptolution.tasks.base_task import BaseTask, EvalResult
from promptolution.utils.prompt import Prompt
from promptolution.utils.templates import CAPO_FEWSHOT_TEMPLATE

from promptopt.core.candidate import Candidate
from promptopt.engines.base import GenerationRequest, Segment
from promptopt.programs.program import JudgementProgram
from promptopt.search.baselines.base import BudgetSpentError, SearchTask
from promptopt.search.candidates import can_be_shown

_BLOCK: Final = 30
_MOST_STEPS: Final = 100  # the budget ends it long before
_TOKENS, _MOST_CHARACTERS = 96, 600
_TEXT, _GOLD = "text", "gold"


class PromptolutionCapo:
    """Cost-aware prompt optimisation by evolution and racing, as its authors publish it."""

    name = "promptolution"

    def search(self, task: SearchTask) -> JudgementProgram:
        """The best of the last population, or of those judged longest where the budget ends the first generation."""
        with _seeded(task.seed), _silent():
            judged = _Judged(task)
            pool = {case.id: case for case in task.pool if can_be_shown(case, task.space)}
            shown = pd.DataFrame(
                {_TEXT: [case.item for case in pool.values()], _GOLD: [_word(c.is_violation) for c in pool.values()]}
            )
            title = task.policy.title
            optimiser = _Capo(
                predictor=_Predictor(judged),
                task=judged,
                meta_llm=_Writer(task),
                initial_prompts=[t.strip().replace("{title}", title) for t in task.space.instructions.values()],
                upper_shots=min(5, len(shown)),
                create_fs_reasoning=False,
                check_fs_accuracy=False,
                df_few_shots=shown,
            )
            prompts = optimiser.optimize(_MOST_STEPS)
        if optimiser.bug is not None:
            raise optimiser.bug
        return judged.program(prompts[0]) if optimiser.scores else judged.best()


class _Capo(CAPO):  # type: ignore[misc]
    """The package's optimiser, which ends on any exception; of all but a spent budget the caller has to know.

    Attributes:
        bug: What ended it otherwise.
    """

    bug: Exception | None = None

    def _step(self) -> list[Prompt]:
        try:
            return list(super()._step())
        except BudgetSpentError:
            raise
        except Exception as bug:
            self.bug = bug
            raise


class _Judged(BaseTask):  # type: ignore[misc]
    """The search cases, in an order of the seed's, and programs for the package's prompts."""

    def __init__(self, task: SearchTask) -> None:
        self._task = task
        cases = list(task.cases)
        random.Random(f"promptolution|{task.seed}").shuffle(cases)  # noqa: S311 (a reproducible draw, not a secret)
        self._cases = {case.item: case for case in cases}
        self._demos = {_shown(case.item, _word(case.is_violation)): case.id for case in task.pool}
        self.prompts: dict[str, Prompt] = {}
        super().__init__(
            pd.DataFrame({_TEXT: [c.item for c in cases], _GOLD: [_word(c.is_violation) for c in cases]}),
            x_column=_TEXT,
            y_column=_GOLD,
            task_description=task.policy.question,
            n_subsamples=min(_BLOCK, len(cases)),
            eval_strategy="sequential_block",
            seed=task.seed,
        )
        self.task_type = "classification"

    def evaluate(self, prompts: Prompt | list[Prompt], *given: Any, **named: Any) -> EvalResult:
        """As ever; remembers which prompt a text is the rendering of."""
        self.prompts.update({str(one): one for one in ([prompts] if isinstance(prompts, Prompt) else prompts)})
        return super().evaluate(prompts, *given, **named)

    def closeness(self, rendered: str, texts: Sequence[str]) -> list[float]:
        """``1 - |gold - probability|`` of each case; 0 where the judge gives no verdict.

        Raises:
            BudgetSpentError: They cost more than is left.
        """
        program = self.program(self.prompts[rendered])
        cases = [self._cases[text] for text in texts]
        scores = self._task.meter.scores(program.lower(), program.procedure, cases)
        gold = np.array([float(case.is_violation) for case in cases])
        return [float(value) for value in np.nan_to_num(1.0 - np.abs(gold - scores), nan=0.0)]

    def program(self, prompt: Prompt) -> JudgementProgram:
        """The seed prompt's program with a prompt's instruction and demonstrations."""
        base = self._task.maker.candidate(self._task.space.seed_point())
        demos = tuple(dict.fromkeys(self._demos[example] for example in prompt.few_shots))
        texts = {"instruction": prompt.instruction[:_MOST_CHARACTERS]}
        return self._task.maker.program(Candidate(choices=base.choices, demos=demos, texts=texts))

    def best(self) -> JudgementProgram:
        """Of the prompts judged on the most cases the one with the highest mean; the seed prompt where none was."""
        values: dict[str, list[float]] = {}
        for (rendered, _, _), score in self.eval_cache.items():
            values.setdefault(rendered, []).append(score)
        if not values:
            return self._task.seed_program()
        chosen = max(values, key=lambda rendered: (len(values[rendered]), float(np.mean(values[rendered]))))
        return self.program(self.prompts[chosen])

    def _evaluate(self, xs: list[str], ys: list[str], preds: list[str]) -> np.ndarray[Any, Any]:
        return np.array([float(value) for value in preds])


class _Predictor(BasePredictor):  # type: ignore[misc]
    """Judges, in place of asking a model to write an answer."""

    def __init__(self, judged: _Judged) -> None:
        super().__init__(_Silent())
        self._judged = judged

    def predict(
        self, prompts: str | list[str], xs: list[str], system_prompts: str | list[str] | None = None
    ) -> tuple[list[str], list[str]]:
        """How close each case's probability is to its label, and a stand-in for what would have been written."""
        rendered = [prompts] * len(xs) if isinstance(prompts, str) else prompts
        rows: dict[str, list[str]] = {}
        for one, text in zip(rendered, xs, strict=True):
            rows.setdefault(one, []).append(text)
        found: Mapping[str, Iterator[float]] = {
            one: iter(self._judged.closeness(one, texts)) for one, texts in rows.items()
        }
        values = [repr(next(found[one])) for one in rendered]
        return values, [f"{text}\n" for text in xs]

    def _extract_preds(self, preds: list[str]) -> list[str]:
        return preds


class _Silent(BaseLLM):  # type: ignore[misc]
    """Counts words for the penalty on length, and writes nothing."""

    def _get_response(self, prompts: list[str], system_prompts: list[str]) -> list[str]:
        raise NotImplementedError("cases are judged, not answered")


class _Writer(BaseLLM):  # type: ignore[misc]
    """The judge's own model."""

    def __init__(self, task: SearchTask) -> None:
        super().__init__()
        self._task = task
        self._calls = 0

    def _get_response(self, prompts: list[str], system_prompts: list[str]) -> list[str]:
        self._calls += 1
        first = 10_000 * self._task.seed + 100 * self._calls
        requests = [
            GenerationRequest((Segment("system", system), Segment("user", prompt)), _TOKENS, 0.7, first + i)
            for i, (prompt, system) in enumerate(zip(prompts, system_prompts, strict=True))
        ]
        return [written.text.strip() or "Judge the text." for written in self._task.meter.generate(requests)]


def _word(violation: bool) -> str:
    return "violation" if violation else "allowed"


def _shown(text: str, word: str) -> str:
    """A demonstration as the package renders it, by which it is known again."""
    return str(CAPO_FEWSHOT_TEMPLATE.replace("<input>", text).replace("<output>", word))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The package draws from the two global generators; what others draw afterwards does not depend on it."""
    before, arrays = random.getstate(), np.random.get_state()
    random.seed(f"promptolution|{seed}")
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(arrays)


@contextmanager
def _silent() -> Iterator[None]:
    """The package warns at every step that words are counted for tokens, and logs the end of the budget as an error."""
    logger = logging.getLogger("promptolution")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
