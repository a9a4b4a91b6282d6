"""A server on a free port of this machine, in a thread of the test's own process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from pairloom.server.app import create_app
from pairloom.server.run import server_for
from pairloom.server.service import Service
from pairloom.server.settings import server_settings
from pairloom.server.shelf import Shelf, open_shelf


class Live:
    """Where it is, and a client for it."""

    def __init__(self, port: int, service: Service) -> None:
        self.port = port
        self.service = service
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

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
        one = Live(listener.getsockname()[1], app.state.service)
        try:
            yield one
        finally:
            one.http.close()
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def shelf_of(*directories: Path, languages: tuple[str, ...] = ("de:en",)) -> Shelf:
    """Models as `pairloom serve` opens them; in float32, where the company in a batch changes no answer."""
    return open_shelf(list(directories), languages, precision="float32", threads=1)
