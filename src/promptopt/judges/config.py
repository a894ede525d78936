"""The configuration of a judge: which model, how it is run, and how it likes to be asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from promptopt.core.model import FrozenModel


class ServerOptions(FrozenModel):
    """A judge behind an OpenAI-compatible server; the model's name on the server is ``judge.model``.

    Attributes:
        base_url: Address up to and including ``/v1``.
        api_key_variable: Environment variable that holds the key; unset or empty means none is sent.
        tokenizer: Hub id or folder of the model's tokenizer. With it, prompts travel as token ids through the
            completions endpoint and case text can never open a chat turn; without it, as chat messages.
        concurrency: Most requests in flight.
        timeout_seconds: Most seconds that one attempt may take.
        retries: Further attempts after a failed one, with growing pauses.
        top_logprobs: Likeliest tokens asked for; servers allow 20 at most unless set otherwise.
    """

    base_url: str = "http://127.0.0.1:8000/v1"
    api_key_variable: str = "OPENAI_API_KEY"
    tokenizer: str = ""
    concurrency: int = Field(default=16, ge=1)
    timeout_seconds: float = Field(default=60.0, gt=0)
    retries: int = Field(default=4, ge=0)
    top_logprobs: int = Field(default=20, ge=1)


class RayOptions(FrozenModel):
    """Ray actors, each with an engine of its own.

    Attributes:
        engine: What each actor hosts.
        actors: Number of actors; 0 for one per GPU of the cluster, or one per processor core where there is none.
        cpus_per_actor: Processor cores that each actor reserves, and threads that it computes with.
        gpus_per_actor: GPUs that each actor reserves.
        address: Address of a cluster; empty starts one on this machine.
    """

    engine: Literal["local", "server", "fake"] = "local"
    actors: int = Field(default=0, ge=0)
    cpus_per_actor: int = Field(default=1, ge=1)
    gpus_per_actor: float = Field(default=0.0, ge=0)
    address: str = ""


class JudgeConfig(FrozenModel):
    """One judge.

    Attributes:
        name: What people call it.
        engine: ``local`` runs a Hugging Face model in this process; ``server`` asks an OpenAI-compatible server;
            ``ray`` spreads the work over actors; ``fake`` is a deterministic stand-in without a model, for tests and
            dry runs.
        model: Name in the model catalog (``promptopt models list``), hub id, or folder.
        revision: Hub revision; empty for the default branch.
        device: ``auto``, ``cpu`` or ``cuda``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        chat_template: Jinja text that replaces the model's chat template.
        answer_prefix: Template text between the opening of the judge's turn and the label.
        system_role: False for models that have no system turn.
        max_item_tokens: Longest case text in tokens; 0 for the model's context.
        too_long: What happens to longer texts: ``truncate`` keeps the first three quarters and the last quarter of
            the allowance, ``unjudged`` gives no verdict.
        batch_tokens: Tokens per forward pass; 0 chooses by device and free memory.
        prefix_cache_mib: Memory for shared prefixes, in MiB.
        quantization: Library and format that the weights are quantised with while they are loaded
            (``bitsandbytes-8bit``, ``bitsandbytes-4bit``, ``torchao-int8``), or an empty string. It is part of the
            judge's fingerprint.
        compile: Compile the feed-forward blocks and norms with ``torch.compile``; worth it on a GPU for long runs.
        server: For ``engine: server``.
        ray: For ``engine: ray``.
        label_words: Pairs (violating, allowed) that suit the model; searched besides those of the search space.
        licence: Licence of the weights, and what it asks for.
        notes: What to know before using it.
    """

    name: str
    engine: Literal["local", "server", "ray", "fake"] = "local"
    model: str = ""
    revision: str = ""
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    chat_template: str | None = None
    answer_prefix: str = ""
    system_role: bool = True
    max_item_tokens: int = Field(default=256, ge=0)
    too_long: Literal["truncate", "unjudged"] = "truncate"
    batch_tokens: int = Field(default=0, ge=0)
    prefix_cache_mib: int = Field(default=1024, ge=1)
    quantization: Literal["", "bitsandbytes-8bit", "bitsandbytes-4bit", "torchao-int8"] = ""
    compile: bool = False
    server: ServerOptions = ServerOptions()
    ray: RayOptions = RayOptions()
    label_words: tuple[tuple[str, str], ...] = ()
    licence: str = ""
    notes: str = ""
