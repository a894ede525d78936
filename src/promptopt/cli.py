"""The command line: names the commands and says how they fail. What is heavy is imported by the command that runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from promptopt.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="promptopt",
    help="Turn a content-safety policy and a golden set into a judge that can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
bundle_app = typer.Typer(
    help="Look at exported judges, and check that they still say what they said.", no_args_is_help=True
)
golden_app = typer.Typer(help="Bring golden sets in, and look at them.", no_args_is_help=True)
models_app = typer.Typer(help="Judge models that are ready to use here.", no_args_is_help=True)
policy_app = typer.Typer(help="A policy: what it asks for, and how judges do at it.", no_args_is_help=True)
config_app = typer.Typer(help="The configuration of a sweep.", no_args_is_help=True)
verbalizer_app = typer.Typer(no_args_is_help=True)
bench_app = typer.Typer(no_args_is_help=True)
app.add_typer(bundle_app, name="bundle")
app.add_typer(golden_app, name="golden")
app.add_typer(models_app, name="models")
app.add_typer(policy_app, name="policy")
app.add_typer(config_app, name="config")
app.add_typer(verbalizer_app, name="verbalizer")
app.add_typer(bench_app, name="bench")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Hydra overrides, such as domain=abuse seed=1.")]


@app.command()
def sweep(overrides: Overrides = None, as_json: Json = False) -> None:
    """Search for the best prompt, log every trial, export the winner. The same command resumes a sweep."""
    from promptopt.commands.sweep import sweep as run

    run(overrides or [], as_json)


@app.command()
def judge(
    source: Annotated[Path, typer.Option("--in", help="JSONL, CSV or Parquet file to judge.")],
    target: Annotated[Path, typer.Option("--out", help="Where to write it with the verdicts added.")],
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            "--bundle",
            help="Folder of an exported judge, or the file of a cascade or jury; several folders, one per domain, "
            "judge every row at once.",
        ),
    ] = None,
    bundles: Annotated[
        Path | None, typer.Option("--bundles", help="Folder of exported judges, all to be used, one per domain.")
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    part: Annotated[
        list[str] | None,
        typer.Option("--part", help="PART=COLUMN, such as title=headline, for each part of the content to judge."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Prefix of the columns that are added.")] = "judge_",
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")] = False,
    any_judge: Annotated[
        bool, typer.Option("--any-judge", help="Go on when this machine's judge is not the one that was measured.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            help="local, server, ray or fake; the bundle's own by default. With ray, several workers each run the "
            "bundle's own engine, here or on the cluster that RAY_ADDRESS names; workers on other hosts need bundle, "
            "input and output at the same paths, on a file system that all share."
        ),
    ] = None,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Workers with --engine ray; by default one per GPU, else per core.")
    ] = None,
    part_rows: Annotated[int, typer.Option(min=1, help="Rows per part; a run that is killed loses one part.")] = 4096,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what an unfinished run into this output has judged.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Judge a file with an exported judge, or with one per domain and an overall action. Every input column is kept.

    The same command resumes a killed run.
    """
    from promptopt.bundle.tables import TableOptions
    from promptopt.commands import judge as one
    from promptopt.commands import judge_domains as several
    from promptopt.commands.judge_parts import part_columns

    options = TableOptions(
        text_column=text_column,
        part_columns=part_columns(part or ()),
        prefix=prefix,
        overwrite=force,
        part_rows=part_rows,
        restart=restart,
    )
    folders = several.folders(bundle or (), bundles)
    if bundles is None and len(folders) == 1:
        one.judge(one.JudgeRequest(folders[0], source, target, options, any_judge, engine, actors), as_json)
    else:
        request = several.DomainsRequest(folders, source, target, options, any_judge, engine, actors)
        several.judge_domains(request, as_json)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Names or folders of finished sweeps, or MLflow run ids.")],
    runs_dir: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
    tracking_uri: Annotated[str | None, typer.Option(help="Tracking store for MLflow run ids.")] = None,
    as_json: Json = False,
) -> None:
    """Set finished sweeps side by side."""
    from promptopt.commands.compare import compare as run

    run(runs, runs_dir, tracking_uri, as_json)


@app.command()
def promote(
    winner: Annotated[Path, typer.Option("--winner", help="Folder of the bundle that would be promoted.")],
    incumbent: Annotated[Path, typer.Option("--incumbent", help="Folder of the bundle in use.")],
    golden: Annotated[Path, typer.Option("--golden", help="Folder of the golden set whose sealed test decides.")],
    alpha: Annotated[float, typer.Option(help="Level of significance, two-sided, held over all gated metrics.")] = 0.05,
    precision_floor: Annotated[float, typer.Option(help="Precision that recall is measured at.")] = 0.8,
    recall_floor: Annotated[
        list[str] | None,
        typer.Option(help="SLICE=VALUE that the winner must reach, such as clause:V2=0.9 or severity>=3=0.95."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why the test is opened; goes on record.")] = "promotion gate",
    runs_dir: Annotated[
        Path | None, typer.Option(help="Folder of runs that holds the record of openings; the winner's by default.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report to this .html or .md file too.")] = None,
    any_judge: Annotated[
        bool, typer.Option("--any-judge", help="Go on when this machine's judge is not the one that was measured.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare two exported judges on a sealed test, on record. Exit code 1 when the winner is not promoted."""
    from promptopt.commands.promote import GateOptions, run_promotion
    from promptopt.pipeline.promotion import PromotionRequest

    options = GateOptions(alpha, precision_floor, recall_floor or ())
    request = PromotionRequest(
        winner, incumbent, golden, options.settings(), options.floors(), reason, runs_dir, any_judge
    )
    run_promotion(request, report, as_json)


@bundle_app.command("verify")
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


@bundle_app.command("compose")
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


@bundle_app.command("fit")
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


@bundle_app.command("show")
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


@golden_app.command("import")
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


@golden_app.command("show")
def golden_show(
    folder: Annotated[Path, typer.Argument(help="Folder of a golden set.")],
    as_json: Json = False,
) -> None:
    """Show what a golden set holds: splits, labels, clauses, languages. No texts."""
    from promptopt.commands.golden import show

    show(folder, as_json)


@models_app.command("pull")
def models_pull(
    name: Annotated[str, typer.Argument(help="Model of the catalog, such as smollm2-135m.")],
    as_json: Json = False,
) -> None:
    """Make a judge model ready: fetch it, check its digest, convert it once."""
    from promptopt.commands.models import pull

    pull(name, as_json)


@models_app.command("list")
def models_list(as_json: Json = False) -> None:
    """List the judge models of the catalog and whether they are ready."""
    from promptopt.commands.models import list_all

    list_all(as_json)


@config_app.command("show")
def config_show(overrides: Overrides = None, as_json: Json = False) -> None:
    """Print the composed configuration, and the groups to choose from."""
    from promptopt.commands.config import show

    show(overrides or [], as_json)


@policy_app.command("cases")
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


@policy_app.command("test")
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


@policy_app.command("sop")
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


@policy_app.command("show")
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


@policy_app.command("lint")
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


@policy_app.command("schema")
def policy_schema(
    target: Annotated[
        Path | None, typer.Option("--output", help="File to write it to; standard output by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the JSON schema of the policy language, for editors."""
    from promptopt.commands.policy_schema import schema

    schema(target, as_json)


@policy_app.command("diff")
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


@policy_app.command("new")
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


@verbalizer_app.callback()
def verbalizer() -> None:
    """What a panel's words say of a violation."""


@verbalizer_app.command("fit")
def verbalizer_fit(
    domains: Annotated[str, typer.Option(help="Domains to learn from, divided by commas: sexual,self_harm.")],
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


@bench_app.callback()
def bench() -> None:
    """Measure the judge's engine, and the search, against other ways."""


@bench_app.command("engine")
def bench_engine(
    model: Annotated[str, typer.Option(help="Catalog name, hub id or folder.")] = "smollm2-135m",
    prefix: Annotated[str | None, typer.Option(help="Tokens before the case: 512,1024 by default.")] = None,
    item: Annotated[str | None, typer.Option(help="Tokens of a case: 24,100 by default.")] = None,
    variants: Annotated[str | None, typer.Option(help="Prompts that share 75% of the prefix: 1,8 by default.")] = None,
    full: Annotated[bool, typer.Option("--full", help="The whole grid: 0.5k/1k/2k x 24/100/300 x 1/8/32.")] = False,
    methods: Annotated[
        str | None, typer.Option(help="Some of engine,sequence,padded,dynamic-cache,dspy-server.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time for each figure of each method and cell.")] = 20.0,
    rounds: Annotated[
        int, typer.Option(help="Rounds to divide the time into; methods take turns, the best counts.")
    ] = 3,
    cases: Annotated[int, typer.Option(help="Judgements of a cell; fewer are timed where time is short.")] = 512,
    batch: Annotated[int, typer.Option(help="Sequences per padded batch.")] = 16,
    batch_tokens: Annotated[int, typer.Option(help="Tokens per forward pass of the engine; 0 chooses.")] = 0,
    server_threads: Annotated[str, typer.Option(help="Numbers of DSPy threads to try; the fastest counts.")] = "1,4,16",
    threads: Annotated[int, typer.Option(help="Processor threads; 0 for torch's choice.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    gguf: Annotated[Path | None, typer.Option(help="The model as GGUF, for dspy-server; the catalog's if any.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for rows.csv, result.json and report.html.")] = Path(
        "runs/bench-engine"
    ),
    as_json: Json = False,
) -> None:
    """Time this engine side by side with plain scoring, DynamicCache, and DSPy with llama.cpp's server."""
    from promptopt.commands.bench import BenchRequest
    from promptopt.commands.bench import bench_engine as run

    grid = (prefix, item, variants, methods, server_threads, full)
    run(
        BenchRequest(model, *grid, seconds, rounds, cases, batch, batch_tokens, threads, device, dtype, gguf, out),
        as_json,
    )


@bench_app.command("search")
def bench_search(
    matrix: Annotated[
        Path | None, typer.Option("--matrix", help="Replay on a score matrix, made by scripts/score_matrix.py.")
    ] = None,
    tasks: Annotated[
        Path | None, typer.Option("--tasks", help="Search end to end on the tasks of this YAML file.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="End to end: some of the methods, divided by commas; all by default.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Replays (30), each with its own candidates and orders, or searches (3).")
    ] = None,
    budget: Annotated[float, typer.Option(help="Replay: judgements allowed, as a share of the full grid.")] = 0.1,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; runs/bench-search, or runs/bench-search-tasks.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare ways of searching at equal numbers of judgements: replayed on stored scores, or end to end."""
    from promptopt.commands.bench_search import SearchBenchRequest
    from promptopt.commands.bench_search import bench_search as run

    run(SearchBenchRequest(matrix, tasks, methods, seeds, budget, out), as_json)


def main() -> None:
    """Runs the command line; a user's mistake is one sentence on standard error and exit code 2."""
    try:
        app()
    except UserError as error:
        typer.echo(f"promptopt: {_as_called(str(error))}", err=True)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as ending:
        if ending.code == EXIT_INTERRUPTED:  # which is what typer makes of Ctrl-C, without a word
            _say_interrupted()
        raise


def _say_interrupted() -> None:
    typer.echo("promptopt: interrupted; nothing is lost, run the same command again to go on", err=True)


def _as_called(message: str) -> str:
    """The message with the commands in it as this user has to type them."""
    from promptopt.commands.output import program

    return message.replace("`promptopt ", f"`{program()} ")


if __name__ == "__main__":
    main()
