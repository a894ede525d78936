"""``promptopt verbalizer fit``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from promptopt.commands.output import console, error_console, print_json, program, table
from promptopt.commands.policy_cases import write_whole
from promptopt.config import load_config
from promptopt.errors import ConfigError
from promptopt.pipeline.verbalizer_prior import fit_prior
from promptopt.policy.verbalizer_prior import VerbalizerPrior

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class PriorRequest:
    """What to fit a prior on, and where to put it.

    Attributes:
        domains: Names of domains of the configuration.
        target: The file to write.
        cases: At most so many search cases of each domain.
        overrides: Hydra overrides for all of them.
        force: Replace a file that is there.
    """

    domains: tuple[str, ...]
    target: Path
    cases: int
    overrides: Sequence[str]
    force: bool = False


def fit(request: PriorRequest, as_json: bool) -> None:
    """Fits the prior and writes it."""
    if request.target.exists() and not request.force:
        raise ConfigError("the file exists", where=request.target, remedy="choose another, or replace it with --force")
    if not request.domains or len(set(request.domains)) < len(request.domains):
        raise ConfigError(
            f"`{','.join(request.domains)}` is no list of different domains",
            where="--domains",
            remedy="name them divided by commas: --domains FIRST,SECOND",
        )
    configs = [load_config(["program=verbalized", *request.overrides, f"domain={name}"]) for name in request.domains]
    progress = error_console()
    prior = fit_prior(configs, request.cases, lambda line: progress.print(escape(line)))
    write_whole(request.target, prior.model_dump_json(indent=2) + "\n")
    if as_json:
        print_json({"out": str(request.target), "prior": prior.model_dump(mode="json")})
        return
    _show(prior, request.target)


def _show(prior: VerbalizerPrior, target: Path) -> None:
    out = console()
    rows = table("domain", "search cases", "violations", "golden set")
    for source in prior.sources:
        rows.add_row(escape(source.domain), f"{source.cases}", f"{source.violations}", source.golden[:12])
    out.print(rows)
    order = sorted(prior.weights, key=lambda word: prior.weights[word])
    out.print(f"speaks for a violation: {', '.join(reversed(order[-_SHOWN:]))}", markup=False)
    out.print(f"speaks against one:     {', '.join(order[:_SHOWN])}", markup=False)
    out.print(f"written to {target}", soft_wrap=True, markup=False)
    example = f"{program()} sweep program=verbalized 'program.panel.prior={target}' domain=..."
    out.print(f"next, for a domain that is none of these: {example}", soft_wrap=True, markup=False)
