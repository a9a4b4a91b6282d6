"""A server from its start to its end: uvicorn, with a way to end that loses nothing that was accepted.

After SIGTERM (or Ctrl-C) the server says at once that it is not ready, goes on to answer for `grace` seconds, each
answer with `Connection: close`, then listens no more, answers what it has accepted within `drain` seconds, and ends; a
second signal ends it at once. The time of the end is set when the signal comes, and everything that is waited for gets
what is left until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from pairloom.errors import UsageError
from pairloom.server.app import create_app
from pairloom.server.logs import log
from pairloom.server.protocol import patient_for
from pairloom.server.service import Service
from pairloom.server.settings import ServerSettings
from pairloom.server.shelf import Shelf


class DrainingServer(uvicorn.Server):
    """uvicorn, which goes on for a moment after a signal so that nobody runs into a closed door."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._ending: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn; and says where it listens."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        places = [server.sockets[0].getsockname() for server in self.servers]
        log("listening", host=places[0][0], port=places[0][1], models=list(self._service.shelf.models))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the end, the second one is the end."""
        if self._loop is None:
            super().handle_exit(sig, frame)
            return
        if self._service.draining:
            end_by(sig)
            return
        settings = self._service.settings
        self._service.drain(settings.grace + settings.drain)
        log("draining", signal=signal.Signals(sig).name, seconds=settings.grace + settings.drain)
        self._loop.call_soon_threadsafe(self._loop.call_later, settings.grace, self._end)

    def _end(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn, after the connections that the system has made but nobody has taken yet."""
        waiting = [connection for listener in sockets or [] for connection in pending(listener)]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)
        await asyncio.sleep(ARRIVING)  # what they have sent is read, and begun, before idle connections are closed
        if not self._service.draining:  # an end without a signal
            self._service.drain(self._service.settings.drain)
        self.config.timeout_graceful_shutdown = cast(int, max(LAST, self._service.left))  # asyncio takes fractions
        await super().shutdown(sockets)
        log("ended", unanswered=self._service.in_flight)

    @property
    def unfinished(self) -> bool:
        """Whether a worker has not come to its end in time."""
        return self._service.unfinished

    def _protocol(self) -> asyncio.Protocol:
        kind = cast(Any, self.config.http_protocol_class)
        return cast(
            asyncio.Protocol,
            kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state),
        )


ARRIVING = 0.2  # seconds
LAST = 0.1
"""Seconds that requests get even where no time is left, so that what is ready can leave."""
LEAVING = 2.0
"""Seconds, at the most, that the steps of the end and the interpreter take beside grace and drain."""


def longest_end(settings: ServerSettings) -> float:
    """Seconds from SIGTERM to the end of the process in the worst case; an orchestrator must wait longer to kill it."""
    return settings.grace + settings.drain + LEAVING


def pending(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait to be accepted."""
    found = []
    with contextlib.suppress(OSError):  # nobody waits any more, or no further file can be opened
        listener.setblocking(False)
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            found.append(connection)
    return found


def server_for(app: FastAPI, settings: ServerSettings) -> DrainingServer:
    """uvicorn around the application.

    Without its `limit_concurrency`, which would count connections at rest, too, and refuse in its own way: probes as
    well, in plain text, without a time to come back, past log and metrics. The guards count requests instead. A mass of
    idle connections costs a socket each; it is bounded by time (a head must be whole after `body_seconds`, a kept
    connection is closed after `timeout_keep_alive`) and by the files that the system lets a process open.
    """
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=patient_for(settings.limits.body_seconds),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
    )
    return DrainingServer(config, app.state.service)


OFTEN = (1_000, 10, 10)
"""When dead objects are looked for. Each request leaves some that refer to each other; the more of them have gathered,
the longer the one pause in which they go, and nobody is answered then: 50,000, as the command line has it for a quick
start, take 80 ms."""


def serve(shelf: Shelf, settings: ServerSettings) -> None:
    """Serves until a signal. Raises UsageError if the address cannot be had."""
    with contextlib.closing(listen(settings)) as listener:
        gc.collect()
        gc.freeze()  # models and libraries stay: looking through them again would stop all answers for a moment
        gc.set_threshold(*OFTEN)
        server = server_for(create_app(shelf, settings), settings)
        server.run(sockets=[listener])
    if server.unfinished:
        leave()


def end_by(sig: int) -> None:
    """Ends the process now, as the signal does without a handler. uvicorn's way would still wait: for connections, from
    Python 3.12 on, and for a worker in the middle of a batch."""
    signal.signal(sig, signal.SIG_DFL)
    signal.raise_signal(sig)


def leave() -> None:
    """Ends the process as it is. The interpreter's own end would take down a worker in the middle of a library's C++,
    which aborts everything, and whoever started the server would read that it crashed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def listen(settings: ServerSettings) -> socket.socket:
    """The socket, bound before anything is started, so that an address in use is said in a sentence."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Named as TCP, or asyncio would not switch off Nagle's algorithm, and every answer would come 40 ms late.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; choose another with --port"
        ) from None
    return listener
