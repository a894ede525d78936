"""The GPU script, in miniature on the CPU."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bench_gpu.py"
QUICK = ["--miniature", "--prefix", "128", "--item", "12", "--cases", "66", "--seconds", "0.05", "--batch", "4"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("bench_gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_miniature_measures_and_leaves_the_gpu_rows_unmeasured(script, tmp_path, capsys):
    target = tmp_path / "figures.json"
    assert script.main([*QUICK, "--json", str(target)]) == 0
    found = json.loads(target.read_text(encoding="utf-8"))["models"]
    assert [model["model"] for model in found] == [
        "qwen3-4b", "qwen3-4b in miniature", "llama-3.1-8b", "llama-3.1-8b in miniature",
    ]  # fmt: skip
    assert [model["note"] for model in found[::2]] == ["not measured: no GPU was used"] * 2
    for model in found[1::2]:
        assert set(model["rows"]) == {"engine", "padded", "dynamic-cache"}
        assert all(row["largest_difference"] < 1e-4 for row in model["rows"].values())
        assert model["rows"]["engine"]["tokens_computed"] == model["rows"]["engine"]["trie_edges"]
        assert model["ratios"]["engine"]["ratio"] > 0
        assert (model["prefix_tokens"], model["peak_tflops"][0] > 0) == (128, True)
    assert "not measured" in capsys.readouterr().out


def test_a_prefix_longer_than_the_context_is_one_sentence(script, capsys):
    assert script.main([*QUICK, "--model", "qwen3-4b", "--prefix", "50000"]) == 2
    assert "choose a shorter --prefix" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "billions"), [("qwen3-4b", 4.02), ("llama-3.1-8b", 8.03)])
def test_shapes_are_those_of_the_real_models(script, name, billions):
    loaded = script.make_model(name, torch.device("meta"), torch.bfloat16, miniature=False)
    assert sum(p.numel() for p in loaded.model.parameters()) / 1e9 == pytest.approx(billions, abs=0.005)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_measures_the_real_shapes(script, tmp_path):
    target = tmp_path / "figures.json"
    options = ["--model", "qwen3-4b", "--cases", "256", "--seconds", "2", "--json", str(target)]
    assert script.main(options) == 0
    (model,) = json.loads(target.read_text(encoding="utf-8"))["models"]
    assert model["ratios"]["engine"]["ratio"] > 5
