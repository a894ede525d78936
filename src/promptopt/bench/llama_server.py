"""llama.cpp's OpenAI-compatible server as a process of its own on this machine."""

from __future__ import annotations

import importlib.util
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from promptopt.errors import EngineError

MISSING = "llama-cpp-python is not installed"
_START_SECONDS = 120.0
_COMPUTED = re.compile(r" eval time =.*/\s+(\d+) (?:tokens|runs)")


def is_installed() -> bool:
    """Whether llama.cpp's server can be started here."""
    names = ("llama_cpp", "uvicorn", "starlette_context", "pydantic_settings", "sse_starlette")
    return all(importlib.util.find_spec(name) for name in names)


class LlamaServer:
    """llama.cpp's OpenAI-compatible server on a free loopback port; a context manager.

    Args:
        gguf: The model.
        context: Tokens per sequence.
        cores: Threads to compute with.

    Raises:
        EngineError: It did not come up.
    """

    def __init__(self, gguf: Path, context: int, cores: int) -> None:
        self._log: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed on exit
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        settings = {
            "model": gguf,
            "host": "127.0.0.1",
            "port": port,
            "n_ctx": context,
            "n_threads": cores,
            "n_threads_batch": cores,
            "n_gpu_layers": -1,  # all of them, where llama.cpp was built for a GPU
            "logits_all": "false",  # the default computes the whole head for every token of the prompt
            "verbose": "true",  # its log tells how many tokens were computed
        }
        command = [sys.executable, "-m", "llama_cpp.server"]
        command += [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self._log)  # noqa: S603
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise

    @property
    def process(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def tokens_computed(self) -> int:
        """Tokens that went through the model so far, prompts' and answers'."""
        return sum(int(number) for number in _COMPUTED.findall(self._read()))

    def __enter__(self) -> LlamaServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _wait(self) -> None:
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/models", timeout=5):  # noqa: S310 - our own loopback address
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        last = (self._read().strip().splitlines() or ["it said nothing"])[-1]
        raise EngineError(f"llama.cpp's server did not start ({last[:200]})")

    def _read(self) -> str:
        self._log.seek(0)
        return self._log.read()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
