"""How much the server bears, and what happens when it is asked for more.

    python benchmarks/serving/load.py --model RUNS/multi30k --sources test_2016_flickr.de [--minutes 10]

1. the command `pairloom generate` at the same batch, then the server as full as clients can make it;
2. one request at a time beside the same model asked in Python;
3. 80% of what it bears, arriving at random (Poisson), one text a request; 4. twice of it for some minutes; 5. what
comes after. Every answer is compared with that of the model alone. Clients and server share the processors, as there is
one machine. In float32 unless told otherwise, where the company in a batch changes no answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from world import Answer, Connection, Process, keep, milliseconds, percentile, request

import pairloom

BATCH = 32
Expected = dict[str, str]


class Counts:
    """What came back."""

    def __init__(self) -> None:
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.wrong = 0
        self.failed = 0

    def add(self, answer: Answer, texts: list[str], expected: Expected) -> None:
        """One answer, looked at."""
        if answer.status == 503:
            self.refused.append(answer.seconds)
            return
        self.accepted.append(answer.seconds)
        outputs = json.loads(answer.body)["outputs"]
        right = [(text, expected[text]) for text in texts]
        self.wrong += [(one["source"], one["text"]) for one in outputs] != right

    def summary(self) -> dict[str, Any]:
        """In milliseconds."""
        return {
            "accepted": len(self.accepted),
            "accepted ms": milliseconds(self.accepted),
            "refused": len(self.refused),
            "refused ms": milliseconds(self.refused),
            "refused over 50 ms": sum(seconds > 0.05 for seconds in self.refused),
            "wrong or exchanged": self.wrong,
            "connections that failed": self.failed,
        }


async def closed(
    port: int, texts: list[str], expected: Expected, clients: int, size: int, seconds: float
) -> tuple[float, int]:
    """Texts a second of clients that ask without a pause, `size` texts at a time; and how many answers were wrong."""
    counts = Counts()
    end = time.monotonic() + seconds
    done = 0

    async def one(number: int) -> None:
        nonlocal done
        dice, connection = random.Random(number), Connection(port)
        while time.monotonic() < end:
            some = dice.sample(texts, size)
            answer = await connection.ask(request("/generate", {"texts": some}))
            counts.add(answer, some, expected)
            done += size if answer.status == 200 else 0

    began = time.monotonic()
    await asyncio.gather(*(one(number) for number in range(clients)))
    return done / (time.monotonic() - began), counts.wrong


async def opened(
    port: int, texts: list[str], expected: Expected, rate: float, seconds: float, look: Callable[[], None]
) -> Counts:
    """Requests of one text that arrive at random, `rate` a second, whether the earlier ones were answered or not."""
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
    for connection in idle:
        connection.close()
    return counts


def command_rate(model: Path, texts: list[str], precision: str) -> float:
    """Lines a second of `pairloom generate`, the time of its start taken off."""
    words = [sys.executable, "-m", "pairloom", "generate", str(model), "--batch", str(BATCH), "--precision", precision]

    def took(lines: list[str]) -> float:
        began = time.perf_counter()
        subprocess.run(words, input="\n".join(lines).encode(), stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    start = min(took(texts[:1]) for _ in range(2))
    return len(texts) / (took(texts) - start)


async def singly(port: int, texts: list[str]) -> list[float]:
    """Seconds of requests one after another."""
    connection = Connection(port)
    return [(await connection.ask(request("/generate", {"texts": [text]}))).seconds for text in texts]


def engine_alone(model: pairloom.Model, texts: list[str]) -> list[float]:
    """Seconds of the same in Python."""
    found = []
    for text in texts:
        began = time.perf_counter()
        list(model.outputs([text]))
        found.append(time.perf_counter() - began)
    return found


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the double load")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the load at 80%%")
    parser.add_argument("--rounds", type=int, default=3, help="of the throughput")
    parser.add_argument("--burst", type=float, default=12.0, help="seconds of each throughput")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--only-throughput", action="store_true", help="without the loads; kept under another name")
    given = parser.parse_args()
    texts = list(dict.fromkeys(line for line in given.sources.read_text("utf-8").splitlines() if line.strip()))
    model = pairloom.load(given.model, threads=1, precision=given.precision)
    expected = {output.source: output.text for output in model.outputs(texts)}
    result: dict[str, Any] = {
        "command": f"python benchmarks/serving/load.py --minutes {given.minutes:g} --seconds {given.seconds:g} "
        f"--rounds {given.rounds} --burst {given.burst:g} --precision {given.precision}",
        "engine": model.answering()._asdict(),
        "batch": BATCH,
    }
    options = ["--precision", given.precision, "--batch", str(BATCH)]
    server = Process(given.model, *options)
    result |= throughput(server, given, texts, expected)
    result["one at a time"] = latency(server, model, texts[:100])
    print(json.dumps(result, indent=2), flush=True)
    if given.only_throughput:
        server.end()
        keep(f"throughput-{given.precision}", result)
        return
    capacity = result["saturation"]["one text a request"]
    result |= loads(server, given.model, model.settings().beam, options, texts, expected, capacity, given)
    print(json.dumps(result, indent=2))
    keep("load", result)


def throughput(server: Process, given: argparse.Namespace, texts: list[str], expected: Expected) -> dict[str, Any]:
    """The command and the server in turn, some times; medians of texts a second."""
    found: dict[str, list[float]] = {"command": [], "sixteen texts a request": [], "one text a request": []}
    wrong = 0
    for _ in range(given.rounds):
        found["command"].append(command_rate(given.model, texts, given.precision))
        for name, clients, size in (("sixteen texts a request", 16, 16), ("one text a request", 128, 1)):
            rate, some = asyncio.run(closed(server.port, texts, expected, clients, size, given.burst))
            found[name].append(rate)
            wrong += some
    medians = {name: round(statistics.median(values), 1) for name, values in found.items()}
    command = medians.pop("command")
    return {
        "command, texts a second": command,
        "saturation": medians,
        "share of the command": {name: round(value / command, 3) for name, value in medians.items()},
        "wrong or exchanged": wrong,
        "rounds": {name: [round(value, 1) for value in values] for name, values in found.items()},
    }


def latency(server: Process, model: pairloom.Model, texts: list[str]) -> dict[str, float]:
    """One request at a time: the server's time beside the engine's, in turn, in milliseconds."""
    alone, served = [], []
    for begin in range(0, len(texts), 20):
        alone += engine_alone(model, texts[begin : begin + 20])
        served += asyncio.run(singly(server.port, texts[begin : begin + 20]))
    above = [1000 * (a - b) for a, b in zip(served, alone, strict=True)]
    return {
        "engine p50 ms": round(1000 * percentile(alone, 0.5), 2),
        "server p50 ms": round(1000 * percentile(served, 0.5), 2),
        "above, median ms": round(statistics.median(above), 2),
        "above, mean ms": round(statistics.mean(above), 2),
    }


def loads(
    server: Process,
    path: Path,
    width: int,
    options: list[str],
    texts: list[str],
    expected: Expected,
    capacity: float,
    given: argparse.Namespace,
) -> dict[str, Any]:
    """80%, then twice of what it bears, then 80% again."""
    eighty = asyncio.run(opened(server.port, texts, expected, 0.8 * capacity, given.seconds, lambda: None))
    p99 = percentile(eighty.accepted, 0.99)
    server.end()
    # What may wait is as much as is done within half of that time: with the batches under way, an answer then takes
    # at most about as long again.
    lengths = statistics.mean(len(text.split()) * 1.3 + 1 for text in texts)
    bound = max(1000, round(capacity * lengths * width * p99 / 2))
    server = Process(path, *options, "--queue-tokens", str(bound))
    warm = asyncio.run(opened(server.port, texts, expected, 0.8 * capacity, given.seconds, lambda: None))
    memory: list[int] = []
    double = asyncio.run(
        opened(server.port, texts, expected, 2 * capacity, 60 * given.minutes, lambda: memory.append(server.memory()))
    )
    ended = time.monotonic()
    normal = 0.0
    usual = percentile(asyncio.run(singly(server.port, texts[:20])), 0.5)
    while True:  # normal: a request alone takes no longer than twice what it takes when nothing else is there
        (seconds,) = asyncio.run(singly(server.port, [random.choice(texts)]))
        normal = time.monotonic() - ended
        if seconds < 2 * usual or normal > 60:
            break
    after = asyncio.run(opened(server.port, texts, expected, 0.8 * capacity, given.seconds / 2, lambda: None))
    settled = memory[len(memory) // 10 :]
    ratio = percentile(double.accepted, 0.99) / percentile(warm.accepted, 0.99)
    result = {
        "queue bound, tokens": bound,
        "80%": {"requests a second": round(0.8 * capacity, 1), "seconds": given.seconds, **warm.summary()},
        "200%": {"requests a second": round(2 * capacity, 1), "minutes": given.minutes, **double.summary()},
        "p99 at 200% beside 80%": round(ratio, 2),
        "memory at 200%, MB": [round(memory[0] / 2**20), round(settled[0] / 2**20), round(memory[-1] / 2**20)],
        "memory grows by": round(memory[-1] / settled[0] - 1, 4),
        "normal again after seconds": round(normal, 2),
        "80% afterwards": after.summary(),
    }
    server.end()
    return result


if __name__ == "__main__":
    main()
