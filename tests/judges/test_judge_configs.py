from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from promptopt.core.yaml_file import read_yaml
from promptopt.engines.base import Segment
from promptopt.engines.fake import FakeEngine
from promptopt.engines.local import LocalEngine
from promptopt.engines.tokenization import SegmentTokenizer, without_system_role
from promptopt.errors import ConfigError, EngineError
from promptopt.judges.config import JudgeConfig
from promptopt.judges.factory import open_engine
from promptopt.testing.engine import check_rows
from promptopt.testing.tiny_model import save_tiny_model, train_tiny_tokenizer

FOLDER = Path(__file__).parents[2] / "configs" / "judge"
CONFIGS = {
    path.stem: JudgeConfig.model_validate(read_yaml(path, ConfigError)) for path in sorted(FOLDER.glob("*.yaml"))
}
TOKENIZER = train_tiny_tokenizer()


def test_the_configurations_that_are_promised() -> None:
    assert set(CONFIGS) == {
        "smollm2_135m", "fake", "qwen3_4b", "qwen3_8b", "gpt_oss_safeguard_20b", "llama_guard_4_12b", "shieldgemma_9b",
        "granite_guardian_3_3_8b", "vllm", "llama_cpp_server", "ray",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_configuration_explains_itself(name: str) -> None:
    config, text = CONFIGS[name], (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert config.licence
    assert config.notes
    assert config.label_words
    assert name == config.name.replace("-", "_").replace(".", "_")
    if config.engine == "local" and name != "smollm2_135m":
        assert "# Memory:" in text
        assert "not been run here" in config.notes.replace("\n", " ")
        assert config.model.count("/") == 1


def _prompt(name: str) -> str:
    """What the configuration makes of a policy, a text and a question, up to the label."""
    config = CONFIGS[name]
    segments = (
        Segment("system", "The policy."),
        Segment("user", "Text: "),
        Segment("user", "a case", from_case=True),
        Segment("user", "\nAnswer."),
    )
    tokens = SegmentTokenizer(TOKENIZER, config.chat_template, config.answer_prefix)
    stretches = tokens.stretches(segments if config.system_role else without_system_role(segments))
    return str(TOKENIZER.decode([token for s in stretches for token in s.ids]))


def test_llama_guard_is_asked_in_llama_4_turns() -> None:
    assert _prompt("llama_guard_4_12b") == (
        "<|begin_of_text|><|header_start|>user<|header_end|>\n\nThe policy.\n\nText: a case\nAnswer.<|eot|>"
        "<|header_start|>assistant<|header_end|>\n\n"
    )


def test_granite_guardian_is_asked_for_its_score() -> None:
    assert _prompt("granite_guardian_3_3_8b") == (
        "<|start_of_role|>system<|end_of_role|>The policy.<|end_of_text|>\n"
        "<|start_of_role|>user<|end_of_role|>Text: a case\nAnswer.<|end_of_text|>\n"
        "<|start_of_role|>assistant<|end_of_role|><score>"
    )


def test_shieldgemma_gets_its_opening_sentence_and_no_model_turn() -> None:
    prompt = _prompt("shieldgemma_9b")
    assert prompt.startswith("<|im_start|>You are a policy expert"), "the template does not open with the BOS token"
    assert prompt.endswith("safety policies.\n\nThe policy.\n\nText: a case\nAnswer.\n\n")


def test_reasoning_models_answer_at_once() -> None:
    assert _prompt("qwen3_4b").endswith("assistant\n<think>\n\n</think>\n\n")
    assert _prompt("gpt_oss_safeguard_20b").endswith("<|channel|>final<|message|>")


def test_the_fake_judge() -> None:
    assert isinstance(open_engine(CONFIGS["fake"]), FakeEngine)


def test_a_folder_as_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTOPT_CACHE", str(tmp_path / "cache"))
    folder = save_tiny_model(tmp_path / "my-judge")
    config = JudgeConfig(name="mine", model=str(folder), dtype="float32", device="cpu", max_item_tokens=7)
    engine = open_engine(config)
    assert isinstance(engine, LocalEngine)
    assert engine.describe().model == "my-judge"
    assert "beyond 7 tokens" in engine.describe().truncation
    check_rows(engine, 1e-4)
    engine.close()


def test_a_judge_without_a_model() -> None:
    with pytest.raises(ConfigError, match="'mine' names no model"):
        open_engine(JudgeConfig(name="mine"))


def test_a_catalog_model_has_no_revisions() -> None:
    with pytest.raises(ConfigError, match=r"judge\.revision: .*no revisions, found 'v1'"):
        open_engine(JudgeConfig(name="mine", model="smollm2-135m", revision="v1"))


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(EngineError, match="no such model folder"):
        open_engine(JudgeConfig(name="mine", model="/no/such/folder"))


@pytest.mark.parametrize("key", ["dtype", "too_long", "engine", "colour"])
def test_values_that_do_not_exist(key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        JudgeConfig.model_validate({"name": "mine", key: "blue"})
