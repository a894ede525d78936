"""The Ray cluster that actors run on: this machine, or one that runs already."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from threading import Lock
from typing import Any

from promptopt.errors import EngineError


@dataclass(frozen=True, slots=True)
class RayEngineSettings:
    """How a Ray engine is laid out.

    Attributes:
        actors: Number of actors; 0 for one per GPU of the cluster, or as many as its processor cores allow where there
            is none.
        cpus_per_actor: Threads that each actor computes with, and cores that it reserves on a cluster that others may
            use.
        gpus_per_actor: GPUs that each actor reserves; actors that are counted by GPUs reserve at least what makes them
            one per GPU.
        address: Address of a cluster; empty starts one on this machine. Not used where the process has called
            ``ray.init`` already.
        replacements: Actors replaced in a row, without any result in between, before the engine gives up.
        open_seconds: Most seconds from an actor's start until its engine is open.
    """

    actors: int = 0
    cpus_per_actor: int = 1
    gpus_per_actor: float = 0.0
    address: str = ""
    replacements: int = 3
    open_seconds: float = 900.0


def import_ray() -> Any:
    """The Ray package.

    Raises:
        EngineError: It is not installed.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError as cause:
        raise EngineError(
            f"Ray cannot be imported ({cause})", where="judge.engine", remedy="pip install 'promptopt[ray]'"
        ) from cause
    return ray


class _Cluster:
    """The Ray cluster that this process started, shared by its engines and stopped by the last of them."""

    lock = Lock()
    users = 0
    ours = False
    private = False


def enter_cluster(settings: RayEngineSettings) -> bool:
    """Connects the process to a cluster, or starts one, unless it is connected already.

    Returns:
        Whether others may use the cluster. On one that an engine of this process started, reserving cores would keep
        nobody out but a second engine.

    Raises:
        EngineError: Ray is not installed, or the cluster cannot be reached.
    """
    with _Cluster.lock:
        if not settings.address:
            # Otherwise Ray would start its workers here through `uv run`, which may want to install things.
            os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray = import_ray()
        if not ray.is_initialized():
            _initialise(ray, settings)
            _Cluster.ours, _Cluster.users, _Cluster.private = True, 0, not settings.address
        _Cluster.users += 1
        return not (_Cluster.ours and _Cluster.private)


def leave_cluster() -> None:
    """Stops, or disconnects from, a cluster that no engine of this process uses any more, if an engine entered it."""
    with _Cluster.lock:
        _Cluster.users -= 1
        if _Cluster.ours and not _Cluster.users:
            _Cluster.ours = False
            import_ray().shutdown()


def _initialise(ray: Any, settings: RayEngineSettings) -> None:
    local = {} if settings.address else {"include_dashboard": False}
    try:
        ray.init(address=settings.address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
    except (OSError, RuntimeError, ValueError) as cause:
        what = f"the Ray cluster at {settings.address}" if settings.address else "a Ray cluster on this machine"
        raise EngineError(
            f"{what} cannot be reached ({type(cause).__name__}: {first_line(cause)})",
            where="judge.ray.address",
            remedy="check the address and that the cluster runs the same versions of Ray and Python",
        ) from cause


def first_line(error: BaseException) -> str:
    """The first line of an error's message; Ray's go on for a page."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
