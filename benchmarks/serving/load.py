"""How much the server bears, and what happens when it is asked for more.

    python benchmarks/serving/load.py --model RUNS/multi30k --sources test_2016_flickr.de --minutes 10 --seconds 40

1. the command `pairloom generate` at the same batch, then the server as full as clients can make it, in float32 and in
   int8; 2. one request at a time beside the same model asked in Python;
3. 80% of what it bears, arriving at random (Poisson), one text a request; 4. twice of it for some minutes; 5. what
   comes after. Every answer is compared with that of the model alone.

The loads are in float32, where the company in a batch changes no answer. Clients and server share the processors, as
there is one machine: the processor time of both is counted. Results are kept after each part
(benchmarks/results/serving-*.json); ten minutes of double load make about sixteen in all, twelve with `--only loads`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from traffic import Counts, Expected, closed, fragment, opened, singly
from world import Process, keep, kept, percentile

import pairloom

BATCH = 32
KINDS = {"sixteen texts a request": (32, 16), "one text a request": (256, 1)}
"""Clients, and texts in each request."""


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the double load")
    parser.add_argument("--seconds", type=float, default=40.0, help="of the load at 80%%")
    parser.add_argument("--rounds", type=int, default=5, help="of the throughput")
    parser.add_argument("--burst", type=float, default=5.0, help="seconds of each throughput")
    parser.add_argument(
        "--only", choices=("throughput", "loads"), help="loads: as many as the throughput measured last"
    )
    given = parser.parse_args()
    texts = list(dict.fromkeys(line for line in given.sources.read_text("utf-8").splitlines() if line.strip()))
    command = (
        f"python benchmarks/serving/load.py --minutes {given.minutes:g} --seconds {given.seconds:g} "
        f"--rounds {given.rounds} --burst {given.burst:g}"
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of `finally`, which ends the server
    gc.freeze()  # or the clients would stop for a moment, now and then, and the server's answers seem late
    for precision in ("int8", "float32"):
        model = pairloom.load(given.model, threads=1, precision=precision)
        expected = {output.source: fragment(output.source, output.text) for output in model.outputs(texts)}
        if given.only == "loads":
            continue
        result: dict[str, Any] = {"command": command, "engine": model.answering()._asdict(), "batch": BATCH}
        with serving(given.model, precision) as server:
            result |= throughput(server, given, texts, expected, precision)
            result["a full batch, seconds"] = round(mean_batch(server), 3)
            result["one at a time"] = latency(server, model, texts[:100])
        show_and_keep(f"throughput-{precision}", result)
    if given.only != "throughput":
        borne = kept("throughput-float32")
        begun = {"command": command, "engine": model.answering()._asdict(), "batch": BATCH}
        capacity, full = borne["saturation"]["one text a request"], borne["a full batch, seconds"]
        loads(begun, given, texts, expected, capacity, full)


@contextmanager
def serving(model: Path, precision: str, *options: str) -> Iterator[Process]:
    """A server that is ended whatever happens."""
    server = Process(model, "--precision", precision, "--batch", str(BATCH), *options)
    try:
        yield server
    finally:
        server.end()


def show_and_keep(name: str, result: dict[str, Any]) -> None:
    """Prints a result and writes its file."""
    print(json.dumps({name: result}, indent=2), flush=True)
    keep(name, result)


# -- throughput --------------------------------------------------------------------------------------------------------


def throughput(
    server: Process, given: argparse.Namespace, texts: list[str], expected: Expected, precision: str
) -> dict[str, Any]:
    """The command and the server in turn, some times; medians of texts a second, of shares, and of processor time.

    A share is that of one round, in which both had the same machine: its speed may change between rounds.
    """
    command: list[tuple[float, float]] = []
    served: dict[str, list[tuple[float, float, float]]] = {name: [] for name in KINDS}
    wrong = 0
    for _ in range(given.rounds):
        command.append(command_rate(given.model, texts, precision))
        for name, (clients, size) in KINDS.items():
            *rates, some = saturated(server, texts, expected, clients, size, given.burst)
            served[name].append((rates[0], rates[1], rates[2]))
            wrong += some
    usual, own = (statistics.median(values) for values in zip(*command, strict=True))
    shares = {
        name: [row[0] / rate for row, (rate, _) in zip(rows, command, strict=True)] for name, rows in served.items()
    }
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in served.items()}
    return {
        "command, texts a second": round(usual, 1),
        "command, processor ms a text": round(own, 2),
        "saturation": {name: round(rate, 1) for name, (rate, _, _) in medians.items()},
        "share of the command": {name: round(statistics.median(some), 3) for name, some in shares.items()},
        "server, processor ms a text": {name: round(spent, 2) for name, (_, spent, _) in medians.items()},
        "clients, processor ms a text": {name: round(spent, 2) for name, (_, _, spent) in medians.items()},
        "wrong or exchanged": wrong,
        "rounds": {
            "command": [round(rate, 1) for rate, _ in command],
            **{name: [round(row[0], 1) for row in rows] for name, rows in served.items()},
        },
    }


def command_rate(model: Path, texts: list[str], precision: str) -> tuple[float, float]:
    """Lines a second of `pairloom generate`, and milliseconds of processor time a line; its start is taken off."""
    words = [sys.executable, "-m", "pairloom", "generate", str(model), "--batch", str(BATCH), "--precision", precision]

    def took(lines: list[str]) -> tuple[float, float]:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(words, input="\n".join(lines).encode(), stdout=subprocess.DEVNULL, check=True)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
        return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    start, all_lines = min(took(texts[:1]), took(texts[:1])), took(texts)
    return len(texts) / (all_lines[0] - start[0]), 1000 * (all_lines[1] - start[1]) / len(texts)


def saturated(
    server: Process, texts: list[str], expected: Expected, clients: int, size: int, seconds: float
) -> tuple[float, float, float, int]:
    """Texts a second, milliseconds of processor time a text of the server and of the clients, and wrong answers."""
    asyncio.run(closed(server.port, texts, expected, clients, size, 1.0))
    spent, own, began = server.cpu(), time.process_time(), time.monotonic()
    counts = asyncio.run(closed(server.port, texts, expected, clients, size, seconds))
    took = time.monotonic() - began
    answered = size * len(counts.accepted)
    mine, its = 1000 * (time.process_time() - own) / answered, 1000 * (server.cpu() - spent) / answered
    return answered / took, its, mine, counts.wrong


def mean_batch(server: Process) -> float:
    """Seconds of a batch in the model, so far."""
    return server.meter("pairloom_batch_seconds_sum") / server.meter("pairloom_batch_seconds_count")


def latency(server: Process, model: pairloom.Model, texts: list[str]) -> dict[str, float]:
    """One request at a time: the server's time beside the engine's, in turn, in milliseconds."""
    alone, served = [], []
    for begin in range(0, len(texts), 20):
        some = texts[begin : begin + 20]
        for text in some:
            began = time.perf_counter()
            list(model.outputs([text]))
            alone.append(time.perf_counter() - began)
        served += asyncio.run(singly(server.port, some))
    above = [1000 * (a - b) for a, b in zip(served, alone, strict=True)]
    return {
        "engine p50 ms": round(1000 * percentile(alone, 0.5), 2),
        "server p50 ms": round(1000 * percentile(served, 0.5), 2),
        "above, median ms": round(statistics.median(above), 2),
        "above, mean ms": round(statistics.mean(above), 2),
    }


# -- loads -------------------------------------------------------------------------------------------------------------


def loads(
    begun: dict[str, Any],
    given: argparse.Namespace,
    texts: list[str],
    expected: Expected,
    capacity: float,
    longest: float,
) -> None:
    """80%, then twice of what it bears, then 80% again; what is there is kept after each. The 99th percentile at 80% is
    that of both times together, since the machine may have become faster or slower in between.

    Nobody stands in line for `longest` seconds, those of a full batch: at 80% of the load, too, who comes while both
    workers have one waits about as long.
    """

    def load(server: Process, share: float, seconds: float, memory: list[int] | None = None) -> Counts:
        look = (lambda: None) if memory is None else (lambda: memory.append(server.memory()))
        return asyncio.run(opened(server.port, texts, expected, share * capacity, seconds, look))

    with serving(given.model, "float32") as server:
        usual = percentile(asyncio.run(singly(server.port, texts[:100])), 0.5)
    result = {**begun, "longest wait, seconds": longest}
    with serving(given.model, "float32", "--queue-seconds", str(longest)) as server:
        warm = load(server, 0.8, given.seconds)
        result["80%"] = {"requests a second": round(0.8 * capacity, 1), "seconds": given.seconds, **warm.summary()}
        keep("load", result)
        stolen = stolen_seconds()
        memory: list[int] = []
        double = load(server, 2, 60 * given.minutes, memory)
        result["normal again after seconds"] = round(until_normal(server, texts, usual), 2)
        settled = memory[len(memory) // 10 :]
        stolen = stolen_seconds() - stolen
        result |= {
            "200%": {"requests a second": round(2 * capacity, 1), "minutes": given.minutes, **double.summary()},
            "taken by other machines on the same host, seconds": round(stolen, 2),
            "memory at 200%, MB": [round(memory[0] / 2**20), round(settled[0] / 2**20), round(memory[-1] / 2**20)],
            "memory grows by": round(memory[-1] / settled[0] - 1, 4),
        }
        keep("load", result)
        after = load(server, 0.8, given.seconds)
    result["80% afterwards"] = after.summary()
    ratio = percentile(double.accepted, 0.99) / percentile([*warm.accepted, *after.accepted], 0.99)
    show_and_keep("load", {**result, "p99 at 200% beside 80%": round(ratio, 2)})


def stolen_seconds() -> float:
    """Since the start, of all processors together: what the host gave to other machines although this one had work."""
    return int(Path("/proc/stat").read_text("ascii").split()[8]) / os.sysconf("SC_CLK_TCK")


def until_normal(server: Process, texts: list[str], usual: float) -> float:
    """Seconds until a request alone takes at most twice the `usual` seconds, those of a server that had no load yet."""
    ended = time.monotonic()
    while True:
        (seconds,) = asyncio.run(singly(server.port, [random.choice(texts)]))
        if seconds < 2 * usual or time.monotonic() - ended > 60:
            return time.monotonic() - ended


if __name__ == "__main__":
    main()
