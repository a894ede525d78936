"""``promptopt config``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from promptopt.commands.output import console, print_json
from promptopt.config import load_config, resource


def show(overrides: Sequence[str], as_json: bool) -> None:
    """Prints the checked configuration and the groups to choose from."""
    config = load_config(overrides).model_dump(mode="json")
    groups = _groups(resource("configs"))
    if as_json:
        print_json({"config": config, "groups": groups})
        return
    out = console()
    out.print(yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=110), markup=False, soft_wrap=True)
    for group, choices in groups.items():
        out.print(f"# {group}: {', '.join(choices)}", markup=False, soft_wrap=True)


def _groups(folder: Path) -> dict[str, list[str]]:
    return {
        group.name: sorted(file.stem for file in group.glob("*.yaml"))
        for group in sorted(folder.iterdir())
        if group.is_dir()
    }
