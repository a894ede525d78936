"""Tiny random models of real architectures: made in a second, they check an engine's arithmetic but judge nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CORPUS = (
    "You judge whether a text breaks a rule. The rule: nobody may be threatened. Reports and fiction are allowed.",
    "The weather was mild and the road was dry, so we walked to the mill and back before supper.",
    "He said 'I will find you', and the court heard it twice. Bring the ladder.",
    "Answer violates or allowed. Answer yes or no. Does rule 1 apply? breaks the rule, breaks no rule, severity, anti",
) * 3
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


def train_tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of some 600 tokens, with a chat template and special tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=CHATML,
        pad_token=SPECIAL_TOKENS[0],
        bos_token=SPECIAL_TOKENS[1],
        eos_token=SPECIAL_TOKENS[2],
    )


def save_tiny_model(folder: Path, kind: str = "llama", **changes: Any) -> Path:
    """Writes a random model with its tokenizer.

    Args:
        folder: Where to; made when missing.
        kind: A key of :data:`ARCHITECTURES`.
        changes: Configuration values that differ from :data:`SIZES` and from the architecture's.

    Returns:
        The folder.
    """
    tokenizer = train_tiny_tokenizer()
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SIZES, "vocab_size": len(tokenizer), **ARCHITECTURES[kind], **changes})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
