"""Writes a sweep into the run log: one parent run, child runs for the seed prompt and the finalists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promptopt.core.addresses import without_credentials
from promptopt.core.case import GoldenCase, Split
from promptopt.core.model import FrozenModel
from promptopt.metrics.ranking import precision_recall_curve
from promptopt.pipeline.summary import SUMMARY_FILE, SweepSummary
from promptopt.pipeline.workspace import Workspace
from promptopt.search.finalists import FinalComparison, Finalist
from promptopt.search.proposers.guard import Refusal
from promptopt.search.split_report import SplitReport
from promptopt.search.study import TrialRecord
from promptopt.search.sweep import SweepResult
from promptopt.tracking.base import GoldenRecord, TrackingStoreError
from promptopt.tracking.redaction import CaseTexts
from promptopt.tracking.template import prompt_name
from promptopt.tracking.versions import environment, git_commit

_MARKER = "best_so_far"


class SweepRecorder:
    """Logs a sweep as it goes; a resumed sweep continues its runs and fills in what is missing.

    Args:
        workspace: The sweep's parts.
        key: Names the sweep among all that the log may hold.
    """

    def __init__(self, workspace: Workspace, key: str) -> None:
        self._workspace = workspace
        self._log = workspace.log
        self._key = key
        tags = {"promptopt.kind": "sweep", "promptopt.domain": workspace.config.domain.name}
        if commit := git_commit(Path.cwd()):
            tags["git.commit"] = commit
        self.run_id = self._open(tags)

    @property
    def url(self) -> str | None:
        """Where to look at the run, if a server shows it."""
        return self._log.url(self.run_id)

    @contextmanager
    def ended_early(self) -> Iterator[None]:
        """Marks the run as killed or failed when the block does not get to its end; the same command reopens it."""
        try:
            yield
        except KeyboardInterrupt:
            self._log.finish(self.run_id, "killed")
            raise
        except TrackingStoreError:  # which could not be told of its own failure
            raise
        except Exception:
            self._log.finish(self.run_id, "failed")
            raise

    def log_start(self) -> None:
        """Configuration, engine card, versions, golden set."""
        workspace, config = self._workspace, self._workspace.config
        card = workspace.engine.describe()
        self._log.log_params(
            self.run_id,
            {
                "domain": config.domain.name,
                "policy_version": workspace.policy.version,
                "policy_digest": workspace.policy.digest,
                "golden_set": workspace.golden.name,
                "golden_digest": workspace.golden.digest,
                "judge": config.judge.name,
                "judge_fingerprint": card.fingerprint,
                **({"further_judges": ", ".join(judge.name for judge in config.judges)} if config.judges else {}),
                "seed": config.seed,
                "objective": ", ".join(config.search.objective.names),
                "precision_floor": config.search.objective.precision_floor,
                "search_space_digest": config.space.digest,
            },
        )
        self._log.log_dict(self.run_id, _without_credentials(config.model_dump(mode="json")), "config.json")
        self._log.log_dict(self.run_id, card.to_dict(), "engine_card.json")
        for place, judge in enumerate(config.judges, start=2):
            other = workspace.engines[judge.name].describe().to_dict()
            self._log.log_dict(self.run_id, {"judge": judge.name, **other}, f"engine_card_{place}.json")
        self._log.log_dict(self.run_id, environment(), "environment.json")
        for split, cases in self._by_split().items():
            self._log.log_dataset(self.run_id, self._golden_record(split, cases))

    def log_refusals(self, refusals: Sequence[Refusal]) -> None:
        """Proposals that were not tried, and why; ids of the cases that they copied, and no text."""
        if refusals:
            listed = [refusal.model_dump(mode="json") for refusal in refusals]
            self._log.log_dict(self.run_id, {"refused": listed}, "refused_proposals.json")

    def log_trials(self, records: Sequence[TrialRecord]) -> None:
        """Metrics over steps; only those steps that the run does not have yet."""
        known = self._log.logged_steps(self.run_id, _MARKER)
        best: float | None = None
        steps: dict[int, Mapping[str, float]] = {}
        for step, record in enumerate(records):
            auprc = record.metrics.get("auprc")
            if record.complete and auprc is not None:
                best = auprc if best is None else max(best, auprc)
            if step not in known and best is not None:
                own = {name: value for name, value in record.metrics.items() if value is not None}
                steps[step] = {**own, "cases": float(record.cases), _MARKER: best}
        if steps:
            self._log.log_metric_history(self.run_id, steps)

    def log_end(
        self, result: SweepResult, comparison: FinalComparison, figures: Mapping[str, Any], summary: SweepSummary
    ) -> None:
        """Trial table, figures, final metrics, and a child run for the seed prompt and each finalist."""
        self.log_trials(result.records)
        self._log.log_dict(self.run_id, summary.model_dump(mode="json"), SUMMARY_FILE)
        self._log.log_table(self.run_id, trial_rows(result.records), "trials.csv")
        for name, figure in figures.items():
            self._log.log_figure(self.run_id, figure, f"plots/{name}.html")
        self._log.log_metrics(
            self.run_id,
            {
                "judgements": float(summary.judgements),
                "judgements_full_grid": float(result.judgements_in_full),
                "tokens_computed": float(summary.tokens_computed),
                "engine_seconds": summary.engine_seconds,
                **_flat("winner", comparison.winner.reports),
                **_flat("seed", comparison.seed.reports),
                "test/auprc_difference": comparison.difference.point,
            },
        )
        self._log_child("seed prompt", comparison.seed)
        for place, finalist in enumerate(comparison.finalists, start=1):
            self._log_child("winner" if place == 1 else f"finalist {place}", finalist)
        self._open({"promptopt.winner": comparison.winner.record.candidate.short_digest})
        self._log.finish(self.run_id)

    def _open(self, tags: Mapping[str, str]) -> str:
        return self._log.open_run(self._workspace.config.name, self._key, tags=tags)

    def _log_child(self, role: str, finalist: Finalist) -> None:
        candidate = finalist.record.candidate
        # A sweep that goes on with a larger budget may end with another winner, which then gets a run of its own.
        key = f"{self._key}:{role.replace(' ', '-')}:{candidate.short_digest}"
        run = self._log.open_run(
            f"{role} {candidate.short_digest}", key, parent=self.run_id, tags={"promptopt.kind": role}
        )
        self._log.log_params(
            run, {**candidate.choices, "demos": " ".join(candidate.demos), "candidate": candidate.digest}
        )
        self._log.log_metrics(run, {**_flat("", finalist.reports), "trial": float(finalist.record.number)})
        self._log.log_dict(
            run,
            {
                "calibrator": _dumped(finalist.operation.calibrator),
                "certificate": _dumped(finalist.operation.certificate),
                "band": _dumped(finalist.operation.band),
                "operating_point": finalist.operating_point.model_dump(),
                "reports": {split.value: report.model_dump() for split, report in finalist.reports.items()},
            },
            "operating_point.json",
        )
        texts = CaseTexts(self._workspace.case_texts)
        for prompt in finalist.prompts:
            shown = prompt if self._log.log_texts else texts.redact_prompt(prompt)
            name = prompt_name("promptopt", self._workspace.config.domain.name, prompt.question)
            self._log.register_prompt(run, name, shown, tags={"candidate": candidate.short_digest})
        self._log.finish(run)

    def _by_split(self) -> dict[str, tuple[GoldenCase, ...]]:
        golden = self._workspace.golden
        return {split.value: golden.split(split) for split in Split}

    def _golden_record(self, context: str, cases: tuple[GoldenCase, ...]) -> GoldenRecord:
        golden = self._workspace.golden
        return GoldenRecord(
            name=golden.name, digest=golden.digest, context=context, source=f"golden set {golden.name}", cases=cases
        )


def trial_rows(records: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """The trial table: one row per trial, every choice and metric a column."""
    return [
        {
            "trial": record.number,
            "candidate": record.candidate.short_digest,
            "state": "repeat" if record.repeats is not None else "complete" if record.complete else "dropped",
            "repeats": record.repeats,
            "cases": record.cases,
            "unjudged": record.unjudged,
            **dict(sorted(record.metrics.items())),
            **record.candidate.choices,
            "demos": " ".join(record.candidate.demos),
        }
        for record in records
    ]


def sweep_figures(result: SweepResult, comparison: FinalComparison, precision_floor: float) -> dict[str, Any]:
    """The sweep's plotly figures by file name."""
    from promptopt.tracking import figures

    seed, winner = comparison.seed, comparison.winner
    points = [_trial_point(record, result, comparison) for record in result.records if record.repeats is None]
    curves = {}
    for name, finalist in (("seed prompt", seed), ("winner", winner)):
        test = comparison.tests[finalist.digest]
        curve = precision_recall_curve(test.labels, test.scores)
        curves[name] = (curve.precision.tolist(), curve.recall.tolist())
    test = comparison.tests[winner.digest]
    labels, calibrated = test.labels.tolist(), winner.calibrated(test).tolist()
    return {
        "precision_recall": figures.precision_recall_figure(curves, precision_floor),
        "score_distribution": figures.score_distribution_figure(labels, calibrated, winner.operating_point.threshold),
        "reliability": figures.calibration_figure(labels, calibrated),
        "cost_quality": figures.cost_quality_figure(points),
        "history": figures.history_figure(points),
    }


def _trial_point(record: TrialRecord, result: SweepResult, comparison: FinalComparison) -> Any:
    from promptopt.tracking.figures import TrialPoint

    digest = record.candidate.digest
    roles = {f.digest: "finalist" for f in comparison.finalists}
    roles[result.seed.candidate.digest] = "seed"
    roles[comparison.winner.digest] = "winner"
    auprc, tokens = record.metrics.get("auprc"), record.metrics.get("tokens_per_case")
    return TrialPoint(
        number=record.number,
        candidate=record.candidate.short_digest,
        shape=str(record.candidate.choices["shape"]),
        auprc=float("nan") if auprc is None else auprc,
        tokens_per_case=float("nan") if tokens is None else tokens,
        role=roles.get(digest, "trial" if record.complete else "dropped"),  # type: ignore[arg-type]
    )


def _without_credentials(data: Any) -> Any:
    """Configuration as plain data, the user names and passwords in its addresses left out."""
    if isinstance(data, Mapping):
        return {key: _without_credentials(value) for key, value in data.items()}
    return without_credentials(data) if isinstance(data, str) and "://" in data else data


def _dumped(part: FrozenModel | None) -> dict[str, Any] | None:
    return None if part is None else part.model_dump(mode="json")


def _flat(prefix: str, reports: Mapping[Split, SplitReport]) -> dict[str, float]:
    start = f"{prefix}_" if prefix else ""
    return {
        f"{start}{split.value}/{name}": interval.point
        for split, report in reports.items()
        for name, interval in report.metrics.items()
    }
