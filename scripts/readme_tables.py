"""Writes the measured figures of experiments/ into README.md, and older ones into their pages, between their markers.

Usage: python scripts/readme_tables.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "experiments"
SEARCH_PAGE = "2026-11-26-search-end-to-end"
SEARCH_PARTS = ("", "verbalized", "gepa", "moderation", "float32", "promptolution", "again", "moderation-again")


def main() -> None:
    write(
        ROOT / "README.md",
        {
            "quickstart": quickstart(load("2026-11-22-quickstart")),
            "engine": engine(load("2026-11-23-engine-cpu")),
            "engine-gpu": engine_gpu(load("2026-11-26-engine-gpu")),
            "numerics": numerics(load("2026-11-23-numerics")),
            "scale": scale(load("2026-11-23-ray"), load("2026-11-23-corpus")),
            "kill-resume": kill_resume(load("2026-11-22-kill-resume")),
            "search-replay": search_replay(*(f"2026-11-{day}-search-replay" for day in (25, 26, 27))),
            "search": search(
                load("2026-11-27-search-gpu"), load("2026-11-27-search-gpu", "large"), load("2026-11-27-search-gepa")
            ),
            "verbalizer-prior": verbalizer_prior(load("2026-11-27-verbalizer-prior")),
            "overhead": overhead(load("2026-11-28-overhead")),
            "steerability": steerability(load("2026-11-25-steerability")),
            "shapes": shapes(load("2026-11-25-shapes")),
            "functions": functions(load("2026-11-25-hatecheck-functions")),
        },
    )
    earlier = EXPERIMENTS / SEARCH_PAGE / "README.md"
    write(earlier, {"search": earlier_searches(*(load(SEARCH_PAGE, part) for part in SEARCH_PARTS))})


def write(page: Path, blocks: dict[str, str]) -> None:
    """Puts blocks between the markers of their names."""
    text = page.read_text(encoding="utf-8")
    for name, block in blocks.items():
        text = replace(text, name, block)
    page.write_text(text, encoding="utf-8")


def load(experiment: str, part: str = "") -> dict[str, Any]:
    """The experiment's result, or a part of it that was run by itself."""
    name = f"result-{part}.json" if part else "result.json"
    found: dict[str, Any] = json.loads((EXPERIMENTS / experiment / name).read_text(encoding="utf-8"))
    return found


def replace(text: str, name: str, block: str) -> str:
    """Puts a block between the markers of its name."""
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    before, rest = text.split(start)
    _, after = rest.split(end)
    return f"{before}{start}\n{block}\n{end}{after}"


def quickstart(summary: dict[str, Any]) -> str:
    """The quickstart's outcome on the sealed test."""
    seed, winner = summary["seed_prompt"]["reports"]["test"], summary["winner"]["reports"]["test"]
    floor = summary["precision_floor"]
    rows = [
        ("AUPRC", "auprc"),
        ("AUROC", "auroc"),
        (f"recall at precision {floor:g}", "recall_at_precision"),
        ("precision at threshold", "precision"),
        ("recall at threshold", "recall"),
    ]
    lines = [
        "`python experiments/2026-11-22-quickstart/run.py`, on two cores of an AMD EPYC with AVX512-BF16, in bfloat16:",
        "",
        f"| {summary['domain']}, sealed test of {winner['cases']} cases | seed prompt | winner |",
        "|---|---:|---:|",
        *(f"| {label} | {interval(seed['metrics'][m])} | {interval(winner['metrics'][m])} |" for label, m in rows),
        "",
        f"Paired difference of AUPRC {interval(summary['difference'], '+')}. {summary['candidates']} candidates, "
        f"{summary['judgements']:,} judgements (full grid: {summary['judgements_full_grid']:,}), "
        f"{summary['tokens_computed']:,} tokens in {summary['engine_seconds']:.0f} s of judging; "
        f"{summary['wall_seconds']:.0f} s and {summary['peak_memory_gib']:.1f} GiB in all, install and model fetch "
        "apart.",
    ]
    return "\n".join(lines)


METHODS = {
    "engine": "**this engine**",
    "sequence": "one sequence per case",
    "padded": "padded batches of 16",
    "dynamic-cache": "DynamicCache, prefix expanded",
    "dspy-server": "DSPy `Evaluate` -> llama.cpp server (Q4_1)",
}


def engine(result: dict[str, Any]) -> str:
    """The engine's speed against other ways of judging the same cases."""
    machine, card = result["machine"], result["card"]
    lines = [
        "`promptopt bench engine --prefix 512,1024 --item 24 --variants 1 --seconds 24 --rounds 3`, "
        f"{card['model']}, {card['dtype']}, {machine['threads']} threads of an {machine['name']}; rates count the "
        "prefix once for as many cases as were timed:",
        "",
        "| prefix / item | method | judgements/s | prefix apart | tokens each | of matmul peak | client CPU ms "
        "| this engine is faster by |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for cell in result["cells"]:
        for row in result["rows"]:
            if (row["prefix"], row["item"]) == (cell["prefix"], cell["item"]):
                lines.append(_engine_row(row, cell["peers"].get(row["method"])))
    shares = [cell["peers"]["padded"]["marginal_share_of_ideal"] for cell in result["cells"]]
    overhead = max(row["overhead"] or 0.0 for row in result["rows"])
    lines += [
        "",
        f"Against padded batches that is {' and '.join(f'{share:.0%}' for share in shares)} of the ideal ratio "
        f"of floating-point operations, attention counted (above 100%: padding and masks cost the baseline more). "
        f"Everything that is not the model's forward pass takes {overhead:.1%} of the engine's time.",
    ]
    return "\n".join(lines)


def _engine_row(row: dict[str, Any], peer: dict[str, Any] | None) -> str:
    apart, share = row["marginal_judgements_per_second"], row["share_of_peak"]
    ratio = "" if peer is None else f"{peer['marginal_ratio'] or peer['ratio']:.1f}x"
    return (
        f"| {row['prefix']:,} / {row['item']} | {METHODS[row['method']]} | {row['judgements_per_second']:.3g} "
        f"| {'' if apart is None else f'{apart:.3g}'} | {row['tokens_per_judgement']:,.0f} "
        f"| {'' if share is None else f'{share:.0%}'} | {row['client_cpu_ms']:,.0f} | {ratio} |"
    )


def engine_gpu(result: dict[str, Any]) -> str:
    """The same on a GPU, on random weights in the shapes of larger models."""
    lines = [
        "`python scripts/bench_gpu.py --variants 1 --compile`, and with 8 prompts that share three quarters, one "
        f"{result['device']}, bfloat16, random weights in the models' shapes, 2,000 tokens before a case of 100:",
        "",
        "| model, prompts | method | judgements/s | prefix apart | of matmul peak, apart | faster than padded by |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for model in result["after"]:
        padded = model["rows"]["padded"]["judgements_per_second"]
        for name in ("engine", "engine, compiled", "padded", "dynamic-cache"):
            row = model["rows"][name]
            rate = row["marginal_judgements_per_second"] or row["judgements_per_second"]
            share = row["marginal_share_of_peak"] or row["share_of_peak"]
            label = {"engine, compiled": "**this engine**, blocks compiled (`judge.compile=true`)"}.get(
                name, METHODS.get(name)
            )
            lines.append(
                f"| {model['model']}, {model['variants']} | {label} | {row['judgements_per_second']:.0f} | {rate:.0f} "
                f"| {share:.0%} | {'' if name == 'padded' else f'{rate / padded:.1f}x'} |"
            )
    return "\n".join(lines)


def numerics(result: dict[str, Any]) -> str:
    """What company and number format do to a score."""
    lines = [
        "`python scripts/bench_numerics.py --json experiments/2026-11-23-numerics/result.json`, the seed prompts of "
        "the five domains, against float32 in one call:",
        "",
        "| computed as | cases | largest difference of a probability | verdicts changed at 0.5 | at the best F1 |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, row in result["rows"].items():
        changed = [f"{row[k]} ({row[k] / row['cases']:.1%})" for k in ("changed_at_half", "changed_at_threshold")]
        lines.append(f"| {name} | {row['cases']} | {row['largest_difference']:.0e} | {' | '.join(changed)} |")
    return "\n".join(lines)


def scale(ray: dict[str, Any], corpus: dict[str, Any]) -> str:
    """Actors and corpora."""
    run = corpus["jsonl"]
    memory = " / ".join(f"{run['rss_mib'][at]:.0f}" for at in ("10%", "50%", "100%"))
    return "\n".join(
        [
            f"- Two Ray actors on two cores reach {ray['ratio']:.2f} times the throughput of the local engine with two "
            f"threads; an actor killed in mid-run changed no probability (`scripts/bench_ray.py`).",
            f"- {run['rows']:,} rows through `promptopt judge` (stand-in judge, JSONL) at "
            f"{run['rows_per_second']:,.0f} rows/s and {memory} MiB at 10% / 50% / 100% of the rows, killed half way "
            f"and resumed (`scripts/bench_corpus.py`).",
        ]
    )


def kill_resume(result: dict[str, Any]) -> str:
    """Killed sweeps against undisturbed ones."""
    lines = [
        "`scripts/kill_resume.py` kills a sweep with SIGKILL at random moments, resumes it each time, and compares it "
        "with an undisturbed one:",
        "",
        "| judge | kills | stored scores | same winner | same trials | same scores, to the bit | judged twice |",
        "|---|---:|---:|---|---|---|---:|",
    ]
    for judge, run in result.items():
        same = ["yes" if run[key] else "**no**" for key in ("same_winner", "same_trials", "same_scores")]
        lines.append(f"| {judge} | {run['kills']} | {run['scores']:,} | {' | '.join(same)} | {run['judged_twice']} |")
    return "\n".join(lines)


POLICIES = {
    "lockstep": "**lockstep race**",
    "miprov2": "MIPROv2's minibatches (AUPRC)",
    "miprov2_accuracy": "MIPROv2's minibatches (accuracy)",
    "minibatch_then_full": "one minibatch each, then the best in full",
    "successive_halving": "successive halving",
    "asha": "asynchronous halving (ASHA)",
    "wilcoxon": "Optuna's WilcoxonPruner",
    "random": "random search",
}


def search_replay(*experiments: str) -> str:
    """Selection policies on stored scores, a table for each matrix."""
    return "\n\n".join(_replayed(experiment, load(experiment)) for experiment in experiments)


def _replayed(experiment: str, result: dict[str, Any]) -> str:
    settings = result["settings"]
    lines = [
        f"`promptopt bench search --matrix experiments/{experiment}/matrix.npz`, "
        f"{settings['seeds']} seeds, {result['candidates']} candidates and {result['cases']} cases of HateCheck in "
        f"each; every policy may spend {settings['budget']:.0%} of the grid's judgements:",
        "",
        "| selection policy | seeds within 0.5 points of the best: its pick | a jury of its best three | mean regret, "
        "points: its pick | the jury | judgements |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in result["summaries"]:
        if row["budget"] == settings["budget"]:
            near = [f"{v['point']:.0%} [{v['low']:.0%}, {v['high']:.0%}]" for v in (row["within"], row["jury_within"])]
            regrets = row["mean_regret"], row["jury_mean_regret"]
            mean = [f"{v['point']:.2f} [{v['low']:.2f}, {v['high']:.2f}]" for v in regrets]
            spent = f"{row['judgements']:,.0f} ({row['share']:.1%})"
            lines.append(f"| {' | '.join([POLICIES[row['policy']], *near, *mean, spent])} |")
    return "\n".join(lines)


BASELINES = {
    "promptopt": "promptopt, one prompt",
    "promptopt_jury": "promptopt, a jury of three",
    "seed": "seed prompt",
    "random": "random search",
    "random_jury": "random search, a jury of three",
    "tpe": "plain TPE",
    "miprov2": "DSPy MIPROv2",
    "gepa": "DSPy GEPA",
    "capo": "CAPO (own implementation)",
    "promptolution": "promptolution's CAPO",
    "reanchor": "DSPy ReAnchor",
}


def search(result: dict[str, Any], large: dict[str, Any], gepa: dict[str, Any]) -> str:
    """Searches end to end.

    Args:
        result: All methods but GEPA and ReAnchor.
        large: Those that write no texts, with more to spend and more cases to choose by.
        gepa: GEPA and ReAnchor beside promptopt's, on processors.
    """
    own = "promptopt@verbalized"
    lines = [
        f"{_gpu_command('tasks')}, one NVIDIA H200, bfloat16; AUPRC on the sealed test, mean over {_seeds(result)} "
        f"seeds with 95% intervals over test cases; in brackets the paired difference to {method_name(own)}, where it "
        "is significant:",
        "",
        *_search_table(result, own),
        "",
        _how_often_above(result, own),
        "",
        f"GEPA, minutes a search, and ReAnchor, {_seeds(gepa)} seeds, in float32 on two processor cores:",
        "",
        *_search_table(gepa, own),
        "",
        _how_often_above(gepa, own),
        "",
        f"{_gpu_command('tasks-large')}, 4,000 judgements a search on up to 400 search cases, {_seeds(large)} seeds, "
        "the H200, before the rule for the seed prompt allowed for the choosing:",
        "",
        *_search_table(large, own),
        "",
        _how_often_above(large, own),
    ]
    return "\n".join(lines).strip()


def _gpu_command(tasks: str) -> str:
    return f"`promptopt bench search --tasks experiments/2026-11-27-search-gpu/{tasks}.yaml`"


def _how_often_above(result: dict[str, Any], own: str) -> str:
    """On how many tasks a method's mean is above those of the others, and which are significantly above it."""
    means = {(row["task"], row["method"]): row["auprc"]["point"] for row in result["rows"]}
    tasks = list(dict.fromkeys(task for task, _ in means))
    others = [name for name in dict.fromkeys(method for _, method in means) if not name.startswith("promptopt")]
    parts = [
        f"*{method_name(other)}* on {sum(means[task, own] > means[task, other] for task in tasks)}"
        f"{_level(sum(means[task, own] == means[task, other] for task in tasks))}"
        for other in others
    ]
    return (
        f"Of {len(tasks)} tasks, {method_name(own)} has a higher mean than: {'; '.join(parts)}. "
        f"Significantly above it: {_who_is_above(result, own)}."
    )


def _level(tasks: int) -> str:
    return f" (the same on {tasks})" if tasks else ""


def verbalizer_prior(result: dict[str, Any]) -> str:
    """Verbalizers that start from other domains beside those that start from nothing."""
    lines = [
        "`promptopt bench search --tasks experiments/2026-11-27-verbalizer-prior/tasks.yaml` and `tasks-plain.yaml`, "
        "float32 on two processor cores; AUPRC on the sealed test, mean over the seeds, and the paired difference with "
        "a 95% interval over test cases:",
        "",
        "| task | method | seeds | from nothing | from other domains | difference |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        cells = [row["task"], method_name(row["method"]), str(row["seeds"])]
        cells += [f"{row['without']:.3f}", f"{row['with']:.3f}", interval(row["difference"], "+")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def overhead(rows: Any) -> str:
    """What sampler, races and bookkeeping add to the engine's time."""
    lines = [
        "`python scripts/bench_overhead.py`, sweeps of the abuse domain at rest, the default judge in float32 on two "
        "cores of an AMD EPYC; nothing was judged before:",
        "",
        "| programs | judgements | sweep, s | outside the engine, s | share |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [row["shape"], f"{row['judgements']:,}", f"{row['seconds']:.0f}", f"{row['outside_engine']:.2f}"]
        lines.append(f"| {' | '.join(cells)} | {row['share']:.1%} |")
    return "\n".join(lines)


def earlier_searches(result: dict[str, Any], *parts: dict[str, Any]) -> str:
    """Searches end to end of 2026-11-26, and some of them again.

    Args:
        result: Methods by themselves, on HateCheck and authored sets.
        parts: The other methods on programs of the same shape as promptopt's; GEPA, which is too slow for more than a
            seed; the moderation set's categories; a few methods again in float32; promptolution's CAPO there; a few
            methods again after changes of the race, and the moderation set's categories too.
    """
    alike, gepa, outside, float32, promptolution, again, outside_again = parts
    own = _best_own(result)
    lines = [
        f"{_search_command('tasks')}, AUPRC on the sealed test, mean over {_seeds(result)} seeds with 95% intervals "
        f"over test cases; in brackets the paired difference to {method_name(own)}, where it is significant:",
        "",
        *_search_table(result),
        "",
    ]
    for name in result["above_best"]:
        lines.append(
            f"Significantly above {method_name(name)}: {_who_is_above(result, name)}; its mean is above that of every "
            f"method that is not promptopt's on: {', '.join(result['above_best'][name]) or 'no task'}.\n"
        )
    lines += [
        f"With the verbalizer for everybody ({_search_command('tasks-four')}, {_seeds(alike)} seeds):",
        "",
        *_search_table(alike),
        "",
        f"Categories S and H of the moderation set ({_search_command('tasks-moderation')}, one seed):",
        "",
        *_search_table(outside),
        "",
        "DSPy GEPA, one seed, beside the jury of that seed: " + "; ".join(_side_by_side(gepa, "gepa")) + ".",
        "",
        f"On a machine without bfloat16, in float32 ({_seeds(float32)} seeds), and since a jury that does worse than "
        "the seed prompt on the search cases does not win:",
        "",
        *_search_table(float32),
        "",
        "promptolution's CAPO there, one seed, beside the jury of that seed: "
        + "; ".join(_side_by_side(promptolution, "promptolution"))
        + ".",
        "",
        f"In bfloat16 again on 2026-11-27 ({_seeds(again)} seeds), with the races of that day and the rule for juries:",
        "",
        *_search_table(again),
        "",
        *_search_table(outside_again),
    ]
    return "\n".join(lines)


def _who_is_above(result: dict[str, Any], own: str) -> str:
    """``CAPO (hatecheck, abuse)``, ...; ``none``."""
    tasks: dict[str, list[str]] = {}
    for mine, task, method in result["below"]:
        if mine == own:
            tasks.setdefault(method, []).append(task)
    return "; ".join(f"{method_name(method)} ({', '.join(found)})" for method, found in tasks.items()) or "none"


def _search_command(tasks: str) -> str:
    return f"`promptopt bench search --tasks experiments/2026-11-26-search-end-to-end/{tasks}.yaml`"


def _seeds(result: dict[str, Any]) -> int:
    return int(result["rows"][0]["seeds"])


def _best_own(result: dict[str, Any]) -> str:
    """The own method that differences are taken to: the jury on verbalized programs where it was run."""
    own = list(result["above_best"])
    return "promptopt_jury@verbalized" if "promptopt_jury@verbalized" in own else own[0]


def _search_table(result: dict[str, Any], reference: str = "") -> list[str]:
    """Rows of methods; differences are those to an own method, the jury's by default."""
    rows, reference = result["rows"], reference or _best_own(result)
    tasks, methods = list(dict.fromkeys(r["task"] for r in rows)), list(dict.fromkeys(r["method"] for r in rows))
    own, found = list(result["above_best"]), {(row["task"], row["method"]): row for row in rows}
    lines = [f"| method | {' | '.join(tasks)} |", f"|---|{'---:|' * len(tasks)}"]
    for method in sorted(methods, key=lambda name: (name not in own, "@" not in name)):
        cells = []
        for task in tasks:
            row = found[task, method]
            gap = row["differences"].get(reference)
            apart = gap and (gap["low"] > 0 or gap["high"] < 0)
            cells.append(interval(row["auprc"]) + (f" ({-gap['point']:+.3f})" if apart else ""))
        lines.append(f"| {method_name(method, bold=method in own)} | {' | '.join(cells)} |")
    return lines


def _side_by_side(result: dict[str, Any], method: str, own: str = "") -> list[str]:
    own, found = (
        own or _best_own(result),
        {(row["task"], row["method"]): row["auprc"]["point"] for row in result["rows"]},
    )
    tasks = dict.fromkeys(row["task"] for row in result["rows"])
    return [f"{task} {found[task, method]:.3f} and {found[task, own]:.3f}" for task in tasks]


def method_name(name: str, bold: bool = False) -> str:
    """A method and the programs that it worked on."""
    method, _, shape = name.partition("@")
    said = BASELINES[method].replace("promptopt", "**promptopt**" if bold else "promptopt")
    return f"{said}, {shape}" if shape else said


def steerability(result: dict[str, Any]) -> str:
    """How far probabilities follow the policy."""
    lines = [
        f"`python scripts/steerability.py --cases {result['most_cases']} --out FILE.json`, {result['judge']}; a "
        "violation that an inverted clause now allows should become less probable, a violation of another clause "
        "should stay:",
        "",
        "| domain | clauses | affected cases that move down | mean change | controls that move down | mean change |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for domain, found in result["domains"].items():
        sides = [
            f"{side['moved']} of {side['judged']}: {side['share']['point']:.0%} [{side['share']['low']:.0%}, "
            f"{side['share']['high']:.0%}] | {side['mean_change']:+.3f}"
            for side in (found["overall"], found["controls"])
        ]
        lines.append(f"| {domain} | {len(found['clauses'])} | {' | '.join(sides)} |")
    return "\n".join(lines)


def shapes(result: dict[str, Any]) -> str:
    """Program shapes on the sealed tests."""
    lines = [
        f"`python scripts/compare_shapes.py --out FILE.json`, {result['judge']}, seed prompts, nothing searched or "
        "fitted; in brackets 95% intervals, then the paired difference to *direct* where it is significant:",
        "",
        "| domain | shape | AUPRC on the sealed test | tokens per case | clause named right |",
        "|---|---|---:|---:|---:|",
    ]
    for domain, found in result["domains"].items():
        for row in (row for row in found["rows"] if row["shape"] in ("direct", "checklist", "graded")):
            gap, right = row["minus_direct"], row["clause_accuracy"]
            apart = gap["low"] > 0 or gap["high"] < 0
            auprc = interval(row["auprc"]) + (f" ({gap['point']:+.3f})" if apart else "")
            named = "" if right is None else f"{right['point']:.0%} [{right['low']:.0%}, {right['high']:.0%}]"
            lines.append(f"| {domain} | {row['shape']} | {auprc} | {row['tokens_per_case']:.0f} | {named} |")
    return "\n".join(lines)


def functions(result: dict[str, Any]) -> str:
    """HateCheck's functions before and after a sweep."""
    before, after = ({row["function"]: row for row in result[side]["functions"]} for side in ("before", "after"))
    lines = [
        f"`python experiments/2026-11-25-hatecheck-functions/run.py`, {result['judge']}, "
        f"{result['before']['overall']['cases']} cases; accuracy at the threshold of the best F1 on the authored set's "
        "calibration split:",
        "",
        "| function | cases | violations | seed prompt | winner of the sweep |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in sorted(before):
        sides = [f"{side[name]['accuracy']['point']:.0%}" for side in (before, after)]
        lines.append(f"| {name} | {before[name]['cases']} | {before[name]['violations']} | {' | '.join(sides)} |")
    ends = [result[side]["overall"]["accuracy"] for side in ("before", "after")]
    shown = " | ".join(f"{end['point']:.0%} [{end['low']:.0%}, {end['high']:.0%}]" for end in ends)
    overall = result["before"]["overall"]
    lines.append(f"| **all** | {overall['cases']} | {overall['violations']} | {shown} |")
    return "\n".join(lines)


def interval(value: dict[str, float], sign: str = "") -> str:
    """``0.512 [0.401, 0.630]``."""
    return f"{value['point']:{sign}.3f} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"


if __name__ == "__main__":
    main()
