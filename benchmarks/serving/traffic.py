"""Clients of every kind for `load.py`, and what they count."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from world import Answer, Connection, milliseconds, request

Expected = dict[str, bytes]
"""Text → how its part of an answer begins: so every answer is looked at, at next to no cost."""


def fragment(source: str, text: str) -> bytes:
    """How the server's JSON of one output begins."""
    return json.dumps({"source": source, "text": text}, ensure_ascii=False, separators=(",", ":"))[:-1].encode()


LATE = 0.05
"""Seconds within which a refusal should be there."""


class Counts:
    """What came back."""

    def __init__(self) -> None:
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.late: list[tuple[float, float]] = []  # when a late refusal's request was sent, and when it was there
        self.pauses: list[tuple[float, float]] = []  # when the clients themselves did not get on
        self.wrong = 0
        self.failed = 0

    def add(self, answer: Answer, texts: Sequence[str], expected: Expected) -> None:
        """One answer, looked at: as many outputs as texts, in their order, each the model's own."""
        if answer.status == 503:
            self.refused.append(answer.seconds)
            if answer.seconds > LATE:
                now = time.monotonic()
                self.late.append((now - answer.seconds, now))
            return
        self.accepted.append(answer.seconds)
        at = 0
        for text in texts:
            begin = answer.body.find(expected[text], at)
            at = begin + len(expected[text]) if begin >= 0 else len(answer.body)
        self.wrong += at == len(answer.body) or answer.body.count(b'{"source":') != len(texts)

    def _paused(self, since: float, until: float) -> float:
        """Seconds for which an answer that was seen at `until` may have been there: those of a pause of the clients
        that went on until then."""
        return sum(until - max(since, begin) for begin, end in self.pauses if begin < until <= end + LOOK)

    def summary(self) -> dict[str, Any]:
        """In milliseconds."""
        return {
            "accepted": len(self.accepted),
            "accepted ms": milliseconds(self.accepted),
            "refused": len(self.refused),
            "refused ms": milliseconds(self.refused),
            "refused over 50 ms": len(self.late),
            "of them perhaps there before the clients looked": sum(
                until - since - self._paused(since, until) <= LATE for since, until in self.late
            ),
            "wrong or exchanged": self.wrong,
            "connections that failed": self.failed,
        }


LOOK = 0.002  # seconds


async def watch(counts: Counts) -> None:
    """Notes when the clients' process was busy with other answers or got no processor: what an answer waits then is not
    the server's doing."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(LOOK)
        if time.monotonic() - began > 2 * LOOK:
            counts.pauses.append((began + LOOK, time.monotonic()))


async def closed(port: int, texts: list[str], expected: Expected, clients: int, size: int, seconds: float) -> Counts:
    """Clients that ask without a pause, `size` texts at a time."""
    counts = Counts()
    end = time.monotonic() + seconds

    async def one(number: int) -> None:
        dice, connection = random.Random(number), Connection(port)
        while time.monotonic() < end:
            some = dice.sample(texts, size)
            counts.add(await connection.ask(request("/generate", {"texts": some})), some, expected)
        connection.close()

    await asyncio.gather(*(one(number) for number in range(clients)))
    return counts


async def opened(
    port: int, texts: list[str], expected: Expected, rate: float, seconds: float, look: Callable[[], object]
) -> Counts:
    """Requests of one text that arrive at random, `rate` a second, whether the earlier ones were answered or not;
    `look` is called every second."""
    counts, dice = Counts(), random.Random(5)
    idle: list[Connection] = []
    tasks: set[asyncio.Task[None]] = set()
    ready = {text: request("/generate", {"texts": [text]}) for text in texts}

    async def one(text: str) -> None:
        connection = idle.pop() if idle else Connection(port)
        try:
            counts.add(await connection.ask(ready[text]), [text], expected)
            idle.append(connection)
        except (OSError, EOFError):
            counts.failed += 1

    watching = asyncio.create_task(watch(counts))
    begin = due = time.monotonic()
    looked = 0.0
    while due < begin + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        while due <= time.monotonic():
            task = asyncio.create_task(one(dice.choice(texts)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due += dice.expovariate(rate)
        if time.monotonic() - begin >= looked:
            look()
            looked += 1
    await asyncio.gather(*tasks)
    watching.cancel()
    for connection in idle:
        connection.close()
    return counts


async def singly(port: int, texts: Sequence[str]) -> list[float]:
    """Seconds of requests one after another."""
    connection = Connection(port)
    found = [(await connection.ask(request("/generate", {"texts": [text]}))).seconds for text in texts]
    connection.close()
    return found
