"""The queue: shared batches, refusals at once, deadlines, clients that went away, one text that fails among others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from live import hold, live, shelf_of, until
from pairloom.decoding.generator import Reading
from pairloom.server.meters import Meters
from pairloom.server.queue import Dropped, Job, Pace, WorkQueue
from pairloom.server.shelf import Shelf
from pairloom.server.workers import Text, Workers
from pairloom.workflow.model import Model


@pytest.fixture(scope="module")
def shelf(tiny_model_dir: Path) -> Shelf:
    return shelf_of(tiny_model_dir)


def test_clients_share_a_batch(shelf: Shelf) -> None:
    with live(shelf, workers=1, batch=64) as server:
        started = threading.Event()
        gate = hold(server, started)
        threads = [
            threading.Thread(target=server.http.post, args=("/generate",), kwargs={"json": {"texts": ["abc"]}})
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        until(lambda: server.service.queue.load.jobs == 8)
        gate.set()
        for thread in threads:
            thread.join()
        text = server.http.get("/metrics").text
        assert 'pairloom_batch_size_bucket{le="4.0",model="tiny"} 1.0' in text  # the one that held the worker
        assert 'pairloom_batch_size_bucket{le="8.0",model="tiny"} 2.0' in text  # all eight at once


def test_a_batch_is_what_the_model_answers_at_the_same_time() -> None:
    queue = WorkQueue(1000, 10.0, Pace(2))
    end, gone = time.monotonic() + 60, Dropped()
    lengths = [5, 90, 6, 91, 4, 92]
    assert queue.offer([Job("model", length, length, length, end, gone, most=3) for length in lengths])
    batches = [sorted(job.length for job in queue.take(32, print)) for _ in range(2)]
    assert batches == [[4, 5, 6], [90, 91, 92]]
    assert queue.tokens == 0


def test_what_would_wait_for_too_long_is_refused_by_the_pace_of_the_workers() -> None:
    pace = Pace(workers=2)
    queue = WorkQueue(1000, 1.0, pace)
    end, gone = time.monotonic() + 60, Dropped()

    def offer(cost: int) -> bool:
        return queue.offer([Job("model", None, cost, cost, end, gone)])

    assert offer(300)
    assert queue.wait == 0.0  # nothing was done yet: nobody can tell
    pace.add(100, 0.5)  # 200 a second by one, 400 by both
    assert queue.wait == pytest.approx(0.75)
    assert offer(150)  # what stands before it takes less than a second
    assert queue.wait == pytest.approx(1.125)
    assert not offer(1)
    assert queue.full
    pace.add(900, 0.5)  # they have become faster: 990 of work in 0.95 seconds
    assert queue.wait == pytest.approx(450 * 0.95 / 990 / 2)
    assert offer(1)
    assert [job.cost for job in queue.take(32, print)] == [300, 150, 1]
    assert (queue.wait, queue.full) == (0.0, False)


@pytest.mark.parametrize("status", [503, 429])
def test_a_full_queue_refuses_at_once(shelf: Shelf, status: int) -> None:
    with live(shelf, queue_tokens=100, overload_status=status) as server:
        gate = hold(server, threading.Event())
        asked = {"texts": ["abcdefg"], "beam": 5}  # 8 tokens times 5
        waiting = [
            threading.Thread(target=server.http.post, args=("/generate",), kwargs={"json": asked}) for _ in range(2)
        ]
        for thread in waiting:
            thread.start()
        until(lambda: server.service.queue.load.jobs == 2)
        for path, body in (
            ("/generate", asked),
            ("/generate", {"texts": ["never parsed, as the queue is known to be full"]}),
            ("/translate", {"q": "abcdefg", "source": "de", "target": "en"}),
            ("/v2/translate", {"text": ["abcdefg"], "source_lang": "DE", "target_lang": "EN"}),
            ("/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "abc"}]}),
        ):
            began = time.monotonic()
            answer = server.http.post(path, json=body)
            assert (answer.status_code, time.monotonic() - began < 0.5) == (status, True)
            assert int(answer.headers["retry-after"]) >= 1
        gate.set()
        for thread in waiting:
            thread.join()
        assert server.http.post("/generate", json=asked).status_code == 200
        assert 'pairloom_refused_total{reason="overloaded"} 5.0' in server.http.get("/metrics").text


def test_a_wait_that_is_too_long_is_refused_and_a_large_request_is_not(shelf: Shelf) -> None:
    with live(shelf, queue_seconds=0.01) as server:
        large = {"texts": ["abcdefgh"] * 64, "beam": 5}
        server.service.queue.pace.add(100, 100.0)  # its work will take longer than anybody may wait
        gate = hold(server, threading.Event())
        first = threading.Thread(target=server.http.post, args=("/generate",), kwargs={"json": large})
        first.start()
        until(lambda: server.service.queue.load.jobs == 64)
        answer = server.http.post("/generate", json={"texts": ["abc"]})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 60
        gate.set()
        first.join()
        assert server.http.post("/generate", json={"texts": ["abc"]}).status_code == 200


def test_what_can_never_fit_is_told_apart_from_what_does_not_fit_now(shelf: Shelf) -> None:
    with live(shelf, queue_tokens=20) as server:
        answer = server.http.post("/generate", json={"texts": ["abcdefgh"], "beam": 5})
        assert answer.status_code == 413
        assert "45 tokens of work" in answer.json()["error"]["message"]
        assert server.http.post("/generate", json={"texts": ["abc"], "beam": 5}).status_code == 200


def test_what_an_output_begins_with_is_work_too(shelf: Shelf) -> None:
    with live(shelf, queue_tokens=60) as server:
        asked = {"texts": ["abc"], "beam": 5}
        assert server.http.post("/generate", json={**asked, "prefix": "cb"}).status_code == 200  # (4 + 2) times 5
        answer = server.http.post("/generate", json={**asked, "prefix": "abcdefabc"})
        assert (answer.status_code, "65 tokens of work" in answer.text) == (413, True)
    with live(shelf, limits={"length": 4}) as server:
        for path, body in (
            ("/generate", {"texts": ["abc"], "prefix": "abcdef"}),
            ("/explain", {"text": "abc", "target": "abcdef"}),
        ):
            answer = server.http.post(path, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "limit")
            assert "6 tokens" in answer.json()["error"]["message"]


def test_clients_that_go_one_after_another_end_no_worker() -> None:
    queue, gone = WorkQueue(10**6, 10.0, Pace(1)), Dropped()
    left = 3000

    def abandoned(_: Job) -> None:
        nonlocal left
        left -= 1
        if left:
            queue.offer([Job("model", None, 1, 1, time.monotonic() + 60, gone)])
        else:
            queue.close()

    gone.gone = True
    queue.offer([Job("model", None, 1, 1, time.monotonic() + 60, gone)])
    assert queue.take(32, abandoned) == []
    assert left == 0


def test_a_deadline_ends_the_wait_and_the_work(shelf: Shelf) -> None:
    with live(shelf, limits={"deadline": 0.2}) as server:
        gate = hold(server, threading.Event())
        began = time.monotonic()
        answer = server.http.post("/generate", json={"texts": ["abc"]})
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "deadline"
        assert time.monotonic() - began < 2
        gate.set()
        until(lambda: "pairloom_abandoned_jobs_total 1.0" in server.http.get("/metrics").text)


def test_one_deadline_for_all_that_a_request_asks(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of five texts are five jobs, one after another: their times together count, not each of them."""
    real = Model.explain

    def slowly(self: Model, *rest: object, **settings: object) -> object:
        time.sleep(0.2)
        return real(self, *rest, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "explain", slowly)
    with live(shelf, limits={"deadline": 0.3}) as server:
        began = time.monotonic()
        answer = server.http.post("/generate", json={"texts": ["abc"] * 5, "attention": True})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "deadline")
        assert 0.29 < time.monotonic() - began < 0.8


def test_work_of_clients_that_went_away_is_not_done(shelf: Shelf) -> None:
    with live(shelf) as server:
        gate = hold(server, threading.Event())
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{server.url}/generate", json={"texts": ["abc"] * 5}, timeout=0.2, trust_env=False)
        until(lambda: "pairloom_requests_in_flight 1.0" in server.http.get("/metrics").text)  # only that of /metrics
        gate.set()
        until(lambda: "pairloom_abandoned_jobs_total 5.0" in server.http.get("/metrics").text)
        assert 'pairloom_tokens_total{direction="written",model="tiny"} 0.0' in server.http.get("/metrics").text


class Panic(BaseException):
    """As libraries in Rust raise it."""


@pytest.mark.parametrize("fault", [RuntimeError("a fault"), Panic("a panic")])
def test_one_text_that_fails_spoils_no_other(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    real = Model.outputs

    def failing(self: Model, texts: list[str], *rest: object, **settings: object) -> object:
        if "bad" in texts:
            raise fault
        return real(self, texts, *rest, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "outputs", failing)
    with live(shelf) as server:
        gate = hold(server, threading.Event())
        found: dict[str, int] = {}

        def ask(text: str) -> None:
            found[text] = httpx.post(f"{server.url}/generate", json={"texts": [text]}, trust_env=False).status_code

        threads = [threading.Thread(target=ask, args=(text,)) for text in ("bad", "abc", "def")]
        for thread in threads:
            thread.start()
        until(lambda: server.service.queue.load.jobs == 3)
        gate.set()
        for thread in threads:
            thread.join()
        assert found == {"bad": 500, "abc": 200, "def": 200}


def test_answers_of_a_batch_are_handed_on_a_few_at_a_time_and_in_order(shelf: Shelf) -> None:
    """What the event loop does in one go keeps everybody else waiting."""
    (served,) = shelf.models.values()
    given: list[int] = []
    steps: list[Callable[[], None]] = []
    queue = WorkQueue(1000, 10.0, Pace(1))
    workers = Workers(1, 64, queue, Meters(), steps.append)
    settings = served.model.settings()
    end, gone = time.monotonic() + 60, Dropped()
    texts = [
        Text(served, "abc", Reading([5]), settings, "", place, False, lambda place, answer: given.append(place))
        for place in range(10)
    ]
    assert queue.offer([Job("model", text, 2, 2, end, gone) for text in texts])
    until(lambda: bool(steps))
    queue.close()
    workers.join(10)
    lengths = []
    for step in steps:  # each posts the next
        step()
        lengths.append(len(given))
    assert given == list(range(10))
    assert lengths == [4, 8, 10]
