"""Judges many candidates of the direct program on the same cases, and keeps the scores as one file without texts.

Usage: python scripts/score_matrix.py --domain abuse --golden FOLDER --candidates 200 --cases 400 --out FILE.npz

Scores go through the score store, candidate by candidate: a run that is killed goes on with the same command. Only the
search split is read. `promptopt bench search --matrix FILE.npz` replays searches on the file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from promptopt.bench.matrix_judging import MatrixSize, judge_matrix
from promptopt.config import AppConfig, load_config
from promptopt.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Judges and writes; a user's mistake is one sentence and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", default="abuse")
    parser.add_argument("--golden", default="authored", help="folder of a golden set, or authored")
    parser.add_argument("--candidates", type=_count, default=200)
    parser.add_argument("--cases", type=_count, default=400)
    parser.add_argument("--judge", default="smollm2-135m", help="a judge of configs/judge")
    parser.add_argument("--seed", type=int, default=0, help="of candidates, cases and demonstrations")
    parser.add_argument("--max-demos", type=int, help="leave out larger numbers of demonstrations; they cost most")
    parser.add_argument("--max-item-tokens", type=int, help="longest case text in tokens; the judge's own by default")
    parser.add_argument("--scores-url", help="score store; runs/scores.db by default")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        matrix = judge_matrix(_config(options), MatrixSize(options.candidates, options.cases), _tell)
    except UserError as error:
        print(f"score_matrix: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("score_matrix: interrupted; the same command goes on", file=sys.stderr)
        return 130
    matrix.save(options.out)
    rows, cases = matrix.logprobs.shape
    print(f"{options.out}: {rows} candidates, {cases} cases, {int(matrix.labels.sum())} of them violations")
    return 0


def _config(options: argparse.Namespace) -> AppConfig:
    golden = (
        ["golden=authored"] if options.golden == "authored" else ["golden=folder", f"golden.path='{options.golden}'"]
    )
    overrides = [f"domain={options.domain}", f"judge={options.judge.replace('-', '_')}", "program=direct", *golden]
    overrides += [f"seed={options.seed}", "tracking=none"]
    if options.max_item_tokens is not None:
        overrides.append(f"judge.max_item_tokens={options.max_item_tokens}")
    if options.scores_url:
        overrides.append(f"scores_url='{options.scores_url}'")
    config = load_config(overrides)
    if options.max_demos is None:
        return config
    kept = [count for count in config.program.demos.counts if count <= options.max_demos]
    return load_config([*overrides, f"program.demos.counts={kept}"])


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1 is needed, found {number}")
    return number


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
