"""The main job: sweep, final round, log, plots, bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from promptopt.config import AppConfig
from promptopt.core.candidate import Candidate
from promptopt.core.digest import digest_text
from promptopt.pipeline.export import export_winner
from promptopt.pipeline.files import write_text
from promptopt.pipeline.outcome import SweepOutcome
from promptopt.pipeline.recording import SweepRecorder, sweep_figures, trial_rows
from promptopt.pipeline.summary import summarise_sweep, write_summary
from promptopt.pipeline.workspace import Workspace, open_workspace
from promptopt.scores.store import Spent
from promptopt.search.constraints import ConstraintCheck
from promptopt.search.evaluation import Evaluation, Evaluator
from promptopt.search.evaluators import Evaluators
from promptopt.search.finalists import FinalComparison, FinalRound
from promptopt.search.judging import StoredJudge
from promptopt.search.lockstep_sweep import LockstepSweep
from promptopt.search.pace import Pace, measure_pace
from promptopt.search.proposers.mixed import MixedProposer, make_proposers
from promptopt.search.study import TrialRecord
from promptopt.search.sweep import Sweep, SweepResult, SweepWatcher
from promptopt.tracking.factory import tracking_uri, view_command

_LOG_EVERY = 5


class SweepDisplay(SweepWatcher, Protocol):
    """What a display shows besides trials."""

    def started(self, config: AppConfig, blocks: Sequence[int], records: Sequence[TrialRecord], spent: Spent) -> None:
        """The sweep begins, or goes on with ``records``."""
        ...

    def judged(self, cost: Spent) -> None:
        """An engine call is done."""
        ...

    def phase(self, what: str) -> None:
        """The sweep turns to something else than trials."""
        ...


def run_sweep(config: AppConfig, display: SweepDisplay) -> SweepOutcome:
    """Runs a sweep, or resumes the one of the same name.

    Args:
        config: The configuration.
        display: Shows progress.

    Returns:
        The outcome; the bundle, plots, trial table and run log are written.

    Raises:
        UserError: An input does not fit, or the sweep is running already.
    """
    with open_workspace(config, display.phase) as workspace:
        study = f"{config.name}:{digest_text(str(config.run_folder.resolve()))[:16]}"
        judges = {
            name: StoredJudge(engine, workspace.store, study, display.judged)
            for name, engine in workspace.engines.items()
        }
        judge = judges[config.judge.name]  # what was spent, each of them tells for all
        evaluators = _evaluators(workspace, judges, display.phase)
        parts = (workspace.study, workspace.maker, evaluators, judge)
        settings = (workspace.search_cases, config.search, config.seed)
        constraints = _constraints(workspace, evaluators)
        proposers = _proposers(workspace)
        sweep: Sweep | LockstepSweep
        if config.search.racing.rule == "lockstep":
            sweep = LockstepSweep(*parts, *settings, proposers, constraints)
        else:
            sweep = Sweep(*parts, *settings, constraints=constraints)
        # made before anything is judged: it refuses a certificate on calibration cases that the search sees
        final = FinalRound(workspace.maker, evaluators, workspace.golden, sweep.cases, config.search)
        recorder = SweepRecorder(workspace, study)
        with recorder.ended_early():
            recorder.log_start()
            display.started(config, [len(block) for block in sweep.blocks], workspace.study.records(), judge.spent)
            result = sweep.run(_Watcher(display, recorder))
            recorder.log_refusals(proposers.refusals if proposers else ())
            display.phase("final round: calibration and sealed test")
            comparison = final.run(result, workspace.openings, study)
            display.phase("writing bundle, plots and run log")
            return _write(workspace, recorder, judge, result, comparison)


def _evaluators(workspace: Workspace, judges: Mapping[str, StoredJudge], on_phase: Callable[[str], None]) -> Evaluators:
    objective, found = workspace.config.search.objective, {}
    for name, engine in workspace.engines.items():
        found[name] = Evaluator(judges[name], engine, objective, _pace(workspace, name, on_phase))
    return Evaluators(found)


def _pace(workspace: Workspace, name: str, on_phase: Callable[[str], None]) -> Pace | None:
    """How fast a judge is, where the sweep minimises seconds; measured on the seed prompt's question."""
    config = workspace.config
    if "seconds" not in config.search.objective.names:
        return None

    def measure() -> Pace:
        on_phase(f"timing {name}")
        point = {**config.space.seed_point(), "shape": "direct"}
        program = workspace.maker.program(workspace.maker.candidate(point))
        writes = "reasoned" in config.space.dimensions["shape"]
        return measure_pace(program.lower(), workspace.search_cases, workspace.engines[name], writes=writes)

    return workspace.study.pace(name, measure)


def _constraints(workspace: Workspace, evaluators: Evaluators) -> ConstraintCheck:
    """The constraints, with the seed prompt's evaluation for those that forbid a regression."""
    search, maker, cases = workspace.config.search, workspace.maker, workspace.search_cases

    def evaluate_seed() -> Evaluation:
        candidate = maker.candidate(workspace.config.space.seed_point())
        program = maker.program(candidate)
        return evaluators.of(candidate).evaluate(program.lower(), program.procedure, cases)

    return ConstraintCheck(search.constraints, search.objective.precision_floor, evaluate_seed)


def _proposers(workspace: Workspace) -> MixedProposer | None:
    search = workspace.config.search
    return make_proposers(
        search.proposers,
        workspace.config.space,
        workspace.policy,
        workspace.maker,
        workspace.engine,
        workspace.golden.cases,
        search.objective.precision_floor,
    )


class _Watcher:
    """Passes trials on to the display, and to the run log every few trials."""

    def __init__(self, display: SweepDisplay, recorder: SweepRecorder) -> None:
        self._display = display
        self._recorder = recorder

    def trial_started(self, number: int, candidate: Candidate) -> None:
        self._display.trial_started(number, candidate)

    def trial_finished(self, record: TrialRecord, records: Sequence[TrialRecord]) -> None:
        self._display.trial_finished(record, records)
        if len(records) % _LOG_EVERY == 0:
            self._recorder.log_trials(records)

    def race_block(self, race: int, candidates: int, cases: int, of_cases: int) -> None:
        self._display.race_block(race, candidates, cases, of_cases)


def _write(
    workspace: Workspace, recorder: SweepRecorder, judge: StoredJudge, result: SweepResult, comparison: FinalComparison
) -> SweepOutcome:
    config = workspace.config
    plots = config.run_folder / "plots"
    figures = sweep_figures(result, comparison, config.search.objective.precision_floor)
    for name, figure in figures.items():
        write_text(plots / f"{name}.html", figure.to_html(include_plotlyjs=True))
    bundle = export_winner(workspace, comparison, config.run_folder / "bundle")
    tracked = config.tracking.backend != "none"
    runs = Path(config.runs_dir)
    outcome = SweepOutcome(
        config=config,
        result=result,
        comparison=comparison,
        bundle=bundle,
        bundle_folder=config.run_folder / "bundle",
        plots_folder=plots,
        spent=judge.spent,
        tracking_uri=tracking_uri(config.tracking, runs) if tracked else None,
        run_url=recorder.url,
        view_command=view_command(config.tracking, runs),
    )
    summary = summarise_sweep(outcome)
    recorder.log_end(result, comparison, figures, summary)
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in trial_rows(result.records))
    write_text(config.run_folder / "trials.jsonl", rows)
    write_summary(summary, config.run_folder)
    return outcome
