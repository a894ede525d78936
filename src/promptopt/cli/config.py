"""``promptopt config``: the composed configuration."""

from __future__ import annotations

import typer

from promptopt.cli.options import Json, Overrides

app = typer.Typer(help="The configuration of a sweep.", no_args_is_help=True)


@app.command("show")
def config_show(overrides: Overrides = None, as_json: Json = False) -> None:
    """Print the composed configuration, and the groups to choose from."""
    from promptopt.commands.config import show

    show(overrides or [], as_json)
