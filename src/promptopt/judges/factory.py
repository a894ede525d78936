"""Opens the engine that a judge's configuration asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from promptopt.engines.base import JudgeEngine
from promptopt.engines.fake import FakeEngine
from promptopt.errors import ConfigError
from promptopt.judges.catalog import CATALOG, pull
from promptopt.judges.config import JudgeConfig


def open_engine(config: JudgeConfig, on_progress: Callable[[str], None] | None = None) -> JudgeEngine:
    """Opens a judge's engine, pulling a catalog model that is not ready yet.

    Args:
        config: The judge.
        on_progress: Called with a short sentence at each step of a pull.

    Returns:
        The engine; the caller closes it.

    Raises:
        ConfigError: The configuration names no model, or a revision of a catalog model.
        EngineError: The model cannot be loaded.
        UserError: A catalog model cannot be had.
    """
    if config.engine == "fake":
        return FakeEngine()
    if config.engine == "ray":
        return _open_ray_engine(config, on_progress)
    if not config.model:
        raise ConfigError(
            f"judge {config.name!r} names no model", where="judge.model", remedy="run `promptopt models list` for names"
        )
    if config.engine == "server":
        return _open_server_engine(config, on_progress)
    source = config.model
    if source in CATALOG:
        if config.revision:
            raise ConfigError(
                f"catalog model {source!r} has no revisions, found {config.revision!r}",
                where="judge.revision",
                remedy=f"leave it empty, or set judge.model={CATALOG[source].hub_id}",
            )
        source = str(pull(source, on_progress))
    # Imported here: torch takes seconds, and not every command needs a judge.
    from promptopt.engines.local import LocalEngine, LocalEngineSettings

    settings = LocalEngineSettings(
        model=source,
        revision=config.revision,
        device=config.device,
        dtype=config.dtype,
        chat_template=config.chat_template,
        answer_prefix=config.answer_prefix,
        system_role=config.system_role,
        max_item_tokens=config.max_item_tokens,
        too_long=config.too_long,
        batch_tokens=config.batch_tokens,
        prefix_cache_mib=config.prefix_cache_mib,
        quantization=config.quantization,
        compile=config.compile,
    )
    return LocalEngine(settings)


def _open_ray_engine(config: JudgeConfig, on_progress: Callable[[str], None] | None) -> JudgeEngine:
    """Actors that each open the engine that ``config.ray`` names."""
    from promptopt.engines.ray.engine import RayEngine, RayEngineSettings

    if config.ray.engine == "local" and config.model in CATALOG:
        pull(config.model, on_progress)  # once, and with its progress shown, where the actors share this machine's disk
    settings = RayEngineSettings(
        actors=config.ray.actors,
        cpus_per_actor=config.ray.cpus_per_actor,
        gpus_per_actor=config.ray.gpus_per_actor,
        address=config.ray.address,
    )
    return RayEngine(partial(open_engine, config.model_copy(update={"engine": config.ray.engine})), settings)


def _open_server_engine(config: JudgeConfig, on_progress: Callable[[str], None] | None) -> JudgeEngine:
    # Imported here: httpx is for those who ask a server.
    from promptopt.engines.server.engine import ServerEngine, ServerEngineSettings

    options = config.server
    # A catalog model's folder holds its tokenizer, too.
    tokenizer = str(pull(options.tokenizer, on_progress)) if options.tokenizer in CATALOG else options.tokenizer
    settings = ServerEngineSettings(
        model=config.model,
        revision=config.revision,
        base_url=options.base_url,
        api_key_variable=options.api_key_variable,
        tokenizer=tokenizer,
        chat_template=config.chat_template,
        answer_prefix=config.answer_prefix,
        system_role=config.system_role,
        max_item_tokens=config.max_item_tokens,
        too_long=config.too_long,
        concurrency=options.concurrency,
        timeout_seconds=options.timeout_seconds,
        retries=options.retries,
        top_logprobs=options.top_logprobs,
    )
    return ServerEngine(settings)
