"""One bounded queue of work for all models and clients, measured in tokens; batches are cut out of it.

A job is one text that can be answered together with others like it, or one call that needs a worker for itself (a
stream, an explanation). The bound is in tokens of the source times the hypotheses that are kept of it, since this is
what the work costs, whatever the texts are. The workers' pace turns tokens into seconds, and the wait is bounded, too.
What does not fit is refused at once: a queue that grows makes everybody wait and nobody is served sooner.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any


class Dropped:
    """Whether nobody waits for the jobs of a request any more: set in the event loop, read by workers."""

    __slots__ = ("gone",)

    def __init__(self) -> None:
        self.gone = False


@dataclass(eq=False)
class Job:
    """One piece of work on its way to a worker."""

    key: Hashable  # jobs of the same key may share a batch
    content: Any  # what the worker gets
    length: int  # tokens of the source
    cost: int  # length times the hypotheses kept: what it counts in the queue
    deadline: float  # of `time.monotonic`
    dropped: Dropped  # shared by the jobs of a request
    most: int = 2**31  # texts in a batch with this one: what its model answers at the same time
    alone: bool = False  # never in a batch with others
    ordered: bool = False  # only with the next ones of its key, in order: draws depend on the place in the input
    came: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Load:
    """How full the queue is."""

    jobs: int
    tokens: int


class Pace:
    """How fast work is done; the last ten batches or so count."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._cost = self._seconds = 0.0  # of batches, the older the less

    def add(self, cost: int, seconds: float) -> None:
        """A batch was done by one worker."""
        self._cost = 0.9 * self._cost + cost
        self._seconds = 0.9 * self._seconds + seconds

    def seconds(self, cost: int) -> float:
        """How long work of that cost takes all workers; 0 as long as nothing has been done."""
        return cost * self._seconds / (self._cost * self._workers) if self._cost else 0.0


class WorkQueue:
    """First come, first served, in batches of one key and of like length."""

    def __init__(self, bound: int, longest_wait: float, pace: Pace) -> None:
        self.bound = bound
        self.pace = pace
        self._longest_wait = longest_wait  # seconds
        self.tokens = 0  # of the jobs that wait
        self._waiting: dict[Hashable, deque[Job]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._full = False

    @property
    def full(self) -> bool:
        """Whether the last request did not fit, and no work has been taken out since; read without a lock."""
        return self._full

    @property
    def wait(self) -> float:
        """Seconds until what waits now is done, by the workers' pace."""
        return self.pace.seconds(self.tokens)

    def offer(self, jobs: Sequence[Job]) -> bool:
        """Takes all jobs of a request or none of them. False: they do not fit, or would wait for too long."""
        cost = sum(job.cost for job in jobs)
        with self._changed:
            # What waits before a request counts, not its own work: a large one is welcome where nobody stands in line.
            late = self.wait > self._longest_wait
            if self._closed or late or self.tokens + cost > self.bound:
                # Others are refused unread until there is room; but a large one beside a short queue proves nothing.
                self._full = self._closed or late or self.tokens > self.bound // 2
                return False
            self.tokens += cost
            for job in jobs:
                self._waiting.setdefault(job.key, deque()).append(job)
            self._changed.notify(len(jobs))
        return True

    def take(self, most: int, abandoned: Callable[[Job], None]) -> list[Job]:
        """Waits for work: the job that came first, and up to `most` - 1 others that it can be answered with.

        Jobs that nobody waits for any more are handed to `abandoned` and not given out. Empty: the queue was closed.
        """
        while True:
            with self._changed:
                gone = self._sift()
                batch = self._cut(most)
                self.tokens -= sum(job.cost for job in (*gone, *batch))
                self._full = self._closed
                ended = self._closed and not self._waiting
                if not (batch or gone or ended):
                    self._changed.wait()
            for job in gone:
                abandoned(job)
            if batch or ended:
                return batch

    def close(self) -> None:
        """Nothing is taken in any more; what waits is still given out, and then an end to every worker."""
        with self._changed:
            self._closed = self._full = True
            self._changed.notify_all()

    @property
    def load(self) -> Load:
        """Jobs and tokens that wait."""
        with self._changed:
            return Load(sum(map(len, self._waiting.values())), self.tokens)

    def _sift(self) -> list[Job]:
        """Takes out the jobs whose client has gone or whose time is over."""
        now = time.monotonic()
        gone = []
        for key, jobs in list(self._waiting.items()):
            late = [job for job in jobs if job.dropped.gone or job.deadline <= now]
            if late:
                gone += late
                lost = set(map(id, late))
                self._put_back(key, deque(job for job in jobs if id(job) not in lost))
        return gone

    def _cut(self, most: int) -> list[Job]:
        """Of the key whose first job came first: that job, and those nearest to it in length."""
        if not self._waiting:
            return []
        key, jobs = min(self._waiting.items(), key=lambda item: item[1][0].came)
        first = jobs[0]
        most = min(most, first.most)
        if first.alone:
            batch = [first]
        elif first.ordered or len(jobs) <= most:
            batch = [jobs[place] for place in range(min(most, len(jobs)))]
        else:
            # Texts of like length waste no steps on each other; the first one is always among them, so none starves.
            rest = [jobs[place] for place in range(1, len(jobs))]
            batch = [first, *heapq.nsmallest(most - 1, rest, key=lambda job: abs(job.length - first.length))]
        taken = set(map(id, batch))
        self._put_back(key, deque(job for job in jobs if id(job) not in taken))
        return batch

    def _put_back(self, key: Hashable, jobs: deque[Job]) -> None:
        if jobs:
            self._waiting[key] = jobs
        else:
            del self._waiting[key]
