"""``promptopt bundle``: exported judges, one and several in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptopt.cli.options import Json

app = typer.Typer(help="Look at exported judges, and check that they still say what they said.", no_args_is_help=True)


@app.command("verify")
def bundle_verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of an exported judge, or the file of a cascade or jury.")],
    tolerance: Annotated[
        float | None,
        typer.Option(help="Largest difference of a probability that passes; .001, or the bundle's own, if not given."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every byte of a bundle and judge its pinned cases again. Exit code 1 when a verdict differs."""
    from promptopt.commands.bundle import verify

    verify(bundle, tolerance, as_json)


@app.command("compose")
def bundle_compose(
    composition: Annotated[Path, typer.Argument(help="YAML or JSON file of a cascade or jury.")],
    target: Annotated[Path, typer.Option("--out", help="Folder to write the composite bundle to.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
    any_judge: Annotated[
        bool, typer.Option("--any-judge", help="Go on when this machine's judges are not those that were measured.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make one bundle of a cascade or jury: its bundles copied, every digest recorded, cases pinned."""
    from promptopt.commands.bundle_composition import compose_bundle

    compose_bundle(composition, target, force, any_judge, as_json)


@app.command("fit")
def bundle_fit(
    composition: Annotated[Path, typer.Argument(help="File of a cascade or jury, or a composite bundle.")],
    golden: Annotated[
        Path, typer.Option("--golden", help="Folder of a golden set; its calibration split is used, and no other.")
    ],
    target: Annotated[Path, typer.Option("--out", help="YAML file to write the fitted composition to.")],
    recall_floor: Annotated[
        float, typer.Option(help="Share of violations that a cascade must not allow unseen.")
    ] = 0.9,
    delta: Annotated[float, typer.Option(help="Probability that a certificate does not hold.")] = 0.05,
    precision_floor: Annotated[
        float | None,
        typer.Option(help="Share of violations among what a cascade flags unseen; without it, people see them all."),
    ] = None,
    human_cost: Annotated[
        float, typer.Option(min=0, help="Of a case that people judge; a question to a judge costs 1, or `cost`.")
    ] = 100.0,
    penalty: Annotated[float, typer.Option(help="Of the weights of a jury.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Halves the cases where both halves are needed.")] = 0,
    runs_dir: Annotated[Path, typer.Option(help="Folder of runs, with the scores that were paid for.")] = Path("runs"),
    scores_url: Annotated[str | None, typer.Option(help="Another score store.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Fit a cascade's bands, with a certificate, and a jury's weights, from stored scores of a calibration split."""
    from promptopt.commands.bundle_fit import FitRequest, fit
    from promptopt.pipeline.composition_fit import FitTerms

    terms = FitTerms(recall_floor, delta, precision_floor, human_cost, penalty, seed)
    fit(FitRequest(composition, golden, target, terms, runs_dir, scores_url, force), as_json)


@app.command("show")
def bundle_show(
    bundle: Annotated[Path, typer.Argument(help="Folder of an exported judge, or the file of a cascade or jury.")],
    prompt: Annotated[
        bool, typer.Option("--prompt", help="Print the prompts too; demonstrations are case texts.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what a bundle holds and what it scores."""
    from promptopt.commands.bundle import show

    show(bundle, prompt, as_json)
