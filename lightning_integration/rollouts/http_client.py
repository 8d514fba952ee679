"""Requests to a server beside the trainer, within limits of time and size."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import aiohttp

from insight_ext import ArgumentError, EngineError
from insight_ext.plugins import check_above_0, whole

# A server that is busy, starts or restarts; whatever else it says will not change by itself.
WORTH_ANOTHER_TRY = {429, 500, 502, 503, 504}
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds
MEBIBYTE = 1 << 20

Answer = dict[str, Any]
T = TypeVar("T")


class HttpClient:
    """Asks a server for JSON objects.

    A server that cannot be reached, is overloaded or fails is asked again after a pause, which it
    may set itself (Retry-After) and which doubles otherwise. Redirects are not followed, proxies
    and passwords of the environment not used. Every failure is an EngineError of one sentence.

    Args:
        url: of the server, such as "http://127.0.0.1:8000".
        seconds: longest time for a call with all its requests, tries and pauses.
        retries: how often a request is tried again.
        connections: requests at once, at least 1.

    Raises:
        ArgumentError: an argument outside its domain.
    """

    def __init__(
        self, url: str, seconds: float = 1800.0, retries: int = 4, connections: int = 64
    ) -> None:
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise ArgumentError(f"url: expected one like http://127.0.0.1:8000, got {url!r:.80}")
        retries, connections = whole("retries", retries, 0), whole("connections", connections, 1)
        check_above_0(seconds=seconds)
        self.url = url.rstrip("/")
        self.seconds = seconds
        self.retries = retries
        self.connections = connections

    def get(self, path: str) -> Answer:
        """The answer to a GET request."""
        return self._all("GET", path, [None], 64 * MEBIBYTE)[0]

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """The answer to a POST request."""
        return self.post_all(path, [body], MEBIBYTE)[0]

    def post_all(
        self, path: str, bodies: Sequence[Mapping[str, Any]], max_bytes: int
    ) -> list[Answer]:
        """The answers to POST requests that are made side by side, in their order.

        Args:
            path: below the URL.
            bodies: what to send, as JSON.
            max_bytes: longest answer to each.

        Raises:
            EngineError: no connection, another status than 200, an answer that is too long, too
                late or no JSON object.
        """
        return self._all("POST", path, bodies, max_bytes)

    def _all(
        self, method: str, path: str, bodies: Sequence[Mapping[str, Any] | None], max_bytes: int
    ) -> list[Answer]:
        async def ask_all() -> list[Answer]:
            async with asyncio.timeout(self.seconds), self._session() as session:
                asked = (self._ask(session, method, path, body, max_bytes) for body in bodies)
                return await asyncio.gather(*asked)

        try:
            return _finished(ask_all())
        except TimeoutError as error:
            raise EngineError(
                f"{self.url}{path}: expected an answer within {self.seconds:g} seconds, got none; "
                "see what the server does, or raise seconds in engine_options"
            ) from error

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.connections),
            timeout=aiohttp.ClientTimeout(total=None),  # the call's covers every request
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
        )

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        max_bytes: int,
    ) -> Answer:
        for attempt in range(self.retries + 1):
            pause = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
            try:
                async with session.request(
                    method, self.url + path, json=body, allow_redirects=False
                ) as answer:
                    if answer.status == 200:
                        return self._parsed(path, await self._read(answer, path, max_bytes))
                    failure = await self._refusal(answer, path)
                    if answer.status not in WORTH_ANOTHER_TRY:
                        raise failure
                    pause = _pause_asked_for(answer, pause)
            except (aiohttp.ClientError, OSError) as error:
                if isinstance(error, TimeoutError):
                    raise
                failure = EngineError(
                    f"{self.url}{path}: expected a running `vllm serve`, got "
                    f"{_one_line(error)}; start it, or correct url in engine_options"
                )
                failure.__cause__ = error
            if attempt < self.retries:
                await asyncio.sleep(pause)
        raise failure

    async def _refusal(self, answer: aiohttp.ClientResponse, path: str) -> EngineError:
        got = f"{answer.status} {_one_line(answer.reason or '')}"
        if 300 <= answer.status < 400:
            return EngineError(
                f"{self.url}{path}: expected an answer, got {got} to "
                f"{_one_line(answer.headers.get('Location', 'nowhere'))}; redirects are not "
                "followed, so set url in engine_options to where the server is"
            )
        said = await answer.content.read(500)
        return EngineError(
            f"{self.url}{path}: expected an answer, got {got}: "
            f"{_one_line(said.decode(errors='replace'))}"
        )

    async def _read(self, answer: aiohttp.ClientResponse, path: str, max_bytes: int) -> bytes:
        parts, size = [], 0
        async for part in answer.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise EngineError(
                    f"{self.url}{path}: expected an answer of at most {max_bytes} bytes, got more"
                )
        return b"".join(parts)

    def _parsed(self, path: str, text: bytes) -> Answer:
        try:
            answer = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError) as error:
            raise EngineError(
                f"{self.url}{path}: expected JSON, got {_one_line(text[:80])}: {_one_line(error)}"
            ) from error
        if not isinstance(answer, dict):
            raise EngineError(
                f"{self.url}{path}: expected a JSON object, got {_one_line(text[:80])}"
            )
        return answer


def _pause_asked_for(answer: aiohttp.ClientResponse, pause: float) -> float:
    """Retry-After where it is a number of seconds, within reason."""
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_PAUSE) if asked.isdecimal() else pause


def _one_line(told: Any) -> str:
    """Text of a stranger without line breaks and control characters, of bounded length."""
    text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
    text = " ".join(text.split())[:300]
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text) or "nothing"


def _finished(work: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns, also where a loop is running, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
