"""``promptopt policy``: policies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptopt.cli.options import Json

app = typer.Typer(help="A policy: what it asks for, and how judges do at it.", no_args_is_help=True)


@app.command("cases")
def policy_cases(
    policy: Annotated[Path, typer.Argument(help="Policy file.")],
    target: Annotated[Path, typer.Option("--out", help="JSONL file to write the cases to.")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many, in turn from every function.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of obfuscations and of the choice under a limit.")] = 0,
    as_json: Json = False,
) -> None:
    """Make functional cases from a policy: contrasts, exceptions, minimal edits, obfuscations. No model is asked."""
    from promptopt.commands.policy_cases import cases

    cases(policy, target, limit, seed, as_json)


@app.command("test")
def policy_test(
    policy: Annotated[Path, typer.Argument(help="Policy file.")],
    bundle: Annotated[
        Path, typer.Option("--bundle", help="Folder of an exported judge, or the file of a cascade or jury.")
    ],
    cases: Annotated[
        Path | None, typer.Option("--cases", help="Cases of `promptopt policy cases`, or golden cases, as JSONL.")
    ] = None,
    hatecheck: Annotated[Path | None, typer.Option("--hatecheck", help="HateCheck's all_cases.csv instead.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many cases made from the policy.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the cases made from the policy.")] = 0,
    report: Annotated[Path | None, typer.Option("--out", help="Write a report to this .html or .md file too.")] = None,
    minimum: Annotated[
        float | None,
        typer.Option("--min-accuracy", min=0, max=1, help="Share of all cases that must get the right verdict."),
    ] = None,
    texts: Annotated[bool, typer.Option("--texts", help="Print the texts of wrongly judged cases too.")] = False,
    any_judge: Annotated[
        bool, typer.Option("--any-judge", help="Go on when this machine's judge is not the one that was measured.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Test an exported judge function by function. Exit code 1 when --min-accuracy is not reached."""
    from promptopt.commands.policy_test import PolicyTestRequest
    from promptopt.commands.policy_test import test as run

    run(PolicyTestRequest(policy, bundle, cases, hatecheck, limit, seed, report, minimum, texts, any_judge), as_json)


@app.command("sop")
def policy_sop(
    policy: Annotated[Path, typer.Argument(help="Policy file.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for sop.md, sop.html and label_studio.xml.")],
    previous: Annotated[
        Path | None, typer.Option("--previous", help="The version that people know, to list what changed since.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write what annotators follow: the procedure as Markdown and HTML, and a Label Studio configuration."""
    from promptopt.commands.policy_sop import sop

    sop(policy, folder, previous, as_json)


@app.command("show")
def policy_show(
    policy: Annotated[Path, typer.Argument(help="Policy file.")],
    answers: Annotated[
        str | None, typer.Option("--answers", help="Follow one case instead: clauses that apply or not, V1=yes,V3=no.")
    ] = None,
    rest: Annotated[
        str | None, typer.Option("--rest", help="yes or no for the clauses that --answers leaves out.")
    ] = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print the drawing as a Mermaid flowchart.")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw the decision tree in this file too.")] = None,
    as_json: Json = False,
) -> None:
    """Show a policy's decision procedure: its questions in order, and where each answer leads."""
    from promptopt.commands.policy_show import ShowRequest
    from promptopt.commands.policy_show import show as run

    run(ShowRequest(policy, answers, rest, mermaid, svg), as_json)


@app.command("lint")
def policy_lint(
    policies: Annotated[
        list[Path] | None,
        typer.Argument(metavar="POLICY", help="Policy files or folders of them; data/policies by default."),
    ] = None,
    min_level: Annotated[
        str, typer.Option("--min-level", help="note, warning or error: what is below it is not shown.")
    ] = "warning",
    previous: Annotated[
        Path | None, typer.Option("--previous", help="The version of the POLICY that people know: finds reused ids.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", help="Code of a rule to leave out, such as PL323; may be repeated.")
    ] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Tokens that the definitions may take (600).")] = None,
    max_grade: Annotated[float | None, typer.Option(help="Highest Flesch-Kincaid school grade (12).")] = None,
    as_json: Json = False,
) -> None:
    """List the faults of policy files, each with its line, reason and remedy. Exit code 1 when there are any."""
    from promptopt.commands.policy_lint import LintRequest, lint

    lint(LintRequest(policies or (), min_level, previous, ignore or (), budget, max_grade), as_json)


@app.command("schema")
def policy_schema(
    target: Annotated[
        Path | None, typer.Option("--output", help="File to write it to; standard output by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the JSON schema of the policy language, for editors."""
    from promptopt.commands.policy_schema import schema

    schema(target, as_json)


@app.command("diff")
def policy_diff(
    old: Annotated[Path, typer.Argument(help="Policy file that labels were given under.")],
    new: Annotated[Path, typer.Argument(help="Policy file that is to hold.")],
    golden: Annotated[
        Path | None, typer.Option("--golden", help="Golden set: says which cases have to be read again, and why.")
    ] = None,
    bundles: Annotated[
        Path | None, typer.Option("--bundles", help="Folder of exported judges: says which are touched, and by what.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a report in Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """Say what differs between two versions of a policy: clause by clause, and which combinations decide otherwise."""
    from promptopt.commands.policy_diff import DiffRequest
    from promptopt.commands.policy_diff import diff as run

    run(DiffRequest(old, new, golden, bundles, markdown), as_json)


@app.command("new")
def policy_new(
    document: Annotated[Path, typer.Argument(help="Document in Markdown; each heading becomes a clause.")],
    domain: Annotated[str, typer.Option("--domain", help="Name of the risk domain, such as ticket_resale.")],
    target: Annotated[
        Path | None, typer.Option("--output", help="Policy file to write; DOMAIN.yaml by default.")
    ] = None,
    language: Annotated[str, typer.Option("--language", help="ISO 639-1 code of the document's language.")] = "en",
    judge: Annotated[
        str | None,
        typer.Option("--judge", help="Language model that drafts the parts of clauses: a group of configs/judge."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE for that model, such as judge.model=HUB_ID; may be repeated."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Start a policy from a plain-language document, with a mark wherever its author has to decide."""
    from promptopt.commands.policy_new import NewRequest
    from promptopt.commands.policy_new import new as run

    run(NewRequest(document, domain, language, target, judge, settings or (), force), as_json)
