"""A real server that has no log-probabilities and takes no token ids: ``transformers serve``, on a tiny model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from promptopt.engines.base import GenerationRequest, Segment
from promptopt.engines.server.engine import ServerEngine, ServerEngineSettings
from promptopt.errors import EngineError
from promptopt.testing import engine as kit

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.slow
START_SECONDS = 120


@pytest.fixture(scope="module")
def address(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(llama_folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = tmp_path_factory.mktemp("transformers") / "server.log"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with log.open("w") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", server, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(timeout=20)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            with urlopen(url, timeout=2):  # noqa: S310 (http to the loopback)
                return
        except (URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def judge(address: str, llama_folder: Path) -> Iterator[ServerEngine]:
    engine = ServerEngine(ServerEngineSettings(str(llama_folder), base_url=address, concurrency=2))
    yield engine
    engine.close()


def test_rows_without_log_probabilities_are_unjudged(judge: ServerEngine) -> None:
    scores = judge.score([kit.query("one"), kit.query("two")])
    kit.check_unjudged(scores, {0, 1})
    assert set(scores.unjudged.values()) == {"the server returned no logprobs"}


def test_token_ids_are_refused(address: str, llama_folder: Path) -> None:
    folder = str(llama_folder)
    engine = ServerEngine(ServerEngineSettings(folder, base_url=address, tokenizer=folder))
    with pytest.raises(EngineError, match=r"does not answer token ids .*422 \(Unexpected fields"):
        engine.score([kit.query("one"), kit.query("two")])
    engine.close()


@pytest.mark.parametrize("check", [kit.check_protocol, kit.check_empty_batch, kit.check_card, kit.check_generation])
def test_conformance(judge: ServerEngine, check: kit.Check) -> None:
    check(judge, 0.0)


def test_a_stop_string_ends_a_text(judge: ServerEngine) -> None:
    request = GenerationRequest((Segment("user", "hello"),), max_tokens=16)
    (whole,) = judge.generate([request])
    stop = whole.text[len(whole.text) // 2]
    (cut,) = judge.generate([GenerationRequest(request.segments, max_tokens=16, stop=(stop,))])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
