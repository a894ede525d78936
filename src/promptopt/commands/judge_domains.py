"""``promptopt judge`` with several bundles: every case under every policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptopt.bundle.domain_columns import NO_ACTION, DomainLayout
from promptopt.bundle.domain_verdicts import DomainVerdicts
from promptopt.bundle.domains import MultiDomainJudge, check_domains
from promptopt.bundle.files import bundle_folders, read_bundle
from promptopt.bundle.model import PromptBundle
from promptopt.bundle.parts_work import Advanced, Part, PartJob, judge_here
from promptopt.bundle.table_verdicts import TableTally
from promptopt.bundle.tables import TableFiles, TableOptions, judge_in_parts
from promptopt.commands.judge import engine_config
from promptopt.commands.judge_display import JudgeDisplay
from promptopt.commands.output import console, count, print_json, table
from promptopt.core.digest import digest_data
from promptopt.engines.base import JudgeEngine
from promptopt.errors import BundleError
from promptopt.judges.bundles import open_bundle_engine
from promptopt.policy.actions import ACTION_ORDER


@dataclass(frozen=True, slots=True)
class DomainsRequest:
    """What to judge, with what, and where to put it; see :class:`promptopt.commands.judge.JudgeRequest`.

    Attributes:
        bundles: Folders of exported judges, one per domain.
    """

    bundles: Sequence[Path]
    source: Path
    target: Path
    options: TableOptions
    any_judge: bool = False
    engine: str | None = None
    actors: int | None = None


def folders(named: Sequence[Path], folder: Path | None) -> list[Path]:
    """The bundles that the options name.

    Args:
        named: Folders of bundles.
        folder: A folder of bundles, if any.

    Raises:
        BundleError: No bundle is named, or the folder holds none.
    """
    found = [*named, *(() if folder is None else bundle_folders(folder))]
    if not found:
        raise BundleError(
            "there is no judge to judge with", remedy="name a bundle with --bundle, or a folder of them with --bundles"
        )
    return found


def judge_domains(request: DomainsRequest, as_json: bool) -> None:
    """Judges a file under several policies; like the command with one bundle, it is taken up again after a kill."""
    workers = _DomainWorkers(request)
    display = JudgeDisplay(as_json)
    files = TableFiles(request.source, request.target, request.options)
    try:
        with display:
            tally = judge_in_parts(workers, files, display, DomainLayout(workers.domains))
    finally:
        workers.close()
    if as_json:
        extra = {
            "rows_judged_before": display.before,
            "out": str(request.target),
            "judgements_per_second": workers.speed,
            "engines": workers.engines,
        }
        print_json({**tally.model_dump(mode="json"), **extra})
    else:
        _print(tally, request, workers.speed)


class _DomainWorkers:
    """Judges in this process; engines are opened when the table is found to be sound and has rows left to judge."""

    def __init__(self, request: DomainsRequest) -> None:
        read = [(read_bundle(folder), folder) for folder in dict.fromkeys(request.bundles)]
        check_domains([bundle for bundle, _ in read])
        # by domain, so that the order in which bundles are named changes neither columns nor what can be resumed
        self._read = sorted(read, key=lambda each: each[0].domain)
        self._configs = {b.domain: engine_config(b, request.engine, request.actors) for b, _ in self._read}
        self._any_judge = request.any_judge
        self._engines: dict[str, JudgeEngine] = {}
        self._judge: MultiDomainJudge | None = None

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(bundle.domain for bundle, _ in self._read)

    @property
    def engines(self) -> int:
        """How many engines were opened."""
        return len(self._engines)

    @property
    def speed(self) -> float:
        """Questions answered per second of judging."""
        usage = None if self._judge is None else self._judge.usage
        return usage.queries / usage.seconds if usage and usage.seconds else 0.0

    def bundle(self) -> str:
        return digest_data({bundle.domain: bundle.digest for bundle, _ in self._read})

    def fingerprint(self) -> str:
        if not self._any_judge:
            return digest_data({bundle.domain: bundle.fingerprint for bundle, _ in self._read})
        self._opened()
        return digest_data({b.domain: self._engines[b.fingerprint].describe().fingerprint for b, _ in self._read})

    def judge_parts(self, job: PartJob, parts: Sequence[Part], advanced: Advanced) -> Iterator[TableTally]:
        return judge_here(self._verdicts, job, parts, advanced)

    def close(self) -> None:
        for engine in self._engines.values():
            engine.close()

    def _verdicts(self, texts: Sequence[str | None]) -> list[DomainVerdicts]:
        return self._opened().judge(texts)

    def _opened(self) -> MultiDomainJudge:
        if self._judge is None:
            for bundle, folder in self._read:
                if bundle.fingerprint not in self._engines:
                    self._engines[bundle.fingerprint] = open_bundle_engine(self._configs[bundle.domain], folder)
            judge = MultiDomainJudge([bundle for bundle, _ in self._read], self._engine)
            if not self._any_judge:
                judge.check_engines()
            self._judge = judge
        return self._judge

    def _engine(self, bundle: PromptBundle) -> JudgeEngine:
        return self._engines[bundle.fingerprint]


def _print(tally: TableTally, request: DomainsRequest, speed: float) -> None:
    out = console()
    out.print(
        f"{count(tally.rows, 'row')} under {count(len(tally.domains), 'policy', 'policies')}: "
        f"{count(tally.violations, 'violation')} of one or more, {tally.allowed:,} allowed by all, "
        f"{tally.unjudged:,} without a verdict; {tally.escalated:,} to escalate, {tally.truncated:,} not read whole"
    )
    order = [*(action.value for action in ACTION_ORDER), NO_ACTION]
    actions = [f"{action} {tally.actions[action]:,}" for action in order if action in tally.actions]
    out.print(f"overall action: {', '.join(actions) or 'no rows'}")
    rows = table("domain", "violation", "allowed", "no verdict", "escalate", "not read whole")
    for domain, own in tally.domains.items():
        counts = (own.violations, own.allowed, own.unjudged, own.escalated, own.truncated)
        rows.add_row(domain, *(f"{number:,}" for number in counts))
    out.print(rows)
    out.print(f"written to {request.target} ({speed:,.0f} judgements/s)", soft_wrap=True, markup=False)
