"""Measures the engine on a GPU against plain scoring, on random weights in the shapes of real models.

    PYTHONPATH=src python scripts/bench_gpu.py [--model qwen3-4b] [--prefix 2000] [--item 100] [--json FILE]

Needs numpy, torch and transformers only, and no network: weights are random, which costs as much as real ones, and the
tokenizer is built in memory. Without a GPU, or with --miniature, it runs a miniature of the same models on the CPU to
show that it works, and the GPU rows say "not measured".
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from promptopt.bench import methods
from promptopt.bench.flops import ModelShape, WorkCount, count_work
from promptopt.bench.peak import matmul_peak
from promptopt.bench.timing import Timing, TimingOptions
from promptopt.bench.workload import LABEL_PAIRS, WORDS, Cell, Workload, make_workload
from promptopt.engines.loading import LoadedModel, compile_blocks
from promptopt.errors import UserError

NOT_MEASURED = "not measured"
CONTEXT = 40_960
SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-4b": {
        "model_type": "qwen3",
        "num_hidden_layers": 36,
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151_936,
        "tie_word_embeddings": True,
    },
    "llama-3.1-8b": {
        "model_type": "llama",
        "num_hidden_layers": 32,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 128_256,
        "tie_word_embeddings": False,
    },
}
MINIATURE = {
    "num_hidden_layers": 2,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 2048,
}
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|unknown|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Plan:
    """What to measure one model with."""

    cell: Cell
    cases: int
    timing: TimingOptions
    reference_seconds: float
    peak_seconds: float
    compiled: bool


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, enough for the workload's texts, with a chat template."""
    words = [*WORDS, *(label for pair in LABEL_PAIRS for label in pair), "system", "user", "assistant", "Text", ":"]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys([*SPECIAL_TOKENS, *words]))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL_TOKENS[3]))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=CHAT_TEMPLATE,
        pad_token=SPECIAL_TOKENS[0],
        bos_token=SPECIAL_TOKENS[1],
        eos_token=SPECIAL_TOKENS[2],
        unk_token=SPECIAL_TOKENS[3],
    )


def make_model(name: str, device: torch.device, dtype: torch.dtype, miniature: bool) -> LoadedModel:
    """A model of random weights, made on the device."""
    shape = {**SHAPES[name], **(MINIATURE if miniature else {})}
    config = AutoConfig.for_model(
        **shape, max_position_embeddings=CONTEXT, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model = model.to(device).eval().requires_grad_(False)
    label = f"{name} in miniature" if miniature else name
    return LoadedModel(model, make_tokenizer(), label, "", "random weights")


def measure(loaded: LoadedModel, plan: Plan) -> dict[str, Any]:
    """Measures all methods on one model; its weights are float32 afterwards."""
    weights = next(loaded.model.parameters())
    device, dtype = weights.device, weights.dtype
    work = make_workload(loaded.tokenizer, plan.cell, plan.cases, CONTEXT)
    shape = ModelShape.of(loaded.model)
    peaks = [matmul_peak(device, dtype, plan.peak_seconds)]
    timings: dict[str, Timing | str] = {"engine": methods.time_method("engine", loaded, work, plan.timing, 0)}
    engine = timings["engine"]
    cases = len(work) if isinstance(engine, str) else engine.cases
    for method in ("padded", "dynamic-cache"):
        timings[method] = methods.time_method(method, loaded, work, plan.timing, cases)
    if plan.compiled:
        compile_blocks(loaded.model)
        timings["engine, compiled"] = methods.time_method("engine", loaded, work, plan.timing, 0)
    peaks.append(matmul_peak(device, dtype, plan.peak_seconds))
    with torch.compiler.set_stance("force_eager"):
        reference = methods.reference(_in_float32(loaded), work, plan.reference_seconds)
    rows = {name: _row(timing, work, shape, max(peaks), reference) for name, timing in timings.items()}
    return {
        "model": loaded.name,
        "dtype": str(dtype).removeprefix("torch."),
        "prefix_tokens": len(work.judgements[0].prefix),
        "marginal_tokens": len(work.judgements[0].rest),
        "peak_tflops": [peak / 1e12 for peak in peaks],
        "rows": rows,
        "ratios": _ratios(rows, work, shape),
    }


def _in_float32(loaded: LoadedModel) -> LoadedModel:
    return LoadedModel(loaded.model.float(), loaded.tokenizer, loaded.name, "", loaded.weights_digest)


def _row(
    timing: Timing | str, work: Workload, shape: ModelShape, peak: float, reference: dict[int, float]
) -> dict[str, Any]:
    if isinstance(timing, str):
        return {"note": f"{NOT_MEASURED}: {timing}"}
    count = count_work(shape, work.sequences(sorted(timing.probabilities)))
    both = reference.keys() & timing.probabilities.keys()
    marginal = timing.marginal_rate
    needed = count.full_flops if marginal is None else count.prefix_flops + count.marginal_flops
    return {
        "cases": timing.cases,
        "judgements_per_second": timing.rate,
        "marginal_judgements_per_second": marginal,
        "tokens_computed": timing.tokens_computed,
        "trie_edges": None if marginal is None else count.trie_edges,
        "share_of_peak": needed / count.judgements * timing.rate / peak,
        "marginal_share_of_peak": marginal and count.marginal_flops / count.judgements * marginal / peak,
        "peak_memory_mib": timing.memory_mib,
        "overhead": timing.overhead,
        "compared": len(both),
        "largest_difference": max((abs(reference[i] - timing.probabilities[i]) for i in both), default=None),
        "agreement": float(np.mean([(reference[i] < 0.5) == timing.verdicts[i] for i in both])) if both else None,
    }


def _ratios(rows: dict[str, dict[str, Any]], work: Workload, shape: ModelShape) -> dict[str, dict[str, float]]:
    """Each engine row against padded batches, beside the ratio of the operations needed."""
    padded = rows["padded"]
    found = {}
    for name, row in rows.items():
        if not name.startswith("engine") or "note" in row or "note" in padded:
            continue
        count: WorkCount = count_work(shape, work.sequences(range(row["cases"])))
        found[name] = {
            "ratio": row["judgements_per_second"] / padded["judgements_per_second"],
            "ideal_ratio": count.ideal_ratio,
            "marginal_ratio": row["marginal_judgements_per_second"] / padded["judgements_per_second"],
            "ideal_marginal_ratio": count.ideal_marginal_ratio,
        }
    return found


def show(result: dict[str, Any]) -> None:
    """Prints a model's figures as plain text."""
    peaks = " and ".join(f"{peak:,.2f}" for peak in result["peak_tflops"])
    print(
        f"\n{result['model']}, {result['dtype']}: prefix {result['prefix_tokens']:,}, {result['marginal_tokens']} more "
        f"per case; measured matrix multiplication {peaks} TFLOP/s"
    )
    header = ("", "cases", "/s", "/s, prefix apart", "of peak", "apart", "MiB", "overhead", "|dp|", "agree")
    print("{:<18}{:>7}{:>10}{:>18}{:>9}{:>8}{:>9}{:>10}{:>9}{:>7}".format(*header))
    for name, row in result["rows"].items():
        if "note" in row:
            print(f"{name:<18}{row['note']}")
            continue
        print(
            f"{name:<18}{row['cases']:>7,}{_text(row['judgements_per_second'], '.4g'):>10}"
            f"{_text(row['marginal_judgements_per_second'], '.4g'):>18}{_text(row['share_of_peak'], '.1%'):>9}"
            f"{_text(row['marginal_share_of_peak'], '.1%'):>8}{_text(row['peak_memory_mib'], ',.0f'):>9}"
            f"{_text(row['overhead'], '.1%'):>10}{_text(row['largest_difference'], '.0e'):>9}"
            f"{_text(row['agreement'], '.0%'):>7}"
        )
    for name, ratio in result["ratios"].items():
        print(
            f"{name}: {ratio['ratio']:.1f}x padded batches with the prefix counted (operations: "
            f"{ratio['ideal_ratio']:.1f}x), {ratio['marginal_ratio']:.1f}x apart from it (operations: "
            f"{ratio['ideal_marginal_ratio']:.1f}x)"
        )


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", choices=[*SHAPES, "all"], default="all", help="shape of the random weights")
    parser.add_argument("--prefix", type=int, help="tokens before the case (2000; in miniature 256)")
    parser.add_argument("--item", type=int, help="tokens of a case (100; in miniature 24)")
    parser.add_argument("--variants", type=int, default=1, help="prompts that share 75%% of the prefix")
    parser.add_argument("--cases", type=int, help="judgements; fewer are timed where time is short (2048; 128)")
    parser.add_argument("--seconds", type=float, help="time for each figure (10; in miniature 0.5)")
    parser.add_argument("--batch", type=int, default=16, help="sequences per padded batch")
    parser.add_argument("--batch-tokens", type=int, default=0, help="tokens per forward pass of the engine; 0 chooses")
    parser.add_argument("--compile", action="store_true", help="time the engine with compiled blocks too")
    parser.add_argument("--miniature", action="store_true", help="small models on the CPU, to see that it works")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args(arguments)
    gpu = torch.cuda.is_available() and not options.miniature
    names = list(SHAPES) if options.model == "all" else [options.model]
    if not gpu and not options.miniature:
        print("This machine has no CUDA device: the GPU rows are not measured, and a miniature runs on the CPU.")
    device = torch.device("cuda" if gpu else "cpu")
    if not gpu:
        torch.set_num_threads(1)  # models this small gain nothing from threads
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": np.__version__,
        },
        "models": [],
    }
    plan = _plan(options, gpu)
    try:
        for name in names:
            if not gpu:
                result["models"].append({"model": name, "note": f"{NOT_MEASURED}: no GPU was used"})
                print(f"\n{name}, bfloat16 on a GPU: {NOT_MEASURED}")
            loaded = make_model(name, device, torch.bfloat16 if gpu else torch.float32, miniature=not gpu)
            result["models"].append(measure(loaded, plan))
            show(result["models"][-1])
            del loaded
            torch.cuda.empty_cache()
    except UserError as mistake:
        print(mistake, file=sys.stderr)
        return 2
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _plan(options: argparse.Namespace, gpu: bool) -> Plan:
    prefix, item, cases, seconds = (2000, 100, 2048, 10.0) if gpu else (256, 24, 128, 0.5)
    return Plan(
        cell=Cell(options.prefix or prefix, options.item or item, options.variants),
        cases=options.cases or cases,
        timing=TimingOptions(options.seconds or seconds, options.batch, options.batch_tokens),
        reference_seconds=10.0 if gpu else 0.2,
        peak_seconds=2.0 if gpu else 0.1,
        compiled=options.compile,
    )


if __name__ == "__main__":
    sys.exit(main())
