"""From a point of the search space to a candidate, and from a candidate to the program it stands for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from promptopt.core.candidate import Candidate, Choice
from promptopt.core.case import GoldenCase
from promptopt.core.content import ImagePart
from promptopt.core.rationale import RationaleSettings
from promptopt.errors import ConfigError
from promptopt.policy.grading import ladder_of, severity_question
from promptopt.policy.model import Policy
from promptopt.policy.procedure import Procedure
from promptopt.policy.rendering import RenderOptions, render_policy
from promptopt.policy.verbalizer_prior import VerbalizerPrior
from promptopt.programs.lowering import Demonstration
from promptopt.programs.program import JudgementProgram
from promptopt.programs.prompt_format import PromptFormat
from promptopt.search.demonstrations import boundary_cases, choose_demos
from promptopt.search.dimensions import find_dimension
from promptopt.search.dimensions.base import PromptDraft
from promptopt.search.space import DEMO_DIMENSIONS, LISTING, WRITTEN, SearchSpace


class CandidateMaker:
    """Makes candidates and their programs.

    Args:
        policy: The policy.
        space: The search space.
        pool: Search cases set aside for demonstrations.
        precedents: Cases that were decided before, for spaces that show them.
        prior: What the weights of verbalized programs start from.

    Raises:
        PolicyError: The space has a shape that the policy does not fit.
        ConfigError: The space shows precedents, and there is none that can be shown.
    """

    def __init__(
        self,
        policy: Policy,
        space: SearchSpace,
        pool: Sequence[GoldenCase],
        precedents: Sequence[GoldenCase] = (),
        prior: VerbalizerPrior | None = None,
    ) -> None:
        self._policy = policy
        self._space = space
        self._prior = prior
        self._pool = {case.id: case for case in pool if can_be_shown(case, space)}
        self._boundary = {case.id: case for case in boundary_cases(policy)}
        self._precedents = {case.id: case for case in precedents if can_be_shown(case, space)}
        if "precedents" in space.demos.choices and not self._precedents:
            raise ConfigError(
                f"none of {len(precedents)} precedents can be shown: they need texts of at most "
                f"{space.demos.max_chars} characters",
                where="program.demos.precedents",
                remedy="raise program.demos.max_chars, or take `precedents` out of program.demos.choices",
            )
        self._questions = {shape: len(Procedure.of(policy, shape).questions) for shape in space.shapes}

    def candidate(self, point: Mapping[str, Choice], texts: Mapping[str, str] | None = None) -> Candidate:
        """The candidate at a point; points that come to one prompt and one procedure give one candidate.

        Args:
            point: A choice for every dimension of the space.
            texts: Component (``instruction``, ``policy``) to a text written in place of its choice. One that a choice
                of the space says too becomes that choice.

        Returns:
            The candidate, with the active dimensions only and the first of choices that mean the same. The choice of
            a component with a written text is ``written``.

        Raises:
            ConfigError: ``texts`` names another component, or its instruction is empty.
        """
        demos = choose_demos(
            tuple(self._demo_source(point["demo_choice"]).values()),
            int(point["demo_count"]),
            point["demo_choice"],  # type: ignore[arg-type]
            point["demo_order"],  # type: ignore[arg-type]
            int(point["demo_draw"]),
        )
        said, written = self._said(point, texts or {})
        point = {**point, **said}
        active = self._space.active(point) - DEMO_DIMENSIONS
        choices = {name: choice for name, choice in point.items() if name in active}
        choices["labels"] = self._first_alike("labels", choices, lambda name: self._words(name, choices))
        draft = self._draft(choices, written)
        for name in self._extra(choices):
            change = partial(find_dimension(name).change, draft)
            choices[name] = self._first_alike(name, choices, change)
            draft = change(choices[name])
        return Candidate(choices=choices, demos=tuple(case.id for case in demos), texts=written)

    def _said(self, point: Mapping[str, Choice], texts: Mapping[str, str]) -> tuple[dict[str, Choice], dict[str, str]]:
        """The first choices that say what instruction and policy are to say, and the texts that no choice says."""
        for name in texts:
            if name not in self._sayings:
                remedy = f"choose from {', '.join(self._sayings)}"
                raise ConfigError(f"there is no component {name!r}", where="texts of a candidate", remedy=remedy)
        if not texts.get("instruction", "?").strip():
            remedy = "write one, or leave it to the choice"
            raise ConfigError("the written instruction is empty", where="texts of a candidate", remedy=remedy)
        choices: dict[str, Choice] = {}
        written: dict[str, str] = {}
        for name, sayings in self._sayings.items():
            text = texts[name].strip() if name in texts else self._text(name, point)
            choices.update(sayings.get(text, {name: WRITTEN}))
            if text not in sayings:
                written[name] = text
        return choices, written

    @cached_property
    def _sayings(self) -> dict[str, dict[str, dict[str, Choice]]]:
        """Component to text to the first choices that come to it."""
        dimensions = self._space.dimensions
        found: dict[str, dict[str, dict[str, Choice]]] = {}
        for component, options in {"instruction": (), "policy": tuple(LISTING)}.items():
            names = [component, *(name for name in options if name in dimensions)]
            found[component] = {}
            for combination in itertools.product(*(dimensions[name] for name in names)):
                choices = dict(zip(names, combination, strict=True))
                found[component].setdefault(self._text(component, choices), choices)
        return found

    def _first_alike(self, name: str, choices: Mapping[str, Choice], meaning: Callable[[Choice], object]) -> Choice:
        meant = meaning(choices[name])
        return next(choice for choice in self._space.dimensions[name] if meaning(choice) == meant)

    def questions(self, candidate: Candidate) -> int:
        """How many judgements a candidate asks for about each case: one for each question, or for each rationale."""
        return self._questions[candidate.choices["shape"]] * int(candidate.choices.get("rationale_samples", 1))  # type: ignore[index]

    @property
    def fits_weights(self) -> bool:
        """Whether the space has programs whose weights are fitted on search cases."""
        space = self._space
        return "verbalized" in space.shapes or ("checklist" in space.shapes and "weighted" in space.aggregates)

    @property
    def most_questions(self) -> int:
        """How many judgements the dearest program of the space asks for about each case."""
        samples = max(self._space.rationale.samples)
        return max(count * (samples if shape == "reasoned" else 1) for shape, count in self._questions.items())

    def program(self, candidate: Candidate) -> JudgementProgram:
        """The program that a candidate stands for."""
        choices = candidate.choices
        draft = self._draft(choices, candidate.texts)
        for name in self._extra(choices):
            draft = find_dimension(name).change(draft, choices[name])
        procedure = Procedure.of(
            self._policy,
            choices["shape"],  # type: ignore[arg-type]
            choices.get("aggregate", "routing"),  # type: ignore[arg-type]
            choices.get("grade_score", "violation"),  # type: ignore[arg-type]
        )
        if self._prior is not None and procedure.shape == "verbalized":
            procedure = procedure.model_copy(update={"word_prior": self._prior.of(draft.layout.labels)})
        shown = {**self._boundary, **self._precedents, **self._pool}
        demos = [self._demonstration(shown[i], choices["shape"], draft.layout) for i in candidate.demos]
        system = "\n\n".join(part for part in (draft.instruction, draft.policy) if part)
        return JudgementProgram(self._policy, procedure, draft.layout, system, demos, candidate)

    def texts(self, candidate: Candidate) -> dict[str, str]:
        """The texts of a candidate's components: what was written for it, else what its choices say."""
        return self._texts(candidate.choices, candidate.texts)

    def _texts(self, choices: Mapping[str, Choice], written: Mapping[str, str]) -> dict[str, str]:
        return {name: written[name] if name in written else self._text(name, choices) for name in self._sayings}

    def _draft(self, choices: Mapping[str, Choice], written: Mapping[str, str]) -> PromptDraft:
        """What the built-in dimensions make of the prompt."""
        words = self._words(choices["labels"], choices)
        layout = PromptFormat(
            quoting=choices["quoting"],
            placement=choices["placement"],
            rationale=self._rationale(choices),
            **self._answers(words, choices),
        )
        texts = self._texts(choices, written)
        return PromptDraft(texts["instruction"], texts["policy"], self._policy.language, layout)

    def _extra(self, choices: Mapping[str, Choice]) -> list[str]:
        return [name for name in self._space.extra if name in choices]

    def _text(self, component: str, choices: Mapping[str, Choice]) -> str:
        """What the choices say in a component."""
        return self._rendered(choices) if component == "policy" else self._instruction(choices["instruction"])

    def _rendered(self, choices: Mapping[str, Choice]) -> str:
        listed = {**LISTING, **{name: choices[name] for name in LISTING if name in choices}}
        options = RenderOptions(
            subset=listed["clause_subset"],
            order=listed["clause_order"],
            exceptions=listed["exceptions"],
            severities=bool(listed["severities"]),
        )
        return render_policy(self._policy, choices["policy"], options)  # type: ignore[arg-type]

    def _instruction(self, name: Choice) -> str:
        return self._space.instructions[str(name)].strip().replace("{title}", self._policy.title)

    def _answers(self, words: tuple[str, ...], choices: Mapping[str, Choice]) -> dict[str, Any]:
        """The keys of a layout that hold these answer words."""
        if _graded(choices):
            return {"ladder": ladder_of(self._policy.clauses, words)}
        panel = self._space.panel.words if choices["shape"] == "verbalized" else ()
        return {**dict(zip(("yes", "no"), words, strict=True)), "panel": panel}

    def _rationale(self, choices: Mapping[str, Choice]) -> RationaleSettings | None:
        if choices["shape"] != "reasoned":
            return None
        return RationaleSettings(
            samples=int(choices.get("rationale_samples", 1)),
            max_tokens=int(choices["rationale_tokens"]),
            temperature=float(choices["rationale_temperature"]),
            seed=self._space.rationale.seed,
        )

    def _words(self, name: Choice, choices: Mapping[str, Choice]) -> tuple[str, ...]:
        """The answer words that a program of this shape uses: a pair, or one for each severity."""
        words = self._space.label_words[str(name)]
        if _graded(choices):
            return words.grades
        return (words.applies, words.absent) if choices["shape"] == "checklist" else (words.violation, words.allowed)

    def _demo_source(self, choice: Choice) -> dict[str, GoldenCase]:
        return {"boundary": self._boundary, "precedents": self._precedents}.get(str(choice), self._pool)

    def _demonstration(self, case: GoldenCase, shape: Choice, layout: PromptFormat) -> Demonstration:
        clause = self._policy.by_id.get(case.clause or "")
        if layout.ladder:
            question = severity_question(self._policy, layout.ladder)
            return Demonstration(
                text=case.text, question=question, answer=case.is_violation, severity=case.severity or None
            )
        if shape != "checklist" or (case.is_violation and clause is None):
            # A violation without a clause shows nothing about any clause question, so the direct question stands in.
            return Demonstration(text=case.text, question=self._policy.question, answer=case.is_violation)
        if case.is_violation and clause is not None:
            return Demonstration(text=case.text, question=clause.question, answer=True)
        asked = self._policy.violating[sum(case.id.encode()) % len(self._policy.violating)]
        return Demonstration(text=case.text, question=asked.question, answer=False)


def can_be_shown(case: GoldenCase, space: SearchSpace) -> bool:
    """Whether a case can be a demonstration: a text that is short enough, and that no unseen image explains."""
    seen = not any(isinstance(part, ImagePart) for part in (case.parts or {}).values())
    return seen and len(case.text) <= space.demos.max_chars


def _graded(choices: Mapping[str, Choice]) -> bool:
    return choices["shape"] == "graded"
