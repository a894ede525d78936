"""Ray, started for one command and quiet about it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from typing import Any

from promptopt.errors import EngineError
from promptopt.judges.config import RayOptions

_SMALL_BLOCK = 1 << 20  # the rows are tallies; Ray Data would set aside its default of 128 MiB for each of them
_STORE_BYTES = 256 << 20


class RaySession:
    """Ray on this machine or on a cluster; it starts when it is first asked for.

    A process that has called ``ray.init`` already goes on with what it has.

    Args:
        options: The address of the cluster, how many actors there will be, and what each reserves.
    """

    def __init__(self, options: RayOptions) -> None:
        self._options = options
        self._ray: Any = None
        self._own = ExitStack()

    def ray(self) -> Any:
        """The Ray package, with Ray running.

        Raises:
            EngineError: Ray is not installed, or the cluster cannot be reached or has too little room.
        """
        if self._ray is None:
            self._ray = _import_ray()
            if not self._ray.is_initialized():
                self._start(self._ray)
            self._require_room()
        return self._ray

    def pool(self) -> tuple[int, float]:
        """Number of actors, and GPUs that each reserves; Ray is running."""
        options = self._options
        if options.actors:
            return options.actors, options.gpus_per_actor
        there = self._ray.cluster_resources()
        if there.get("GPU", 0.0) >= 1:
            gpus = options.gpus_per_actor or 1.0
            return max(1, int(there["GPU"] / gpus)), gpus
        return max(1, int(there.get("CPU", 1.0)) // options.cpus_per_actor), options.gpus_per_actor

    def close(self) -> None:
        """Stops Ray, or leaves the cluster, if this session has started or joined it."""
        self._own.close()

    def _start(self, ray: Any) -> None:
        address = self._options.address or os.environ.get("RAY_ADDRESS")
        local: dict[str, Any] = {
            # as many as are asked for, so that every actor finds its place
            "num_cpus": self._options.actors * self._options.cpus_per_actor or None,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        if not address:
            # otherwise Ray would start its workers through `uv run`, which may want to install things
            os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        told = {} if address else local
        try:
            with _no_stderr():
                ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **told)
        except (ConnectionError, RuntimeError, ValueError, OSError) as cause:
            raise EngineError(
                f"Ray cannot be started ({first_line(cause)})",
                where=address,
                remedy="check the address, or leave it out to use this machine alone",
            ) from cause
        # Ray tells of dead workers on standard output, which is not for that
        self._own.enter_context(redirect_stdout(StringIO()))
        self._own.callback(ray.shutdown)

    def _require_room(self) -> None:
        actors, gpus = self.pool()
        there = self._ray.cluster_resources()
        for name, needed in (("CPU", float(actors * self._options.cpus_per_actor)), ("GPU", actors * gpus)):
            if needed > there.get(name, 0.0):
                raise EngineError(
                    f"{actors} workers need {needed:g} {name}s, and the cluster has {there.get(name, 0.0):g}",
                    remedy="ask for fewer with --actors",
                )


@contextmanager
def quiet_data(ray: Any) -> Iterator[Any]:
    """Ray Data without bars and announcements, for data sets made and read inside."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = _SMALL_BLOCK
    with ray.data.DataContext.current(context):
        yield ray.data


def first_line(cause: Exception) -> str:
    """The first line of an error's message; Ray's go on for a page."""
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as cause:
        raise EngineError("the engine `ray` needs the package ray", remedy="pip install 'promptopt[ray]'") from cause
    return ray


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Lets nothing reach standard error: Ray's native code announces there that it has been told to be quiet."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
