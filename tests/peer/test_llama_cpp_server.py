"""A real server: llama-cpp-python's, on the default judge's own Q4_1 file, against the local engine.

The local engine has the same weights de-quantised to bfloat16 and computes in float32, so the two differ by llama.cpp's
arithmetic (it quantises the activations of a Q4_1 product to 8 bits) and by how labels are read: the server names
tokens, and every token that begins a label and no other counts for it; the local engine looks at the label's own first
token.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from promptopt.bench.gguf import gguf_of
from promptopt.engines.base import GenerationRequest, LabelQuery, LabelScores, Segment
from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.engines.server.engine import ServerEngine, ServerEngineSettings
from promptopt.errors import EngineError, UserError
from promptopt.judges.catalog import pull
from promptopt.testing import engine as kit

pytestmark = [pytest.mark.peer, pytest.mark.slow]
START_SECONDS = 120
POLICY = "You judge whether a text threatens somebody. Reports, fiction and quotations of threats are allowed."
TEXTS = (
    "You will regret this, I know where you live.",
    "The bus was late again.",
    "She quoted the threat in court.",
    "I am coming for you tonight.",
    "Two cups of flour, one egg, and a pinch of salt.",
    "世界的和平",
)
ASKS = {
    ("Yes", "No"): "\nDoes the text threaten somebody? Answer Yes or No.",
    ("unsafe", "safe"): "\nIs the text safe or unsafe? Answer safe or unsafe.",
    ("threat", "allowed"): "\nAnswer threat or allowed.",
}


def _query(text: str, labels: tuple[str, ...]) -> LabelQuery:
    return kit.query(text, labels, POLICY, ASKS[labels])


QUERIES = [_query(text, labels) for labels in ASKS for text in TEXTS]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if importlib.util.find_spec("llama_cpp") is None:
        pytest.skip("llama-cpp-python is not installed")
    try:
        gguf = gguf_of("smollm2-135m", print)
    except UserError as refusal:
        pytest.skip(f"the default judge's GGUF file cannot be had: {refusal}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--host", "127.0.0.1", "--port", str(port)]
    # A short context: for log-probabilities this server normalises the logits of all of it, at every request.
    command += ["--model", str(gguf), "--model_alias", "smollm2-135m", "--n_ctx", "384", "--logits_all", "true"]
    command += ["--n_threads", str(os.cpu_count()), "--n_threads_batch", str(os.cpu_count())]
    log = tmp_path_factory.mktemp("llama") / "server.log"
    with log.open("w") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=stream)
        try:
            _wait_for(f"http://127.0.0.1:{port}/v1", server, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(timeout=20)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            with urlopen(f"{address}/models", timeout=2):  # noqa: S310 (http to the loopback)
                return
        except (URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def folder() -> Path:
    try:
        return pull("smollm2-135m")
    except UserError as refusal:
        pytest.skip(f"no source of the default judge can be reached: {refusal}")


@pytest.fixture(scope="module")
def judge(address: str) -> Iterator[ServerEngine]:
    settings = ServerEngineSettings(
        "smollm2-135m", base_url=address, api_key_variable="", concurrency=2, timeout_seconds=60, top_logprobs=2000
    )
    engine = ServerEngine(settings)
    yield engine
    engine.close()


def _by_hand(folder: Path, queries: list[LabelQuery]) -> np.ndarray:
    """Probabilities of first labels from plain forward passes, labels read as a server's tokens are."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    words = [text.lstrip(" ") for text in tokenizer.batch_decode([[i] for i in range(len(tokenizer))])]
    found = []
    for query in queries:
        system, *user = (s.text for s in query.segments)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": "".join(user)}]
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        with torch.inference_mode():
            p = torch.softmax(model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1], 0).numpy()
        begins = [[i for i, word in enumerate(words) if word and label.startswith(word)] for label in query.labels]
        both = set(begins[0]) & set(begins[1])
        first, second = (p[[i for i in own if i not in both]].sum() for own in begins)
        found.append(first / (first + second))
    return np.asarray(found)


def test_probabilities_are_those_of_the_model(judge: ServerEngine, folder: Path) -> None:
    scores = judge.score(QUERIES)
    assert not scores.unjudged
    p, expected = _first(scores), _by_hand(folder, QUERIES)
    assert np.abs(p - expected).max() < 0.1  # 0.08 where this was written
    assert np.corrcoef(p, expected)[0, 1] > 0.95
    clear = np.abs(expected - 0.5) > 0.1
    assert ((p > 0.5) == (expected > 0.5))[clear].all()


def test_probabilities_agree_with_the_local_engine(judge: ServerEngine, folder: Path) -> None:
    """Where labels are single tokens, little is lost by reading them off the server's token strings."""
    local = LocalEngine(LocalEngineSettings(str(folder), device="cpu", dtype="float32"))
    queries = [query for query in QUERIES if query.labels == ("Yes", "No")]
    ours, theirs = local.score(queries), judge.score(queries)
    assert np.abs(_first(ours) - _first(theirs)).max() < 0.1  # 0.04 where this was written
    assert theirs.usage.tokens_submitted == ours.usage.tokens_submitted, "the same prompts, to the token"


# Without check_sampling: for this server, what it has in its cache counts besides the seed.
@pytest.mark.parametrize(
    "check",
    [
        kit.check_rows, kit.check_batching, kit.check_shared_case, kit.check_texts, kit.check_bad_text, kit.check_card,
        kit.check_bad_label_sets, kit.check_generation, kit.check_stop,
    ],
)  # fmt: skip
def test_conformance(judge: ServerEngine, check: kit.Check) -> None:
    check(judge, 0.05)  # what is in the server's cache changes how it divides the work, and so its rounding


def test_a_text_beyond_the_context_costs_its_own_row(judge: ServerEngine) -> None:
    queries = [_query(text, ("Yes", "No")) for text in ("short", "ladder " * 3000, "short, too")]
    scores = judge.score(queries)
    kit.check_unjudged(scores, {1})
    assert "the server refused the request with 400" in scores.unjudged[1]
    assert "ladder" not in scores.unjudged[1]


def test_token_ids_are_not_for_this_server(address: str, folder: Path) -> None:
    settings = ServerEngineSettings("smollm2-135m", base_url=address, api_key_variable="", tokenizer=str(folder))
    engine = ServerEngine(settings)
    with pytest.raises(EngineError, match=r"does not answer token ids.*leave judge\.server\.tokenizer empty"):
        engine.score(QUERIES[:2])
    engine.close()


def test_texts_are_written(judge: ServerEngine) -> None:
    user = (Segment("user", "Name a colour."),)
    first, second = judge.generate([GenerationRequest(user, max_tokens=8), GenerationRequest(user, max_tokens=2)])
    assert first.text.startswith(second.text)
    assert second.tokens == 2


def _first(scores: LabelScores) -> np.ndarray:
    return np.exp(scores.logprobs[:, 0].astype(np.float64))
