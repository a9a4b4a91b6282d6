"""A server on a free port of this machine, in a thread of the test's own process."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from pairloom.server.app import create_app
from pairloom.server.queue import Dropped, Job
from pairloom.server.run import DrainingServer, server_for
from pairloom.server.service import Service
from pairloom.server.settings import server_settings
from pairloom.server.shelf import Shelf, open_shelf
from pairloom.server.workers import Call


class Live:
    """Where it is, a client for it, and the thread in which it runs until its end."""

    def __init__(self, port: int, service: Service, server: DrainingServer, thread: threading.Thread) -> None:
        self.port = port
        self.service = service
        self.server = server
        self.thread = thread
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def signalled(self) -> float:
        """Does what SIGTERM does, and says when that was; signals themselves reach a main thread only."""
        self.server.handle_exit(signal.SIGTERM, None)
        return time.monotonic()

    def ended(self) -> float:
        """The time of its end, awaited."""
        self.thread.join(20)
        assert not self.thread.is_alive()
        return time.monotonic()

    def raw(self, data: bytes, *, wait: float = 5.0) -> bytes:
        """What comes back for these bytes until the server closes or says nothing more."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            connection.sendall(data)
            parts = []
            try:
                while part := connection.recv(65536):
                    parts.append(part)
            except TimeoutError:
                pass
            return b"".join(parts)


@contextmanager
def live(shelf: Shelf, **settings: Any) -> Iterator[Live]:
    """Starts a server with these settings, and ends it."""
    chosen = server_settings({"port": 0, "workers": 1, **settings})
    app = create_app(shelf, chosen)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = server_for(app, chosen)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        end = time.monotonic() + 20
        while not server.started and time.monotonic() < end:
            time.sleep(0.01)
        assert server.started
        one = Live(listener.getsockname()[1], app.state.service, server, thread)
        try:
            yield one
        finally:
            one.http.close()
            server.should_exit = True
            one.ended()


def shelf_of(*directories: Path, languages: tuple[str, ...] = ("de:en",)) -> Shelf:
    """Models as `pairloom serve` opens them; in float32, where the company in a batch changes no answer."""
    return open_shelf(list(directories), languages, precision="float32", threads=1)


def hold(server: Live, started: threading.Event) -> threading.Event:
    """Keeps the only worker busy until the event that is returned is set."""
    gate = threading.Event()

    def wait() -> None:
        started.set()
        assert gate.wait(20)

    served = server.service.shelf.find(None)
    call = Call(served, wait, lambda place, answer: None)
    assert server.service.queue.offer([Job(object(), call, 1, 1, time.monotonic() + 60, Dropped(), alone=True)])
    assert started.wait(10)
    return gate


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits for something to come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
