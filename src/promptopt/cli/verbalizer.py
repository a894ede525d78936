"""``promptopt verbalizer``: what a panel's words say of a violation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptopt.cli.options import Json, Overrides

app = typer.Typer(no_args_is_help=True)


@app.callback()
def verbalizer() -> None:
    """What a panel's words say of a violation."""


@app.command("fit")
def verbalizer_fit(
    domains: Annotated[str, typer.Option(help="Domains to learn from, divided by commas.")],
    target: Annotated[Path, typer.Option("--out", help="JSON file to write.")],
    overrides: Overrides = None,
    cases: Annotated[int, typer.Option(min=10, help="At most so many search cases of each domain.")] = 200,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Fit the panel's weights on several domains, for `program.panel.prior` of another one to start from."""
    from promptopt.commands.verbalizer_fit import PriorRequest
    from promptopt.commands.verbalizer_fit import fit as run

    names = tuple(name.strip() for name in domains.split(",") if name.strip())
    run(PriorRequest(names, target, cases, overrides or (), force), as_json)
