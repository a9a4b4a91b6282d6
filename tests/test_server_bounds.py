"""How many requests a server has under way at the same time, and what is answered beyond."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import httpx
import pytest

from live import hold, live, shelf_of, until
from pairloom.server.logs import LOGGER
from pairloom.server.shelf import Shelf


@pytest.fixture(scope="module")
def shelf(tiny_model_dir: Path) -> Shelf:
    return shelf_of(tiny_model_dir)


@pytest.mark.parametrize("status", [503, 429])
def test_who_is_one_too_many_is_told_when_to_come_back(
    shelf: Shelf, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=LOGGER)
    with live(shelf, connections=2, overload_status=status) as server:
        gate = hold(server, threading.Event())
        answers: list[int] = []

        def ask() -> None:
            answers.append(server.http.post("/generate", json={"texts": ["abc"]}).status_code)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: server.service.in_flight == 2)
        for path in ("/generate", "/translate", "/v1/chat/completions", "/v2/translate", "/detect"):
            refused = server.http.post(path, json={"texts": ["abc"]})
            assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (status, True)
            assert "too much to do" in json.dumps(refused.json())
        for path in ("/models", "/", "/openapi.json"):
            assert server.http.get(path).status_code == status
        for path in ("/healthz", "/readyz", "/health"):  # or whoever watches it would end it for being busy
            assert server.http.get(path).status_code == 200
        assert 'pairloom_refused_total{reason="overloaded"} 8.0' in server.http.get("/metrics").text
        gate.set()
        for thread in threads:
            thread.join()
        assert answers == [200, 200]
        assert server.http.post("/generate", json={"texts": ["abc"]}).status_code == 200
    logged = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == "request"]
    assert [one["path"] for one in logged if one["status"] == status][:2] == ["/generate", "/translate"]


def test_a_connection_at_rest_takes_nobodys_place(shelf: Shelf) -> None:
    """Clients and proxies keep connections for later; what is bounded is the work."""
    with live(shelf, connections=1) as server:
        kept = [httpx.Client(base_url=server.url, trust_env=False) for _ in range(3)]
        try:
            assert [one.get("/models").status_code for one in kept] == [200] * 3
            assert server.http.post("/generate", json={"texts": ["abc"]}).status_code == 200
        finally:
            for one in kept:
                one.close()
