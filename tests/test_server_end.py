"""`pairloom serve` as a process: where it listens, what it logs, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from live import hold, live, shelf_of, until
from pairloom.server import run
from pairloom.server.protocol import Gathered
from pairloom.server.run import listen, longest_end
from pairloom.server.settings import server_settings
from pairloom.workflow.model import Model


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
        unfinished = False

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


@pytest.mark.parametrize("unfinished", [False, True])
def test_the_interpreter_is_not_ended_under_a_worker(monkeypatch: pytest.MonkeyPatch, unfinished: bool) -> None:
    """A thread in the C++ of a library would take the process down with it: "terminate called", exit code -6."""
    left: list[int] = []

    class Ran:
        def run(self, sockets: list[socket.socket]) -> None:
            self.unfinished = unfinished

    monkeypatch.setattr(run, "create_app", lambda shelf, settings: None)
    monkeypatch.setattr(run, "server_for", lambda app, settings: Ran())
    monkeypatch.setattr(os, "_exit", left.append)
    before = gc.get_threshold()
    try:
        run.serve(cast(Any, None), server_settings({"port": 0}))
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
    assert left == [0] * unfinished


def asking(one: Served, clients: int, **content: Any) -> tuple[list[threading.Thread], list[int]]:
    """So many requests at the same time: their threads, and the statuses of those that were answered."""
    answers: list[int] = []

    def ask() -> None:
        with contextlib.suppress(httpx.HTTPError):
            answers.append(one.ask(**content).status_code)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    return threads, answers


def test_sigterm_answers_what_was_accepted(tiny_model_dir: Path) -> None:
    one = Served(str(tiny_model_dir), "--workers", "1", "--batch", "1", "--grace", "0.2")
    threads, answers = asking(one, 4, texts=["abcdefgh" * 6] * 40, beam=4)
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


def test_the_end_has_one_deadline_whatever_still_runs(tiny_model_dir: Path) -> None:
    """Requests and workers share the time: neither begins to wait when the other has waited in vain."""
    with live(shelf_of(tiny_model_dir), grace=0.1, drain=1) as server:
        gate = hold(server, threading.Event())
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(server.http.post("/generate", json={"texts": ["abc"]})), daemon=True
        )
        asking.start()
        until(lambda: server.service.queue.load.jobs == 1)
        try:
            began = server.signalled()
            assert 1.0 <= server.ended() - began < 2.0  # waiting twice takes 2.4
        finally:
            gate.set()
        asking.join(5)
        (answer,) = answers  # in the server's own words, not cut off
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "ending")
        assert int(answer.headers["retry-after"]) >= 1


def test_a_worker_that_does_not_end_in_time_is_no_crash(tiny_model_dir: Path) -> None:
    options = "--workers 2 --batch 1 --grace 0.1 --drain 0.5 --queue-tokens 9999999"
    one = Served(str(tiny_model_dir), *options.split())
    threads, found = asking(one, 20, texts=["abcdefgh" * 6] * 150, beam=8)
    time.sleep(0.8)
    began = time.monotonic()
    one.process.send_signal(signal.SIGTERM)
    assert one.ended() == 0, one.said
    assert time.monotonic() - began < longest_end(server_settings({"grace": 0.1, "drain": 0.5}))
    for thread in threads:
        thread.join(10)
    assert found.count(503) > 2
    assert "terminate called" not in "".join(one.said)


@pytest.mark.parametrize("between", [0.1, 1.0])  # within the grace, and while it waits for answers
def test_a_second_signal_ends_it_at_once(tiny_model_dir: Path, between: float) -> None:
    options = "--workers 1 --batch 1 --grace 0.5 --drain 60 --queue-tokens 9999999 --queue-seconds 999"
    one = Served(str(tiny_model_dir), *options.split())
    threads, _ = asking(one, 20, texts=["abcdefgh" * 6] * 250, beam=8)
    time.sleep(0.8)
    one.process.send_signal(signal.SIGTERM)
    time.sleep(between)
    began = time.monotonic()
    one.process.send_signal(signal.SIGTERM)
    assert one.ended() == -signal.SIGTERM, one.said  # as whoever sent it expects
    assert time.monotonic() - began < 3
    for thread in threads:
        thread.join(10)


def test_without_work_it_ends_after_the_grace(tiny_model_dir: Path) -> None:
    with live(shelf_of(tiny_model_dir), grace=0.1, drain=20) as server:
        began = server.signalled()
        assert server.ended() - began < 5


def test_in_the_grace_it_says_that_it_ends_and_answers(tiny_model_dir: Path) -> None:
    with live(shelf_of(tiny_model_dir), grace=2, drain=5) as server:
        for path in ("/readyz", "/health"):
            assert server.http.get(path).status_code == 200
        began = server.signalled()
        for path, status in (("/readyz", 503), ("/health", 503), ("/healthz", 200), ("/models", 200)):
            answer = server.http.get(path)
            assert (answer.status_code, answer.headers["connection"]) == (status, "close")
        assert server.http.post("/generate", json={"texts": ["abc"]}).status_code == 200
        assert server.ended() - began >= 2


def test_a_stream_under_way_is_written_to_its_end(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def slowly(self: Model, text: str, **settings: object) -> Iterator[str]:
        yield "one "
        assert gate.wait(10)
        yield from ("two ", "three")

    monkeypatch.setattr(Model, "stream", slowly)
    with live(shelf_of(tiny_model_dir), grace=0.1, drain=10) as server:
        with server.http.stream("POST", "/generate", json={"texts": ["abc"], "stream": True}) as response:
            lines = response.iter_lines()
            assert [next(lines), next(lines)] == ["event: piece", 'data: {"text":"one "}']
            server.signalled()
            until(lambda: server.server.should_exit)  # the grace is over
            time.sleep(0.5)  # it listens no more
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{server.url}/healthz", trust_env=False)
            gate.set()
            rest = [line for line in lines if line]
        assert rest[-2:] == ["event: done", 'data: {"model":"tiny","text":"one two three"}']
        server.ended()


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


def test_where_no_further_file_can_be_opened_the_end_goes_on() -> None:
    """A mass of idle connections may have taken all descriptors: what waits then cannot be taken in, no more."""

    class Full:
        def setblocking(self, _: bool) -> None: ...

        def accept(self) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

    assert run.pending(cast(socket.socket, Full())) == []


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
