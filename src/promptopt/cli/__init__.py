"""The command line: names the commands and says how they fail. What is heavy is imported by the command that runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from promptopt import __version__
from promptopt.cli import bench, bundle, config, golden, models, policy, verbalizer
from promptopt.cli.options import Json, Overrides
from promptopt.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="promptopt",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"promptopt {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Turn a content-safety policy and a golden set into a judge that can be trusted."""


app.add_typer(bundle.app, name="bundle")
app.add_typer(golden.app, name="golden")
app.add_typer(models.app, name="models")
app.add_typer(policy.app, name="policy")
app.add_typer(config.app, name="config")
app.add_typer(verbalizer.app, name="verbalizer")
app.add_typer(bench.app, name="bench")


@app.command()
def sweep(overrides: Overrides = None, as_json: Json = False) -> None:
    """Search for the best prompt, log every trial, export the winner. The same command resumes a sweep."""
    from promptopt.commands.sweep import sweep as run

    run(overrides or [], as_json)


@app.command()
def judge(
    source: Annotated[Path, typer.Option("--in", help="JSONL, CSV or Parquet file to judge.")],
    target: Annotated[Path, typer.Option("--out", help="Where to write it with the verdicts added.")],
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            "--bundle",
            help="Folder of an exported judge, or the file of a cascade or jury; several folders, one per domain, "
            "judge every row at once.",
        ),
    ] = None,
    bundles: Annotated[
        Path | None, typer.Option("--bundles", help="Folder of exported judges, all to be used, one per domain.")
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    part: Annotated[
        list[str] | None,
        typer.Option("--part", help="PART=COLUMN, such as title=headline, for each part of the content to judge."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Prefix of the columns that are added.")] = "judge_",
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")] = False,
    any_judge: Annotated[
        bool, typer.Option("--any-judge", help="Go on when this machine's judge is not the one that was measured.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            help="local, server, ray or fake; the bundle's own by default. With ray, several workers each run the "
            "bundle's own engine, here or on the cluster that RAY_ADDRESS names; workers on other hosts need bundle, "
            "input and output at the same paths, on a file system that all share."
        ),
    ] = None,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Workers with --engine ray; by default one per GPU, else per core.")
    ] = None,
    part_rows: Annotated[int, typer.Option(min=1, help="Rows per part; a run that is killed loses one part.")] = 4096,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what an unfinished run into this output has judged.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Judge a file with an exported judge, or with one per domain and an overall action. Every input column is kept.

    The same command resumes a killed run.
    """
    from promptopt.bundle.tables import TableOptions
    from promptopt.commands import judge as one
    from promptopt.commands import judge_domains as several
    from promptopt.commands.judge_parts import part_columns

    options = TableOptions(
        text_column=text_column,
        part_columns=part_columns(part or ()),
        prefix=prefix,
        overwrite=force,
        part_rows=part_rows,
        restart=restart,
    )
    folders = several.folders(bundle or (), bundles)
    if bundles is None and len(folders) == 1:
        one.judge(one.JudgeRequest(folders[0], source, target, options, any_judge, engine, actors), as_json)
    else:
        request = several.DomainsRequest(folders, source, target, options, any_judge, engine, actors)
        several.judge_domains(request, as_json)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Names or folders of finished sweeps, or MLflow run ids.")],
    runs_dir: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
    tracking_uri: Annotated[str | None, typer.Option(help="Tracking store for MLflow run ids.")] = None,
    as_json: Json = False,
) -> None:
    """Set finished sweeps side by side."""
    from promptopt.commands.compare import compare as run

    run(runs, runs_dir, tracking_uri, as_json)


@app.command()
def promote(
    winner: Annotated[Path, typer.Option("--winner", help="Folder of the bundle that would be promoted.")],
    incumbent: Annotated[Path, typer.Option("--incumbent", help="Folder of the bundle in use.")],
    golden: Annotated[Path, typer.Option("--golden", help="Folder of the golden set whose sealed test decides.")],
    alpha: Annotated[float, typer.Option(help="Level of significance, two-sided, held over all gated metrics.")] = 0.05,
    precision_floor: Annotated[float, typer.Option(help="Precision that recall is measured at.")] = 0.8,
    recall_floor: Annotated[
        list[str] | None,
        typer.Option(help="SLICE=VALUE that the winner must reach, such as clause:V2=0.9 or severity>=3=0.95."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why the test is opened; goes on record.")] = "promotion gate",
    runs_dir: Annotated[
        Path | None, typer.Option(help="Folder of runs that holds the record of openings; the winner's by default.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report to this .html or .md file too.")] = None,
    any_judge: Annotated[
        bool, typer.Option("--any-judge", help="Go on when this machine's judge is not the one that was measured.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare two exported judges on a sealed test, on record. Exit code 1 when the winner is not promoted."""
    from promptopt.commands.promote import GateOptions, run_promotion
    from promptopt.pipeline.promotion import PromotionRequest

    options = GateOptions(alpha, precision_floor, recall_floor or ())
    request = PromotionRequest(
        winner, incumbent, golden, options.settings(), options.floors(), reason, runs_dir, any_judge
    )
    run_promotion(request, report, as_json)


def main() -> None:
    """Runs the command line; a user's mistake is one sentence on standard error and exit code 2."""
    try:
        app()
    except UserError as error:
        typer.echo(f"promptopt: {_as_called(str(error))}", err=True)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as ending:
        if ending.code == EXIT_INTERRUPTED:  # which is what typer makes of Ctrl-C, without a word
            _say_interrupted()
        raise


def _say_interrupted() -> None:
    typer.echo("promptopt: interrupted; nothing is lost, run the same command again to go on", err=True)


def _as_called(message: str) -> str:
    """The message with the commands in it as this user has to type them."""
    from promptopt.commands.output import program

    return message.replace("`promptopt ", f"`{program()} ")
