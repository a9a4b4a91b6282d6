"""HTTP/1.1 as uvicorn speaks it, with an end to patience: a client that does not finish its head is let go.

Head and body of an answer leave together: each call into the system gives the interpreter to a worker for a while.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class Gathered:
    """A transport that sends what is written within one step of the event loop as one."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """See asyncio."""
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)

    def close(self) -> None:
        """See asyncio: what was written is sent before."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            self._transport.write(b"".join(parts))


@lru_cache
def patient_for(seconds: float) -> type[H11Protocol]:
    """The protocol of connections that wait so long for the whole head of a request."""

    class Patient(H11Protocol):
        """A timer runs from the first byte (or the connection) to the end of the head."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(cast(asyncio.Transport, Gathered(transport, self.loop)))
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._stop()
            elif self._timer is None:  # the beginning of a further head on a connection that was kept
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._timer = self.loop.call_later(seconds, self._let_go)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _let_go(self) -> None:
            self._timer = None
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                self.transport.close()

    return Patient
