"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Hydra overrides, such as domain=abuse seed=1.")]
