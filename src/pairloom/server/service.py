"""From a request to its answers: what it costs, whether it is taken in, and the wait for it.

Whoever asks gets an answer, a refusal at once, or, when its time is over, a refusal then. A client that goes away takes
its work out of the queue.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar, cast

from fastapi import Request

from pairloom.decoding.generator import Ending, Output, Pieces
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.server.meters import Meters
from pairloom.server.problems import ProblemError, bad, too_large
from pairloom.server.queue import Dropped, Job, Pace, WorkQueue
from pairloom.server.settings import ServerSettings
from pairloom.server.shelf import Served, Shelf
from pairloom.server.workers import Answer, Call, Text, Workers

T = TypeVar("T")

MOST_DECODINGS = 1_000
"""Ways of asking that are remembered, so that they are not checked again for every request."""


class Service:
    """One queue and its workers before all models of a server."""

    def __init__(self, shelf: Shelf, settings: ServerSettings, meters: Meters) -> None:
        self.shelf, self.settings, self.meters = shelf, settings, meters
        self.queue = WorkQueue(settings.queue_tokens, settings.queue_seconds, Pace(settings.threads))
        self.draining = False
        self._end_by: float | None = None  # of `time.monotonic`, once it drains
        self.in_flight = 0  # requests that have begun and have not been answered
        self.characters = 0  # translated through DeepL's interface, which tells its clients
        self._workers: Workers | None = None
        self._decodings: dict[tuple[str, tuple[tuple[str, Any], ...]], DecodingSettings] = {}
        meters.watch("pairloom_requests_in_flight", "Requests under way", lambda: self.in_flight)
        meters.watch("pairloom_queue_tokens", "Tokens that wait", lambda: self.queue.load.tokens)
        meters.watch("pairloom_queue_jobs", "Texts and calls that wait", lambda: self.queue.load.jobs)
        meters.watch("pairloom_queue_seconds", "Time that what waits will take", lambda: self.queue.wait)
        meters.watch("pairloom_queue_bound_tokens", "Tokens that may wait", lambda: self.queue.bound)

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the workers, inside the running event loop."""
        post = asyncio.get_running_loop().call_soon_threadsafe
        self._workers = Workers(self.settings.threads, self.settings.batch, self.queue, self.meters, post)

    def drain(self, seconds: float) -> None:
        """From now on it is not ready, and after so many seconds nothing is waited for any more."""
        self.draining = True
        self._end_by = time.monotonic() + seconds
        self.meters.draining.set(1)

    @property
    def left(self) -> float:
        """Seconds in which what was accepted may still be answered: one deadline for all that is waited for."""
        return self.settings.drain if self._end_by is None else max(0.0, self._end_by - time.monotonic())

    async def stop(self) -> None:
        """Lets the workers finish what waits, within the time that is left."""
        self.queue.close()
        if self._workers is not None:
            await asyncio.to_thread(self._workers.join, self.left)

    @property
    def unfinished(self) -> bool:
        """Whether a worker goes on, as it does after an end that came before its answer."""
        return self._workers is not None and self._workers.unfinished()

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome."""
        return self._workers is not None and self._workers.alive() and not self.draining

    # -- what may be asked ---------------------------------------------------------------------------------------------

    def decoding(self, served: Served, **asked: Any) -> DecodingSettings:
        """The settings asked for, within the limits of the server. Raises ProblemError 400."""
        key = (served.name, tuple(asked.items()))
        if key not in self._decodings:
            if len(self._decodings) >= MOST_DECODINGS:
                self._decodings.clear()
            self._decodings[key] = self._checked(served, asked)
        return self._decodings[key]

    def _checked(self, served: Served, asked: dict[str, Any]) -> DecodingSettings:
        limits = self.settings.limits
        try:
            settings = served.model.settings(**asked)
        except UsageError as error:
            raise bad(str(error)) from None
        wrong = [
            f"{name} {value} is more than this server gives ({most})"
            for name, value, most in (
                ("beam", settings.beam, limits.beam),
                ("nbest", settings.nbest, limits.alternatives),
                ("max_length", settings.max_length or 1, limits.length),
            )
            if value > most
        ]
        if wrong:
            raise bad("; ".join(wrong), code="limit")
        return settings.model_copy(
            update={"batch": self.settings.batch, "max_length": settings.max_length or limits.length}
        )

    def streaming(self, served: Served, **asked: Any) -> DecodingSettings:
        """The same for a stream, which is greedy where nothing else is asked for: a beam is sure only at its end."""
        if asked.get("beam", 1) > 1:
            raise bad(
                f"beam {asked['beam']}: a beam is sure of its words only at the end; stream with beam 1 or sample"
            )
        samples = asked.get("sample", served.model.folder.generation.get("sample") and "beam" not in asked)
        return self.decoding(served, **(asked if samples else {"beam": 1, "nbest": 1, **asked}))

    def check(self, texts: Sequence[str]) -> None:
        """Raises ProblemError 413 for too many texts or characters."""
        limits = self.settings.limits
        if len(texts) > limits.texts:
            raise too_large(f"{len(texts)} texts, at most {limits.texts} in one request")
        characters = sum(map(len, texts))
        if characters > limits.characters:
            raise too_large(f"{characters:,} characters, at most {limits.characters:,} in one request")

    # -- asking --------------------------------------------------------------------------------------------------------

    async def outputs(
        self,
        request: Request,
        served: Served,
        texts: Sequence[str],
        settings: DecodingSettings,
        *,
        prefix: str = "",
        seeded: bool = False,
    ) -> list[Output]:
        """One output for each text, in order. `seeded`: the client has named the seed, and gets the draws of it.

        The texts may be pieces of what the client has sent, which is to be checked before.
        """
        if not texts:
            return []
        alone = settings.sample and seeded  # its draws depend on the place in the input: nobody else's texts in there
        key = (served.name, settings, prefix, object() if alone else None)
        answers = Answers(len(texts))
        dropped, until = Dropped(), deadline_of(request)
        width = max(settings.beam, settings.nbest)
        forced = served.written(prefix, self.settings.limits.length) if prefix else []
        most = served.model.engines.together(settings, [forced] if forced else None)
        jobs = [
            Job(
                key,
                Text(served, text, reading, settings, prefix, place, seeded, answers.give),
                reading.length,
                (reading.length + len(forced)) * width,
                until,
                dropped,
                most=most,
                ordered=alone,
            )
            for place, (text, reading) in enumerate(zip(texts, served.model.read(texts), strict=True))
        ]
        self._take_in(jobs)
        return await self._wait(request, jobs[0], answers.future)

    async def call(
        self,
        request: Request,
        served: Served,
        function: Callable[[], T],
        text: str,
        *,
        width: int = 1,
        target: str = "",
    ) -> T:
        """The result of `function`, run by a worker alone. `text`, `width` and `target` say what it costs."""
        answers = Answers(1)
        job = self._call(request, served, function, text, answers, width, target)
        self._take_in([job])
        return cast(T, (await self._wait(request, job, answers.future))[0])

    async def stream(
        self, request: Request, served: Served, text: str, settings: DecodingSettings, *, seeded: bool = False
    ) -> AsyncIterator[str | Ending]:
        """The output piece by piece, and last how it ended; a refusal is raised here, before the first of them."""
        post = asyncio.get_running_loop().call_soon_threadsafe
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        if settings.sample and not seeded:
            settings = settings.model_copy(update={"seed": secrets.randbits(31)})

        def hand_on(piece: str) -> None:
            if job.dropped.gone:
                raise gone()
            if job.deadline <= time.monotonic():  # said here, too: the loop may hear of the worker before its own timer
                raise late()
            post(pieces.put_nowait, piece)

        def run() -> Ending:
            return exhaust(served.model.stream(text, **settings.model_dump()), hand_on)

        answers = Answers(1)
        job = self._call(request, served, run, text, answers)
        self._take_in([job])
        answers.future.add_done_callback(lambda _: pieces.put_nowait(None))
        return self._pieces(pieces, asyncio.create_task(self._wait(request, job, answers.future)))

    @staticmethod
    async def _pieces(pieces: asyncio.Queue[str | None], ended: asyncio.Task[list[Any]]) -> AsyncIterator[str | Ending]:
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            (ending,) = await ended
            yield ending
        finally:
            ended.cancel()

    def _call(
        self,
        request: Request,
        served: Served,
        function: Callable[[], Any],
        text: str,
        answers: Answers,
        width: int = 1,
        target: str = "",
    ) -> Job:
        self.check([text])
        length = served.model.read([text])[0].length
        cost = length * width + len(served.written(target, self.settings.limits.length))
        content = Call(served, function, answers.give)
        return Job(object(), content, length, cost, deadline_of(request), Dropped(), alone=True)

    def _take_in(self, jobs: Sequence[Job]) -> None:
        """Into the queue, all or none. Raises ProblemError: 413 for what never fits, 503 for what does not fit now."""
        cost = sum(job.cost for job in jobs)
        if cost > self.queue.bound:
            raise too_large(f"{cost:,} tokens of work, more than this server's queue holds ({self.queue.bound:,})")
        if not self.queue.offer(jobs):
            raise self.overload()

    def overload(self) -> ProblemError:
        """The refusal of a full queue, with the seconds that its work takes."""
        status, seconds = self.settings.overload_status, self.queue.wait
        return ProblemError(status, "too much to do just now; try again later", retry_after=seconds)

    async def _wait(self, request: Request, job: Job, answers: asyncio.Future[list[Any]]) -> list[Any]:
        """The answers; ProblemError when time is over or nobody waits any more, and then nothing more is computed."""
        leaving = asyncio.create_task(disconnected(request))
        try:
            seconds = max(0.0, job.deadline - time.monotonic())
            waiting: set[asyncio.Future[Any]] = {answers, leaving}
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if answers.done():
                return answers.result()
            raise gone() if leaving.done() else late()
        finally:
            job.dropped.gone = True
            answers.cancel()
            leaving.cancel()


def deadline_of(request: Request) -> float:
    """When the request's time is over, of `time.monotonic`: the guards have set it, once for all of its jobs."""
    return cast(float, request.scope["state"]["until"])


def late() -> ProblemError:
    """The deadline has passed."""
    return ProblemError(503, "not answered in time; ask for less, or later", code="deadline", retry_after=1)


def gone() -> ProblemError:
    """The client has gone away."""
    return ProblemError(499, "the client has gone", code="gone")


def exhaust(pieces: Pieces, hand_on: Callable[[str], None]) -> Ending:
    """Hands on every piece, and returns how the output ended."""
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            return cast(Ending, end.value)
        hand_on(piece)


async def disconnected(request: Request) -> None:
    """Returns when the client has gone away; to be called after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Answers:
    """The answers to the jobs of one request, collected in the event loop."""

    def __init__(self, count: int) -> None:
        self.future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._found: list[Any] = [None] * count
        self._missing = count

    def give(self, place: int, answer: Answer) -> None:
        """One answer; an exception is that of the whole request."""
        if self.future.done():
            return
        if isinstance(answer, Exception):
            self.future.set_exception(problem_of(answer))
            return
        self._found[place] = answer
        self._missing -= 1
        if not self._missing:
            self.future.set_result(self._found)


def problem_of(error: Exception) -> Exception:
    """What a client is told of an error in a worker; a fault of the server stays one."""
    if isinstance(error, UsageError):
        return bad(str(error))
    if isinstance(error, MemoryError):
        return ProblemError(503, "not enough memory just now; try again later", retry_after=5)
    return error
