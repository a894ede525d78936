"""A server process that looks like an OpenAI-compatible one and misbehaves on request.

Run as a script it listens on a free loopback port and prints the port. The model's name says how to behave: what comes
before ``#`` is one of the modes below, what comes after keeps tests apart. Log-probabilities are drawn from a digest of
the prompt and the token, so every change of a prompt changes them. ``GET /records/NAME`` returns what was asked under
a model's name, in order of arrival.

Modes: fine, modern (completions in the form of llama.cpp's own server), text (completions name tokens by text),
cached, slow, fails, fails-twice, words (500 for token ids), hangs, busy (429 with Retry-After, once), garbage
(malformed JSON), closes (the connection), no-logprobs, nan, positive, refuses, picky (400 for prompts with the words
"refuse me", which it repeats), greedy (400 for more than five log-probabilities), lost (404), locked (401), moved
(307), narrow and sharp (one option is not named; the rest is as likely as the others or far likelier), torn (an
ambiguous token is the likeliest).
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# First tokens of the labels in the conformance kit, as a chat model would write them.
WORDS = ("viol", " allowed", "yes", " no", "sever", " breaks", "peace", " war", "?")
FILLER = 7
NAMED_MASS = 0.9


def logit(prompt: Any, token: int | str) -> float:
    """A number in [-2, 2) that prompt and token determine."""
    digest = hashlib.sha256(json.dumps([prompt, token]).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**62 - 2.0


def named(prompt: Any, tokens: list[int | str]) -> dict[int | str, float]:
    """Log-probabilities of tokens, which together have most of the probability."""
    logits = {token: logit(prompt, token) for token in tokens}
    total = math.log(sum(map(math.exp, logits.values())) / NAMED_MASS)
    return {token: value - total for token, value in logits.items()}


class Records:
    """What was asked, by model."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.times: Counter[str] = Counter()
        self.in_flight: Counter[str] = Counter()
        self.clock = 0

    def begin(self, model: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        with self.lock:
            self.in_flight[model] += 1
            self.clock += 1
            entry = {"body": body, "headers": headers, "in_flight": self.in_flight[model], "began": self.clock}
            self.asked[model].append(entry)
            return entry

    def end(self, model: str, entry: dict[str, Any]) -> None:
        with self.lock:
            self.in_flight[model] -= 1
            self.clock += 1
            entry["ended"] = self.clock


RECORDS = Records()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        if self.path == "/broken/models":
            self._send(500, {})
        elif self.path == "/v1/models":
            models = [{"id": "stub", "owned_by": "vllm"}, {"id": "fine#small", "max_model_len": 160}]
            self._send(200, {"data": models})
        elif self.path == "/version":
            self._send(200, {"version": "0.0.stub"})
        elif self.path.startswith("/records/"):
            with RECORDS.lock:
                self._send(200, {"asked": RECORDS.asked[self.path.removeprefix("/records/")]})
        else:
            self._send(404, {"error": "no such path"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = body["model"]
        entry = RECORDS.begin(model.replace("#", "/"), body, dict(self.headers))
        try:
            self._answer(model.partition("#")[0], body)
        finally:
            RECORDS.end(model.replace("#", "/"), entry)

    def _answer(self, mode: str, body: dict[str, Any]) -> None:
        key = hashlib.sha256(json.dumps(body).encode()).hexdigest()
        with RECORDS.lock:
            RECORDS.times[key] += 1
            times = RECORDS.times[key]
        text = json.dumps(body.get("messages", ""), ensure_ascii=False)
        if mode == "slow":
            time.sleep(0.05)
        if (
            mode == "fails"
            or (mode == "words" and isinstance(body.get("prompt"), list))
            or (mode == "fails-twice" and times <= 2)
        ):
            self._send(500, {})
        elif mode == "hangs":
            time.sleep(20)
        elif mode == "busy" and times == 1:
            self._send(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.4"})
        elif mode == "closes":
            self.close_connection = True
            self.connection.close()
        elif mode == "refuses" or (mode == "picky" and "refuse me" in text):
            self._send(400, {"error": {"message": f"I do not like {text}"}})
        elif mode == "greedy" and max(body.get("top_logprobs") or 0, int(body.get("logprobs") or 0)) > 5:
            self._send(400, {"error": {"message": "at most 5 logprobs"}})
        elif mode in ("lost", "moved"):
            self._send(404 if mode == "lost" else 307, {"detail": "not here"}, {"Location": "/v1/elsewhere"})
        elif mode == "locked":
            self._send(401, {"error": {"message": f"bad key {self.headers['Authorization']}"}})
        elif mode == "garbage":
            self._send(200, b'{"choices": [')
        else:
            self._send(200, answer(mode, body))

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def answer(mode: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer of a server that works, apart from what the mode spoils."""
    chat = "messages" in body
    prompt = body["messages"] if chat else body["prompt"]
    size = len(json.dumps(prompt)) // 2 if chat else len(prompt)
    usage: dict[str, Any] = {"prompt_tokens": size, "completion_tokens": 1}
    if mode == "cached":
        usage["prompt_tokens_details"] = {"cached_tokens": size - 3}
    if body.get("logprobs") in (None, False):
        text, reason = write(prompt, body)
        content = {"message": {"content": text}} if chat else {"text": text}
        usage["completion_tokens"] = len(text)
        return {"choices": [{**content, "finish_reason": reason}], "usage": usage}
    if mode == "no-logprobs":
        return {"choices": [{"message": {"content": "yes"}, "logprobs": None}], "usage": usage}
    tokens = list(WORDS) if chat else [*body["logprob_token_ids"], FILLER]
    top = spoil(mode, named(prompt, tokens), tokens)
    if chat or mode == "modern":
        entries = [{"token": str(t), "logprob": v, **({} if chat else {"id": t})} for t, v in top.items()]
        return {"choices": [{"logprobs": {"content": [{**entries[0], "top_logprobs": entries}]}}], "usage": usage}
    names = {str(TEXTS[t]) if mode == "text" else f"token_id:{t}": v for t, v in top.items()}
    first = next(iter(names))
    lists = {"tokens": [first], "token_logprobs": [names[first]], "top_logprobs": [names]}
    return {"choices": [{"text": "", "logprobs": lists}], "usage": usage}


def write(prompt: Any, body: dict[str, Any]) -> tuple[str, str]:
    """Letters that the prompt, and with a temperature the seed, determine; the stop string stays, as some let it."""
    digest = hashlib.sha256(json.dumps([prompt, body["temperature"] and body["seed"]]).encode()).hexdigest()
    text = digest[: body["max_tokens"]]
    ends = [text.index(stop) + len(stop) for stop in body.get("stop", ()) if stop in text]
    return (text[: min(ends)], "stop") if ends else (text, "length")


def spoil(mode: str, top: dict[int | str, float], tokens: list[int | str]) -> dict[int | str, float]:
    if mode in ("nan", "positive"):
        return {**top, tokens[0]: math.nan if mode == "nan" else 0.5}
    if mode == "narrow":
        return {token: value for token, value in top.items() if token != tokens[0]}
    if mode == "sharp":
        return {tokens[1]: math.log(0.9999), "?" if isinstance(tokens[1], str) else FILLER: math.log(0.00001)}
    if mode == "torn":
        return {"a": math.log(0.5), **{token: value - 3 for token, value in top.items()}}
    return top


TEXTS: dict[int, str] = {}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as stream:
            TEXTS.update(enumerate(json.load(stream)))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
