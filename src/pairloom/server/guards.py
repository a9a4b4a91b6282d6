"""What every request passes before anything is computed for it: who may ask, how much, how slowly, and whether now.

The body is read here, whole and within bounds of size and time, so that no interface behind can be kept waiting by a
slow sender. A full queue, or too many requests under way, refuses before the body is looked at: a refusal must cost
next to nothing, or refusing becomes the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from random import getrandbits
from typing import Any

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pairloom.server.asking import parse_qsl_bounded
from pairloom.server.forms import LIBRE, response_of
from pairloom.server.logs import log
from pairloom.server.problems import ProblemError, too_large
from pairloom.server.service import Service

WORK = ("/generate", "/explain", "/translate", "/v2/translate", "/v1/chat/completions")
"""Paths whose requests go into the queue."""
OPEN = ("/", "/healthz", "/readyz", "/health", "/favicon.ico")
"""Paths that need no key: probes, and the page that asks for it (with its files under /page/)."""
PROBES = ("/healthz", "/readyz", "/health")
"""What is answered under any name: an orchestrator asks by an address that nobody can name beforehand, and a stranger's
page would read from them only that the server is there."""
WATCHED = (*PROBES, "/metrics")
"""What is answered however many requests are under way: who watches a server ends it if it is silent, and must see its
load above all when there is much."""
LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")
UNREAD = 2**16
"""Bytes of a body that may come after the request was refused."""
SLOWEST_READER = 60.0  # seconds that one part of an answer may wait for its client


Straight = Callable[[bytes, Request], Awaitable[Response | None]]
"""Body and request → the answer, or None where the application shall look at it."""


class Guards:
    """The outermost layer of the application.

    `straight`: paths of POST requests that need not pass the application's own layers, a quarter of what the event loop
    spends on a request.
    """

    def __init__(self, app: ASGIApp, service: Service, straight: Mapping[str, Straight]) -> None:
        self._app, self._service, self._straight = app, service, straight
        settings = service.settings
        self._limits = settings.limits
        self._key = settings.key.get_secret_value().encode() if settings.key else b""
        hosts = {*LOCAL, settings.host, *settings.hosts} if settings.host in LOCAL or settings.hosts else set()
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        one = Passage(self._service, scope, send)
        self._service.in_flight += 1
        try:
            await self._admit(one, scope, receive)
        except ProblemError as problem:
            await one.refuse(problem)
        except asyncio.CancelledError:
            if not self._service.draining:
                raise
            await one.refuse(ProblemError(503, "this server ends; try again later", code="ending", retry_after=1))
        except Exception:
            log("fault", level=logging.ERROR, exc_info=True, **one.fields())
            self._service.meters.failures.inc()
            await one.refuse(ProblemError(500, "a fault of this server; its log says more", code="fault"))
        finally:
            self._service.in_flight -= 1
            one.finish()

    async def _admit(self, one: Passage, scope: Scope, receive: Receive) -> None:
        headers = dict(scope["headers"])
        path = scope["path"]
        if path not in PROBES:
            self._check_host(headers)
        crowded = path not in WATCHED and self._service.in_flight > self._service.settings.connections
        if crowded or (path in WORK and self._service.queue.full):
            refusal = self._service.overload()
            if int(headers.get(b"content-length", b"0")[:20] or 0) > UNREAD or b"transfer-encoding" in headers:
                refusal.headers["Connection"] = "close"  # or its sender could go on for ever
            raise refusal
        scope.setdefault("state", {})["key_shown"] = self._check_key(path, headers, scope["query_string"])
        body = await self._body(headers, receive)
        scope["state"]["until"] = time.monotonic() + self._limits.deadline  # of all that is computed for this request
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()  # after the body: whether the client goes away
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        if scope["method"] == "POST" and path in self._straight:
            one.route = path
            response = await self._straight[path](body, Request(scope, replay))
            if response is not None:
                await response(scope, replay, one.send)
                return
        await self._app(scope, replay, one.send)

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        """A page of a stranger, whose name was made to point to this machine, is not let in."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self._hosts and name not in self._hosts:
            raise ProblemError(
                421, f"this server is not called {name!r:.100}; `--allow-host NAME` lets it be", code="wrong_host"
            )

    def _check_key(self, path: str, headers: dict[bytes, bytes], query: bytes) -> bool:
        """Whether the key was shown. Raises ProblemError where it must be and was not.

        Clients of LibreTranslate may show it in the body, which is read later.
        """
        if not self._key:
            return True
        word, _, shown = headers.get(b"authorization", b"").partition(b" ")
        if word.lower() not in (b"bearer", b"deepl-auth-key"):
            shown = headers.get(b"x-api-key", b"")
        fields = parse_qsl_bounded(query.decode("latin-1")) if b"api_key" in query else []
        asked = [value for name, value in fields if name == "api_key"]
        candidates = [shown.strip(), *(value.encode() for value in asked)]
        if any(hmac.compare_digest(candidate, self._key) for candidate in candidates):
            return True
        if path in OPEN or path.startswith("/page/") or (path.startswith(LIBRE) and not any(candidates)):
            return False
        raise wrong_key(path, given=any(candidates))

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        most = self._limits.body_bytes
        claimed = headers.get(b"content-length", b"")
        if claimed.isdigit() and int(claimed[:20]) > most:
            await _drain(receive, 2 * most)
            raise too_large(f"a body of {int(claimed[:20]):,} bytes, at most {most:,}")
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ProblemError(499, "the client has gone", code="gone")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        await _drain(receive, most)
                        raise too_large(f"a body of more than {most:,} bytes")
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            seconds = self._limits.body_seconds
            raise ProblemError(408, f"the request was not sent within {seconds:g} seconds") from None


def key_matches(shown: str, key: SecretStr) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(shown.encode("utf-8", "replace"), key.get_secret_value().encode())


def wrong_key(path: str, *, given: bool) -> ProblemError:
    """The refusal of who has no key, with the status that clients of that path understand."""
    status = 403 if path.startswith(("/v2/", *LIBRE)) else 401
    return ProblemError(status, "this key is not right" if given else "this server wants a key", code="key")


class Passage:
    """One request on its way: its answer's status, its time, its line in the log."""

    def __init__(self, service: Service, scope: Scope, send: Send) -> None:
        self._service, self._scope, self._send = service, scope, send
        self._began = time.monotonic()
        self._status = 0
        self._ended = False
        self.route = ""  # if the application's router has not seen it
        named = dict(scope["headers"]).get(b"x-request-id", b"")[:64].decode("latin-1")
        self.id = named if named.isprintable() and named else f"{getrandbits(64):016x}"

    async def send(self, message: Message) -> None:
        """Hands on a part of the answer; a client that does not take it for a minute is given up."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            extra = [(b"x-request-id", self.id.encode("latin-1"))]
            if self._service.draining:  # whoever keeps the connection would find it closed with the next request
                extra.append((b"connection", b"close"))
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        elif not message.get("more_body", False):
            self._ended = True
        async with asyncio.timeout(SLOWEST_READER):
            await self._send(message)

    async def refuse(self, problem: ProblemError) -> None:
        """The answer to a request that gets none; nothing if one has begun."""
        if self._status:
            return
        self._service.meters.refused.labels(problem.code).inc()
        if problem.status == 499:  # nobody is there to read it
            self._status = 499
            return
        if problem.status in (408, 413):  # what is still to come of the body is not read
            problem.headers["Connection"] = "close"
        response = response_of(self._scope["path"], problem)
        await response(self._scope, _nothing, self.send)

    def finish(self) -> None:
        """Counts the request and writes its line."""
        route = self.route or getattr(self._scope.get("route"), "path", "other")
        seconds = time.monotonic() - self._began
        method = self._scope["method"] if self._scope["method"] in METHODS else "other"
        self._service.meters.requests.labels(route, method, str(self._status)).inc()
        self._service.meters.seconds.labels(route).observe(seconds)
        log("request", **self.fields(), status=self._status, ms=round(1000 * seconds, 1), whole=self._ended)

    def fields(self) -> dict[str, Any]:
        """What a log says of it."""
        return {"id": self.id, "method": self._scope["method"], "path": self._scope["path"][:200]}


LINGER = 1.0
"""Seconds for which a body that is too large is still read."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


async def _drain(receive: Receive, most: int) -> None:
    """Reads on for a moment, at most so many bytes: closing a connection with unread bytes resets it, and the client
    would meet the reset before it reads the refusal."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while most > 0:
                message = await receive()
                most -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
