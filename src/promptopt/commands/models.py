"""``promptopt models``."""

from __future__ import annotations

from dataclasses import asdict

from promptopt.commands.output import console, error_console, print_json, program, table
from promptopt.judges.catalog import list_models
from promptopt.judges.catalog import pull as pull_model


def pull(name: str, as_json: bool) -> None:
    """Makes a model ready."""
    progress = error_console()
    folder = pull_model(name, on_progress=lambda what: progress.print(f"[dim]{what}[/]"))
    if as_json:
        print_json({"model": name, "folder": str(folder)})
    else:
        console().print(f"{name} is ready in {folder}", soft_wrap=True)


def list_all(as_json: bool) -> None:
    """Lists the catalog."""
    models = list_models()
    if as_json:
        print_json([{**asdict(model), "folder": str(model.folder)} for model in models])
        return
    shown = table("model", "hub id", "licence", "size", "ready")
    for model in models:
        size = f"{model.size_bytes / 1e6:.0f} MB" if model.ready else "-"
        shown.add_row(model.name, model.hub_id, model.licence, size, "yes" if model.ready else "no")
    out = console()
    out.print(shown)
    if missing := [model.name for model in models if not model.ready]:
        out.print(f"\nTo make it ready:\n  {program()} models pull {missing[0]}", soft_wrap=True, markup=False)
    out.print("\nAny other Hugging Face causal language model works too: judge.model=HUB_ID or judge.model=FOLDER.")
