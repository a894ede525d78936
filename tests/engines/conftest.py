"""Tiny random models of real architectures, made in the test run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from promptopt.engines.loading import LoadedModel, load_model
from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.testing import engine as kit

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": None},
    "granite": {"attention_multiplier": 0.2, "logits_scaling": 3.0, "residual_multiplier": 0.5},
    "olmo2": {},
    "smollm3": {"no_rope_layers": [1, 0]},
    "gemma2": {"sliding_window": 64, "query_pre_attn_scalar": 16, "final_logit_softcapping": 20.0},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 64},
}


def train_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of some 600 tokens, with a chat template and special tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    corpus = [segment.text for text in kit._TEXTS for segment in kit.query(text).segments] * 3
    backend.train_from_iterator([*corpus, "violates allowed breaks the rule severity anti peace system user"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=CHATML,
        pad_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
    )


def save_model(folder: Path, kind: str = "llama", **changes: Any) -> Path:
    """Writes a random model of an architecture, with its tokenizer, to a folder."""
    tokenizer = train_tokenizer()
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SIZES, "vocab_size": len(tokenizer), **ARCHITECTURES[kind], **changes})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load(folder: Path) -> LoadedModel:
    """The folder's model in float32 on the CPU."""
    return load_model(str(folder), revision="", device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTOPT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with grouped-query attention."""
    return save_model(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture
def make_engine(llama_folder: Path) -> Callable[..., LocalEngine]:
    """Opens an engine on the tiny Llama, with other settings."""

    def make(**changes: Any) -> LocalEngine:
        settings = LocalEngineSettings(str(llama_folder), device="cpu", dtype="float32", **changes)
        return LocalEngine(settings)

    return make
