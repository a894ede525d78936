"""HTTP to an OpenAI-compatible server: an event loop in a thread of its own, bounded concurrency, retries, time-outs.

Three things can happen to a request. It is answered; it fails, which is the misfortune of the row that it was made for;
or the server shows that it cannot serve anybody (wrong key, no such model), which raises.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import random
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx

from promptopt.engines.server.messages import server_message
from promptopt.errors import EngineError

_MAX_BACKOFF_SECONDS = 30.0
_MAX_RETRY_AFTER_SECONDS = 120.0
_ABSENT = frozenset({404, 405, 501})
_TRANSIENT = frozenset({408, 409, 425, 429})
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How a server is reached.

    Attributes:
        base_url: Address up to and including ``/v1``; a user name and password in it are sent, but never shown.
        api_key_variable: Environment variable that holds the key; unset or empty means none is sent.
        concurrency: Most requests in flight.
        timeout_seconds: Most seconds that one attempt may take, from the first byte sent to the last one read.
        retries: Further attempts after a failed one.
        backoff_seconds: Pause before the second attempt; doubled before each further one, half of it drawn at random.
    """

    base_url: str
    api_key_variable: str = ""
    concurrency: int = 16
    timeout_seconds: float = 60.0
    retries: int = 4
    backoff_seconds: float = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON object from the server."""

    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """A request without an answer.

    Attributes:
        reason: A sentence without the case's text.
        status: The answer's HTTP status; 0 when there was none.
        refused: The server understood the request and does not want it; another one may fare better.
        unreachable: No connection could be made.
    """

    reason: str
    status: int = 0
    refused: bool = False
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class _Setback:
    """A failed attempt that is worth another one, ``pause`` seconds later at the earliest."""

    reason: str
    status: int = 0
    unreachable: bool = False
    pause: float = 0.0

    def final(self, attempts: int) -> Failure:
        counted = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        return Failure(f"{self.reason} after {counted}", self.status, unreachable=self.unreachable)


class ServerConnection:
    """A pool of connections to one server, for use from any thread.

    Args:
        settings: Where the server is and how patient to be.

    Raises:
        EngineError: The address is not one, or the key cannot be sent in a header.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._url, auth, host = _parse_address(settings.base_url)
        self._key = _read_key(settings.api_key_variable)
        self._client = httpx.AsyncClient(
            auth=auth,
            headers={"Authorization": f"Bearer {self._key}"} if self._key else None,
            limits=httpx.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency),
            timeout=None,  # noqa: S113 - every attempt as a whole has a limit of its own
            trust_env=not _is_loopback(host),  # a proxy could not reach this machine's own servers
        )
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._dice = random.SystemRandom()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="promptopt-server", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """The server's address without user name and password."""
        return self._url

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Runs a coroutine in the connection's event loop and waits for it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Closes the connections and ends the thread; a second call does nothing."""
        if self._loop.is_closed():
            return
        self.run(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def post(self, path: str, body: Mapping[str, Any], private: Sequence[str] = ()) -> Answer | Failure:
        """Posts a JSON object, again after failures that may pass.

        Args:
            path: Path below the base address, with a leading slash.
            body: What to send.
            private: Texts that must not appear in the reason of a failure.

        Raises:
            EngineError: The server refuses the key, or has no such path or model.
        """
        return await self._patiently("POST", self._url + path, body, private)

    async def get(self, path: str) -> Answer | Failure:
        """Gets a JSON object from a path below the base address: again while there is no answer at all."""
        return await self._patiently("GET", self._url + path)

    async def get_from_root(self, path: str) -> Answer | Failure:
        """Gets a JSON object from beside the base address's last part, in one attempt."""
        outcome = await self._attempt("GET", self._url.rpartition("/")[0] + path)
        return outcome.final(1) if isinstance(outcome, _Setback) else outcome

    async def _patiently(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, private: Sequence[str] = ()
    ) -> Answer | Failure:
        attempts = self._settings.retries + 1
        setback = _Setback("")
        for attempt in range(attempts):
            if attempt:
                await asyncio.sleep(max(self._backoff(attempt), setback.pause))
            outcome = await self._attempt(method, url, body, private)
            if not isinstance(outcome, _Setback):
                return outcome
            setback = outcome
            if method == "GET" and setback.status:
                return setback.final(attempt + 1)
        return setback.final(attempts)

    def _backoff(self, attempt: int) -> float:
        whole = min(self._settings.backoff_seconds * 2.0 ** (attempt - 1), _MAX_BACKOFF_SECONDS)
        return whole * self._dice.uniform(0.5, 1.0)

    async def _attempt(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, private: Sequence[str] = ()
    ) -> Answer | Failure | _Setback:
        seconds = self._settings.timeout_seconds
        try:
            async with self._slots, asyncio.timeout(seconds):
                response = await self._client.request(method, url, json=body)
        except TimeoutError:
            return _Setback(f"the server did not answer within {seconds:g} seconds")
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return _Setback("the server could not be reached", unreachable=True)
        except httpx.DecodingError:
            return _Setback("the server's answer could not be decoded")
        except httpx.TransportError:
            return _Setback("the server broke the connection")
        return self._judge(method, response, private)

    def _judge(self, method: str, response: httpx.Response, private: Sequence[str]) -> Answer | Failure | _Setback:
        status = response.status_code
        said = f" ({message})" if status >= 300 and (message := self._message(response, private)) else ""
        if (status >= 500 and status not in _ABSENT) or status in _TRANSIENT:
            pause = _retry_after(response.headers.get("retry-after", ""))
            return _Setback(f"the server answered {status}{said}", status, pause=pause)
        if status in (401, 403):
            # What the server says is left out: some repeat part of the key.
            raise EngineError(
                f"the server answered {status}",
                where=self._url,
                remedy=f"put a key that it accepts into the environment variable {self._settings.api_key_variable!r}",
            )
        if (status in _ABSENT and method != "GET") or 300 <= status < 400:
            raise EngineError(
                f"the server answered {status}{said}",
                where=str(response.url),
                remedy="check judge.server.base_url, which ends in /v1, and that judge.model is a model it serves",
            )
        if status >= 400:
            return Failure(f"the server refused the request with {status}{said}", status, refused=True)
        try:
            body = response.json()
        except (ValueError, RecursionError):
            body = None
        return Answer(body) if isinstance(body, dict) else _Setback("the server's answer was not a JSON object", status)

    def _message(self, response: httpx.Response, private: Sequence[str]) -> str:
        message = server_message(response.content, private)
        return message.replace(self._key, "...") if self._key else message


def _parse_address(base_url: str) -> tuple[str, httpx.BasicAuth | None, str]:
    """The address without user name and password, these two, and the host."""
    try:
        parts = urlsplit(base_url)
        port = parts.port  # an address may hold a port that is not a number
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EngineError(
            f"{base_url.rpartition('@')[2]!r} is not the address of a server",
            where="judge.server.base_url",
            remedy="give one such as http://127.0.0.1:8000/v1",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = host if port is None else f"{host}:{port}"
    auth = httpx.BasicAuth(parts.username, parts.password or "") if parts.username else None
    return urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", "")), auth, parts.hostname


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_key(variable: str) -> str:
    key = os.environ.get(variable, "").strip() if variable else ""
    if not (key.isascii() and key.isprintable()):
        raise EngineError(
            f"the environment variable {variable!r} holds characters that no key can have",
            where="judge.server.api_key_variable",
            remedy="copy the key into it again",
        )
    return key


def _retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for, as a number or as a date; 0 without a readable one."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS) if seconds == seconds else 0.0
