"""Every way of scoring gives the same probabilities, and tells what it did."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import torch

import promptopt.bench
from promptopt.bench import methods, plain
from promptopt.bench.flops import ModelShape, count_work
from promptopt.bench.memory import PeakMemory
from promptopt.bench.peak import matmul_peak
from promptopt.bench.timing import TimingOptions

BARE = ("flops", "memory", "methods", "peak", "plain", "timing", "workload")
BRIEF = TimingOptions(seconds=0.1, batch=4)
METHODS = ("engine", "sequence", "padded", "dynamic-cache")


@pytest.mark.parametrize("kind", ["llama", "qwen3", "granite"])
def test_all_methods_agree_with_plain_scoring(load, work_of, kind):
    loaded = load(kind)
    work = work_of(loaded, variants=2)
    reference = methods.reference(loaded, work, 0.5)
    assert len(reference) >= methods.LEAST_SEQUENCES
    assert len({round(p, 6) for p in reference.values()}) > 1  # else agreement would show nothing
    for method in METHODS:
        timing = methods.time_method(method, loaded, work, BRIEF, len(work))
        both = reference.keys() & timing.probabilities.keys()
        assert both, method
        assert max(abs(reference[i] - timing.probabilities[i]) for i in both) < 1e-4, method
        assert all(timing.verdicts[i] == (reference[i] < 0.5) for i in both if abs(reference[i] - 0.5) > 1e-3)


def test_plain_batches_do_not_depend_on_their_composition(tiny, work_of):
    work = work_of(tiny, variants=2)
    tokens = [work.judgements[0].tokens[:90], work.judgements[1].tokens, work.judgements[2].tokens[:120]]
    together, computed = plain.score_padded(tiny.model, tokens, work.label_tokens)
    alone = [plain.score_sequence(tiny.model, t, work.label_tokens) for t in tokens]
    assert together == pytest.approx(alone, abs=1e-5)
    assert computed == 3 * len(tokens[1])


def test_a_cached_prefix_is_left_as_it_is(tiny, work_of):
    work = work_of(tiny)
    first = work.judgements[0]
    layers = plain.prefix_cache(tiny.model, first.prefix)
    before = [keys.clone() for keys, _ in layers]
    for _ in range(2):
        found, _ = plain.score_after_prefix(tiny.model, layers, [first.rest, first.rest[:5]], work.label_tokens)
        assert found[0] == pytest.approx(plain.score_sequence(tiny.model, first.tokens, work.label_tokens), abs=1e-5)
    assert all(torch.equal(keys, old) for (keys, _), old in zip(layers, before, strict=True))


def test_the_engine_computes_the_edges_of_the_trie(tiny, work_of):
    work = work_of(tiny, variants=4)
    timing = methods.time_engine(tiny, work, BRIEF)
    count = count_work(ModelShape.of(tiny.model), work.sequences(range(timing.cases)))
    assert timing.cases >= methods.LEAST_ENGINE_JUDGEMENTS
    assert timing.tokens_computed == pytest.approx(count.trie_edges, rel=0.03)
    assert 0 <= timing.overhead < 1


def test_padded_batches_compute_everything(tiny, work_of):
    work = work_of(tiny)
    timing = methods.time_padded(tiny, work, TimingOptions(seconds=30, batch=16))
    assert timing.cases == len(work)
    assert timing.tokens_computed >= sum(len(judgement.tokens) for judgement in work.judgements)


def test_slow_methods_time_the_least_when_time_is_short(tiny, work_of):
    work = work_of(tiny)
    none = TimingOptions(seconds=1e-9, batch=8)
    assert methods.time_sequences(tiny, work, none).cases == methods.LEAST_SEQUENCES
    assert methods.time_padded(tiny, work, none).cases == 8
    assert methods.time_cached_prefix(tiny, work, none, len(work)).cases == 64


def test_a_cached_prefix_is_spread_over_the_share_of_its_variant(tiny, work_of):
    work = work_of(tiny, variants=4)
    timing = methods.time_cached_prefix(tiny, work, TimingOptions(seconds=30), cases=40)
    assert sorted(timing.probabilities) == list(range(40))


def test_running_out_of_memory_is_told(tiny, work_of, monkeypatch):
    def fail(*_args):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(plain, "score_padded", fail)
    assert methods.time_method("padded", tiny, work_of(tiny), BRIEF, 1) == "the device ran out of memory"


def test_matrix_products_have_a_speed():
    assert matmul_peak(torch.device("cpu"), torch.float32, 0.01) > 1e8


def test_peak_memory_sees_what_is_gone_afterwards():
    pytest.importorskip("psutil")
    with PeakMemory(torch.device("cpu")) as before:
        pass
    with PeakMemory(torch.device("cpu")) as during:
        block = torch.ones(64 << 20, dtype=torch.uint8)
        for _ in range(5):
            block += 1
        torch.mm(torch.ones(1500, 1500), torch.ones(1500, 1500))
        del block
    assert before.mib is not None
    assert during.mib > before.mib + 32


def test_what_the_gpu_script_imports_needs_a_bare_machine_only():
    folder = Path(promptopt.bench.__file__).parent
    script = Path(__file__).resolve().parents[2] / "scripts" / "bench_gpu.py"
    allowed = {"numpy", "torch", "transformers", "tokenizers", *sys.stdlib_module_names}
    own = {f"promptopt.bench.{name}" for name in BARE}
    for path in [*(folder / f"{name}.py" for name in BARE), script]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                ours = name.startswith(("promptopt.engines.", "promptopt.errors.", *own))
                assert ours or name.split(".")[0] in allowed, f"{path.name}: {name}"
