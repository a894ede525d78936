from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Llama4Config, Llama4ForConditionalGeneration, Llama4TextConfig, Llama4VisionConfig

from promptopt.engines.folders import cache_folder
from promptopt.engines.hardware import choose_device, choose_dtype, cpu_has_bfloat16
from promptopt.engines.loading import LoadedModel, load_model
from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.errors import EngineError
from promptopt.testing.engine import check_rows
from promptopt.testing.tiny_model import SIZES, save_tiny_model, train_tiny_tokenizer


def load(folder: Path) -> LoadedModel:
    return load_model(str(folder), revision="", device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture
def folder(llama_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama that a test may damage."""
    return Path(shutil.copytree(llama_folder, tmp_path / "tiny-llama"))


def _refused(folder: Path, *words: str) -> None:
    with pytest.raises(EngineError) as caught:
        LocalEngine(LocalEngineSettings(str(folder), device="cpu", dtype="float32"))
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.remedy
    for word in words:
        assert word in message


def test_no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    _refused(folder, "no .safetensors file", str(folder))


def test_no_chat_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    _refused(folder, "no chat template", "judge.chat_template")


def test_damaged_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    _refused(folder, "could not be loaded", str(folder))


def test_weights_that_lack_a_layer(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in tensors.items() if "layers.1.mlp" not in k}, folder / "model.safetensors", {"format": "pt"}
    )
    _refused(folder, "lack 3 of the model's tensors", "download the model again")


def test_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    _refused(folder, "could not be loaded")


def test_code_of_strangers_is_not_run(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}
    config["model_type"] = "stranger"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('code was run')")
    _refused(folder, "could not be loaded")


def test_tokenizer_larger_than_the_head(tmp_path: Path) -> None:
    _refused(save_tiny_model(tmp_path / "small-head", vocab_size=300), "output head 300 rows", "tokenizer")


@pytest.mark.parametrize("source", ["", "./nowhere", "/no/such/folder", "a/b/c"])
def test_no_such_folder(source: str) -> None:
    with pytest.raises(EngineError, match="models list"):
        LocalEngine(LocalEngineSettings(source, device="cpu"))


def test_a_hub_that_is_not_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **kwargs: object) -> str:
        raise ConnectionError("unreachable")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(EngineError, match=r"'some/model' could not be fetched .*ConnectionError.*models list"):
        LocalEngine(LocalEngineSettings("some/model", device="cpu"))


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:63", "meta"])
def test_unknown_devices(device: str) -> None:
    with pytest.raises(EngineError, match=r"choose auto|judge\.device=auto"):
        choose_device(device)


def test_unknown_dtypes() -> None:
    with pytest.raises(EngineError, match=r"'int4'.*bfloat16"):
        choose_dtype("int4", torch.device("cpu"))


def test_automatic_choices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    expected = torch.bfloat16 if cpu_has_bfloat16() else torch.float32
    assert choose_dtype("auto", torch.device("cpu")) is expected
    assert choose_dtype("float16", torch.device("cpu")) is torch.float16


def test_the_weights_digest_is_of_the_content(folder: Path, llama_folder: Path) -> None:
    assert load(folder).weights_digest == load(llama_folder).weights_digest
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][0, 0] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert load(folder).weights_digest != load(llama_folder).weights_digest


@pytest.mark.parametrize("damage", ["not json", "[1]", ""])
def test_a_damaged_digest_memory_is_ignored(damage: str, llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load(llama_folder).weights_digest
    (cache_folder() / "weights.json").write_text(damage)
    assert load(llama_folder).weights_digest == expected


def test_llama_guards_missing_chunk_size(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Llama Guard 4's configuration has no attention chunk size, and transformers refuses to run it so."""
    tokenizer = train_tiny_tokenizer()
    sizes = {**SIZES, "vocab_size": len(tokenizer), "intermediate_size_mlp": 96, "num_local_experts": 1}
    text = Llama4TextConfig(**sizes, moe_layers=[], attention_chunk_size=None)
    vision = Llama4VisionConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vision_output_dim=16,
        image_size=28, patch_size=14, projector_input_dim=16, projector_output_dim=16,
    )  # fmt: skip
    folder = tmp_path / "guard"
    Llama4ForConditionalGeneration(Llama4Config(text_config=text, vision_config=vision)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    check_rows(LocalEngine(LocalEngineSettings(str(folder), device="cpu", dtype="float32")), 1e-4)
    assert "UNEXPECTED" not in capfd.readouterr().err, "transformers reports the unused image encoder to the user"
