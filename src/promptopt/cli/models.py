"""``promptopt models``: the judge models of the catalog."""

from __future__ import annotations

from typing import Annotated

import typer

from promptopt.cli.options import Json

app = typer.Typer(help="Judge models that are ready to use here.", no_args_is_help=True)


@app.command("pull")
def models_pull(
    name: Annotated[str, typer.Argument(help="Model of the catalog, such as smollm2-135m.")],
    as_json: Json = False,
) -> None:
    """Make a judge model ready: fetch it, check its digest, convert it once."""
    from promptopt.commands.models import pull

    pull(name, as_json)


@app.command("list")
def models_list(as_json: Json = False) -> None:
    """List the judge models of the catalog and whether they are ready."""
    from promptopt.commands.models import list_all

    list_all(as_json)
