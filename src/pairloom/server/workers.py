"""The threads that run models: each takes a batch from the queue, answers it, and gives the answers back."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pairloom.decoding.generator import Output, Reading
from pairloom.decoding.settings import DecodingSettings
from pairloom.server.meters import Meters
from pairloom.server.queue import Job, WorkQueue
from pairloom.server.shelf import Served

BEHIND = 5
"""How far behind the event loop the workers stand in line for a processor: who refuses, or hands on an answer, takes
but a moment and should not wait for a batch. Farther behind (up to 19) is no better, and beside other programs on a
busy machine they would hardly get their turn. (docs/LOG.md)"""

AT_ONCE = 4
"""Answers that are handed on before the event loop looks for new requests."""

Answer = Any
"""An `Output`, the result of a call, or an exception."""


@dataclass(frozen=True)
class Text:
    """One text of a request."""

    served: Served
    text: str
    reading: Reading
    settings: DecodingSettings
    prefix: str
    place: int  # in its request, from 0
    seeded: bool  # the client named the seed of its draws
    give: Callable[[int, Answer], None]  # takes `place` and the answer, in the event loop


@dataclass(frozen=True)
class Call:
    """Work that is not a text among others."""

    served: Served
    function: Callable[[], Any]
    give: Callable[[int, Answer], None]


class Workers:
    """Threads over one queue. `post` runs a function in the event loop."""

    def __init__(
        self, count: int, batch: int, queue: WorkQueue, meters: Meters, post: Callable[[Callable[[], None]], object]
    ) -> None:
        self._batch, self._queue, self._meters, self._post = batch, queue, meters, post
        self._threads = [
            threading.Thread(target=self._work, name=f"pairloom-worker-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def alive(self) -> bool:
        """Whether every worker is there."""
        return all(thread.is_alive() for thread in self._threads)

    def unfinished(self) -> bool:
        """Whether one of them still works, or waits for work."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self, seconds: float) -> None:
        """Waits until the closed queue is empty, at most so long."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEHIND)
        while batch := self._queue.take(self._batch, self._abandon):
            began = time.monotonic()
            answers = self._answers(batch)
            seconds = time.monotonic() - began
            self._queue.pace.add(sum(job.cost for job in batch), seconds)
            self._count(batch, answers, began, seconds)
            self._deliver(batch, answers)

    def _answers(self, batch: Sequence[Job]) -> list[Answer]:
        """One answer for each job; what goes wrong is an answer, too."""
        try:
            first = batch[0].content
            if isinstance(first, Call):
                return [first.function()]
            return list(self._outputs([job.content for job in batch]))
        except BaseException as error:  # a panic of a library in Rust is no Exception, and must end no worker
            if len(batch) == 1:
                return [error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")]
            # One text that a model cannot stand must not spoil the answers of others.
            return [answer for job in batch for answer in self._answers([job])]

    @staticmethod
    def _outputs(texts: Sequence[Text]) -> list[Output]:
        first = texts[0]
        settings = first.settings.model_dump()
        if first.settings.sample and not first.seeded:  # draws of many clients: each batch from fresh randomness
            settings["seed"] = secrets.randbits(31)
        sources = [one.text for one in texts]
        read = [one.reading for one in texts]
        found = list(first.served.model.outputs(sources, first.prefix, first.place, read, **settings))
        if [output.source for output in found] != sources:
            raise RuntimeError("the model's outputs are not those of the sources")
        return found

    def _count(self, batch: Sequence[Job], answers: Sequence[Answer], began: float, seconds: float) -> None:
        name, meters = batch[0].content.served.name, self._meters
        meters.batch_size.labels(name).observe(len(batch))
        meters.batch_seconds.labels(name).observe(seconds)
        for job in batch:
            meters.wait_seconds.observe(began - job.came)
        meters.tokens.labels(name, "read").inc(sum(job.length for job in batch))
        written = sum(len(one.tokens) + 1 for a in answers if isinstance(a, Output) for one in a.candidates[:1])
        meters.tokens.labels(name, "written").inc(written)

    def _deliver(self, batch: Sequence[Job], answers: Sequence[Answer]) -> None:
        """The answers of a batch, a few in each step of the event loop: writing out all of them takes it so long that
        who is to be refused meanwhile would wait."""
        left = deque(zip(batch, answers, strict=True))

        def give() -> None:
            for _ in range(min(AT_ONCE, len(left))):
                job, answer = left.popleft()
                place = job.content.place if isinstance(job.content, Text) else 0
                job.content.give(place, answer)
            if left:
                self._post(give)

        with contextlib.suppress(RuntimeError):  # the event loop has ended before this batch: nobody waits for it
            self._post(give)

    def _abandon(self, job: Job) -> None:
        self._meters.abandoned.inc()
