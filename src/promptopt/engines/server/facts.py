"""What a server says about itself when it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from promptopt.engines.server.http import Answer, Failure, ServerConnection
from promptopt.errors import EngineError


@dataclass(frozen=True, slots=True)
class Served:
    """What a server says about itself.

    Attributes:
        context: Tokens that it accepts; 0 where it does not say.
        facts: For the versions on the engine's card.
    """

    context: int
    facts: dict[str, str]


async def ask_what_is_served(connection: ServerConnection, model: str) -> Served:
    """Asks a server which models it has.

    Args:
        connection: The server.
        model: The model's name on it. A server may know the model by another name, too: several ignore the name.

    Raises:
        EngineError: The server cannot be reached, refuses the key, or does not answer.
    """
    outcome = await connection.get("/models")
    if isinstance(outcome, Failure):
        if outcome.status:  # the list is a courtesy: some servers have none, and some fail at it
            return Served(0, {})
        raise EngineError(
            outcome.reason, where=connection.address, remedy="start it, or set judge.server.base_url to where it runs"
        )
    data = outcome.body.get("data")
    models = [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []
    ours = [entry for entry in models if entry.get("id") == model] or models[:1]
    context = ours[0].get("max_model_len") if ours else None
    facts = {"served": base_name(str(ours[0].get("id")))} if ours else {}
    greeting = await connection.get_from_root("/version") if ours and ours[0].get("owned_by") == "vllm" else None
    if isinstance(greeting, Answer) and isinstance(greeting.body.get("version"), str):
        facts["vllm"] = greeting.body["version"]
    return Served(context if isinstance(context, int) and context > 0 else 0, facts)


def base_name(model: str) -> str:
    """A model's name; of a path its last part, since paths are different everywhere."""
    return PurePath(model).name if model.startswith(("/", ".", "~")) else model
