"""`pairloom serve` as a process: where it listens, what it logs, how it ends."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from pairloom.server import run
from pairloom.server.protocol import Gathered
from pairloom.server.run import listen
from pairloom.server.settings import server_settings


class Served:
    """A process, and what it has said."""

    def __init__(self, *words: str, **environment: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as one:
            self.port = one.getsockname()[1]
        command = [sys.executable, "-m", "pairloom", "serve", *words, "--port", str(self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, **environment})
        self.said: list[str] = []
        self._listening = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        assert self._listening.wait(60), self.said

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.decode())
            if '"event": "listening"' in self.said[-1]:
                self._listening.set()

    def ended(self) -> int:
        """The exit code, after the last word."""
        code = self.process.wait(60)
        self._listener.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    def ask(self, **content: Any) -> httpx.Response:
        """POST /generate"""
        url = f"http://127.0.0.1:{self.port}/generate"
        return httpx.post(url, json=content, timeout=30, trust_env=False)


def test_dead_objects_are_looked_for_often_and_only_among_the_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 of them at once, as the command line has it for a quick start, stop all answers for 80 ms."""
    seen: list[tuple[int, bool]] = []

    class Runs:
        def run(self, sockets: list[socket.socket]) -> None:
            seen.append((gc.get_threshold()[0], gc.get_freeze_count() > 10_000))

    monkeypatch.setattr(run, "create_app", lambda shelf, settings: None)
    monkeypatch.setattr(run, "server_for", lambda app, settings: Runs())
    monkeypatch.setattr(gc, "collect", lambda: 0)  # here it would find what other tests have left
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    try:
        run.serve(cast(Any, None), server_settings({"port": 0}))
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
    assert seen == [(1_000, True)]


def test_sigterm_answers_what_was_accepted(tiny_model_dir: Path) -> None:
    one = Served(str(tiny_model_dir), "--workers", "1", "--batch", "1", "--grace", "0.2")
    answers: list[int] = []

    def ask() -> None:
        answers.append(one.ask(texts=["abcdefgh" * 6] * 40, beam=4).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)  # all four are there, at most one has been answered
    one.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(40)
    assert answers == [200] * 4
    assert one.ended() == 0
    events = [json.loads(line) for line in one.said if line.startswith("{")]
    assert [event["event"] for event in events if event["event"] != "request"] == ["listening", "draining", "ended"]
    assert events[-1]["unanswered"] == 0
    requests = [event for event in events if event["event"] == "request"]
    assert [event["status"] for event in requests] == [200] * 4
    assert all({"time", "level", "id", "method", "path", "ms"} <= event.keys() for event in requests)
    assert "abcdefgh" not in "".join(one.said)  # the texts of clients are nobody's business
    with pytest.raises(httpx.ConnectError):
        one.ask(texts=["a"])


def test_it_listens_on_this_machine_only_and_takes_its_key_from_the_environment(tiny_model_dir: Path) -> None:
    one = Served(str(tiny_model_dir), PAIRLOOM_API_KEY="secret")
    try:
        listening = next(json.loads(line) for line in one.said if '"listening"' in line)
        assert listening["host"] == "127.0.0.1"
        assert one.ask(texts=["a"]).status_code == 401
        assert "secret" not in "".join(one.said)
    finally:
        one.process.send_signal(signal.SIGTERM)
        assert one.ended() == 0


def test_answers_are_not_held_back() -> None:
    """asyncio switches Nagle's algorithm off only for sockets that are named as TCP; else an answer waits for 40 ms."""
    with listen(server_settings({"port": 0})) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_head_and_body_leave_together() -> None:
    class Sent(asyncio.Transport):
        parts: list[bytes] = []  # noqa: RUF012  # of the one transport of this test

        def write(self, data: Any) -> None:
            self.parts.append(data)

        def close(self) -> None:
            self.parts.append(b"closed")

    async def say() -> list[bytes]:
        transport = Gathered(Sent(), asyncio.get_running_loop())
        transport.write(b"head ")
        transport.write(b"body")
        await asyncio.sleep(0)
        transport.write(b"the last word")
        transport.close()
        await asyncio.sleep(0)
        return Sent.parts

    assert asyncio.run(say()) == [b"head body", b"the last word", b"closed"]


def test_an_address_in_use_is_said_in_a_sentence(ask: Any, tiny_model_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = ask("serve", tiny_model_dir, "--port", taken.getsockname()[1])
    assert answer.code == 2
    assert "cannot listen on 127.0.0.1:" in answer.err
    assert "--port" in answer.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 4, "does not exist"),
        (["--languages", "x"], 2, "with a colon between them"),
        (["--workers", "1000"], 2, "workers"),
        (["--overload-status", "500"], 2, "overload_status"),
    ],
)
def test_what_is_wrong_is_said(ask: Any, tiny_model_dir: Path, words: list[str], code: int, said: str) -> None:
    directory = [] if words == ["nowhere"] else [tiny_model_dir]
    answer = ask("serve", *directory, *words)
    assert answer.code == code
    assert said in answer.err
