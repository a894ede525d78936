"""``promptopt golden``: golden sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptopt.cli.options import Json

app = typer.Typer(help="Bring golden sets in, and look at them.", no_args_is_help=True)


@app.command("import")
def golden_import(
    source: Annotated[Path, typer.Argument(help="File to import.")],
    destination: Annotated[Path, typer.Argument(help="Folder to write the golden set to.")],
    format: Annotated[str, typer.Option("--format", help="jsonl, csv, openai-moderation or hatecheck.")],
    domain: Annotated[str, typer.Option(help="Risk domain that the labels speak of.")],
    name: Annotated[str | None, typer.Option(help="Name of the golden set; the folder's name by default.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="KEY=VALUE for the format, such as category=S.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Take a stratified sample of at most this many cases.")] = None,
    max_chars: Annotated[int | None, typer.Option(help="Leave out texts that are longer.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample and of the splits.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace another golden set in the folder.")] = False,
    as_json: Json = False,
) -> None:
    """Import labelled data as a golden set: grouped, split without leaks, with a manifest."""
    from promptopt.commands.golden import ImportRequest
    from promptopt.commands.golden import import_golden_set as run

    options = tuple(option or ())
    request = ImportRequest(source, destination, format, domain, name, options, limit, max_chars, seed, force)
    run(request, as_json)


@app.command("show")
def golden_show(
    folder: Annotated[Path, typer.Argument(help="Folder of a golden set.")],
    as_json: Json = False,
) -> None:
    """Show what a golden set holds: splits, labels, clauses, languages. No texts."""
    from promptopt.commands.golden import show

    show(folder, as_json)
