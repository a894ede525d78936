"""``promptopt compare``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from promptopt.commands.output import console, print_json, table, with_interval
from promptopt.core.case import Split
from promptopt.errors import UserError
from promptopt.pipeline.summary import SUMMARY_FILE, SweepSummary, parse_summary, read_summary

_RUN_ID_DIGITS = 32
_METRICS = ("auprc", "auroc", "recall_at_precision", "precision", "recall", "f1")


def compare(runs: Sequence[str], runs_dir: Path, tracking_uri: str | None, as_json: bool) -> None:
    """Prints finished sweeps side by side."""
    summaries = [_find(run, runs_dir, tracking_uri) for run in runs]
    if as_json:
        print_json([summary.model_dump(mode="json") for summary in summaries])
        return
    out = console()
    differing = _differing_choices(summaries)
    out.print("The winners on the sealed test, with 95% intervals")
    for part in _that_fit(summaries, differing, out):
        out.print()
        out.print(_table(part, differing))
    if len({summary.golden_digest for summary in summaries}) > 1:
        out.print("\nThe golden sets differ: figures of different columns are not comparable.")


def _table(summaries: Sequence[SweepSummary], differing: Sequence[str]) -> Table:
    shown = table("", *[escape(summary.name) for summary in summaries], wrap=False)

    def add(label: str, cell: Callable[[SweepSummary], object]) -> None:
        shown.add_row(label, *[escape(str(cell(summary))) for summary in summaries])

    add("domain", lambda s: s.domain)
    add("judge", lambda s: s.judge)
    add("golden set", lambda s: s.golden)
    add("golden digest", lambda s: s.golden_digest[:12])
    for metric in _METRICS:
        add(_label(metric, summaries), lambda s, m=metric: with_interval(s.winner.reports[Split.TEST].metrics[m]))  # type: ignore[misc]
    add("seed prompt's auprc", lambda s: with_interval(s.seed_prompt.reports[Split.TEST].metrics["auprc"]))
    add("gain over seed prompt", lambda s: with_interval(s.difference, "+"))
    add("tokens per case", lambda s: "-" if s.winner.tokens_per_case is None else f"{s.winner.tokens_per_case:.0f}")
    add("candidates", lambda s: s.candidates)
    add("judgements", lambda s: f"{s.judgements:,}")
    for name in differing:
        add(f"winner's {name}", lambda s, n=name: s.winner.choices.get(n, "-"))  # type: ignore[misc]
    add("winner's demos", lambda s: len(s.winner.demos))
    return shown


def _label(metric: str, summaries: Sequence[SweepSummary]) -> str:
    floors = {summary.precision_floor for summary in summaries}
    if metric == "recall_at_precision" and len(floors) == 1:
        return f"recall at precision {floors.pop():g}"
    return metric.replace("_", " ")


def _that_fit(
    summaries: Sequence[SweepSummary], differing: Sequence[str], out: Console
) -> Iterator[Sequence[SweepSummary]]:
    """The summaries in stretches whose table is not wider than the console; one alone may be."""
    start = 0
    while start < len(summaries):
        stop = start + 1
        while stop < len(summaries):
            wider = _table(summaries[start : stop + 1], differing)
            if Measurement.get(out, out.options.update(max_width=10_000), wider).maximum > out.width:
                break
            stop += 1
        yield summaries[start:stop]
        start = stop


def _differing_choices(summaries: Sequence[SweepSummary]) -> list[str]:
    """Dimensions in which the winners differ."""
    names = dict.fromkeys(name for summary in summaries for name in summary.winner.choices)
    return [name for name in names if len({s.winner.choices.get(name) for s in summaries}) > 1]


def _find(run: str, runs_dir: Path, tracking_uri: str | None) -> SweepSummary:
    for folder in (Path(run), runs_dir / run):
        if (folder / SUMMARY_FILE).is_file():
            return read_summary(folder)
    if len(run) == _RUN_ID_DIGITS and all(c in "0123456789abcdef" for c in run):
        return _from_mlflow(run, runs_dir, tracking_uri)
    known = sorted(path.parent.name for path in runs_dir.glob(f"*/{SUMMARY_FILE}"))
    raise UserError(
        f"no finished sweep {run!r}",
        where=runs_dir,
        remedy=f"choose from {', '.join(known)}" if known else "run `promptopt sweep` first, or set --runs-dir",
    )


def _from_mlflow(run_id: str, runs_dir: Path, tracking_uri: str | None) -> SweepSummary:
    from promptopt.tracking.reading import read_artifact
    from promptopt.tracking.stores import SQLITE, check_server

    uri = tracking_uri or f"{SQLITE}{(runs_dir / 'mlflow.db').resolve()}"
    # MLflow would make a database that is missing, and wait for minutes for a server that is.
    if uri.startswith(SQLITE):
        file = Path(uri.removeprefix(SQLITE).partition("?")[0])
        if not file.is_file():
            raise UserError("there is no tracking store", where=file, remedy="set --tracking-uri or --runs-dir")
    elif uri.startswith(("http://", "https://")):
        check_server(uri)
    else:
        raise UserError(
            f"{uri.partition(':')[0]!r} is no kind of tracking store that is read here",
            where="--tracking-uri",
            remedy="write sqlite:///FILE or http://SERVER",
        )
    return parse_summary(read_artifact(uri, run_id, SUMMARY_FILE), f"run {run_id}")
