"""Ten thousand requests that nobody should send: is any answered with 5xx but 503, is the server alive after them?

    python benchmarks/serving/hostile.py --model RUNS/multi30k --sources lines.txt [--requests 10000]

Up to a third comes from schemathesis, out of the server's own /openapi.json (it makes no case twice, and some paths
have few); the rest are bytes on sockets: slow senders, bodies that are longer or shorter than they claim or have no
end, heads of megabytes, no HTTP at all, connections that are cut in the middle. Meanwhile an honest client asks again
and again, and every answer of it is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from world import Connection, Process, keep, request

PATHS = ("/generate", "/translate", "/v2/translate", "/v1/chat/completions", "/detect", "/explain", "/", "/nothing")
ODD: list[Any] = [0, -1, 10**9, 1e308, "x", None, [], {}]
SLOW = 300  # at the same time


def head(path: str, *more: str, method: str = "POST") -> bytes:
    """A head with these lines."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *more, "", ""]).encode("utf-8", "replace")


def bodies(dice: random.Random) -> bytes:
    """Something that is not what a path wants."""
    return dice.choice(
        [
            lambda: b"",
            lambda: dice.randbytes(dice.randrange(2000)),
            lambda: b"[" * dice.randrange(1, 100_000),
            lambda: b'{"texts":["' + b"a" * dice.randrange(100_000) + b'"]}',
            lambda: json.dumps({"texts": ["\ud800" * 5, "\x00", "\u202e"]}).encode(),
            lambda: json.dumps(
                {"texts": ["a"], "beam": dice.choice([0, -1, 10**9, 1e308, "x", None, [], {}])}
            ).encode(),
            lambda: b'{"texts":["a"],"temperature":NaN,"sample":true}',
            lambda: json.dumps({"q": ["a"] * dice.randrange(3000), "source": "de", "target": "en"}).encode(),
            lambda: json.dumps({"q": "<" * 5000, "source": "de", "target": "en", "format": "html"}).encode(),
            lambda: json.dumps({"model": "x" * 1000, "messages": [{"role": "user", "content": "a"}]}).encode(),
            lambda: json.dumps({"text": "\u0301" * 10_000, "target_lang": "EN"}).encode(),
            lambda: b'{"a":' * 2000 + b"1" + b"}" * 2000,
            lambda: b"1" * 5000,
            lambda: b'"' + b"\\ud83d" * 1000 + b'"',
        ]
    )()


Attack = tuple[str, bytes, bool]
"""(kind, bytes, whether the connection is cut right after them)"""


def attack(dice: random.Random) -> Attack:
    """Something that no client should send."""
    path, body = dice.choice(PATHS), bodies(dice)
    media = dice.choice(["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
    group = dice.choice([with_bodies, with_chunks, with_heads, with_connections])
    return dice.choice(group(dice, path, body, media))


def with_bodies(dice: random.Random, path: str, body: bytes, media: str) -> list[Attack]:
    """Bodies that are odd, or not as long as they say."""
    size = len(body)
    nonsense = dice.choice(["-1", "x", "1e9", "9" * 50, ""])
    return [
        ("odd body", head(path, f"Content-Type: {media}", f"Content-Length: {size}") + body, False),
        ("odd body", head(path, "Content-Type: application/json", f"Content-Length: {size}") + body, False),
        ("length too long", head(path, f"Content-Length: {size + dice.randrange(1, 10**6)}") + body, True),
        ("length too short", head(path, f"Content-Length: {size // 2}") + body, False),
        ("length is nonsense", head(path, f"Content-Length: {nonsense}"), False),
        ("two lengths", head(path, "Content-Length: 5", "Content-Length: 7") + b"{}", False),
        ("huge body", head(path, "Content-Length: 3000000") + b"x" * 3_000_000, False),
    ]


def with_chunks(dice: random.Random, path: str, body: bytes, media: str) -> list[Attack]:
    """Bodies in chunks, whose length is not told."""
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    broken = dice.choice([b"ZZ\r\n", b"fffffffffff\r\n", b"5\r\nab"])
    chunked = head(path, "Transfer-Encoding: chunked")
    return [
        ("length and chunks", head(path, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n", False),
        ("broken chunks", chunked + broken, True),
        ("broken chunks", chunked + broken, False),
        ("endless chunks", chunked + chunk * 300, False),
    ]


def with_heads(dice: random.Random, path: str, body: bytes, media: str) -> list[Attack]:
    """Heads of megabytes, paths that lead out, methods that there are not."""
    odd = ["/../../etc/passwd", "/page/%2e%2e/app.py", "/%00", "/\u00e9", "*", "//", "/page/" + "%ff" * 50]
    methods = ["PUT", "DELETE", "TRACE", "FOO", "CONNECT", "OPTIONS", "HEAD"]
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
    return [
        ("huge head", head(path, "X: " + "y" * dice.randrange(60_000, 500_000)), False),
        ("many heads", head(path, *[f"X{n}: y" for n in range(5000)]), False),
        ("long path", head("/" + "a" * dice.randrange(1000, 100_000), method="GET"), False),
        ("odd path", head(dice.choice(odd), method="GET"), False),
        ("odd method", head(path, method=dice.choice(methods)), False),
        ("websocket", head("/", *upgrade, method="GET"), False),
        ("strange host", head("/models", method="GET").replace(b"127.0.0.1", b"evil.example"), False),
    ]


def with_connections(dice: random.Random, path: str, body: bytes, media: str) -> list[Attack]:
    """Connections that are cut, or carry something else than a request."""
    good = request("/generate", {"texts": ["ab"]})
    return [
        ("no HTTP", dice.randbytes(dice.randrange(1, 3000)), False),
        ("cut head", head(path, "Content-Type: application/json")[: dice.randrange(1, 60)], True),
        ("cut body", request("/generate", {"texts": ["abc"] * 20})[:-5], True),
        ("gone before the answer", request("/generate", {"texts": ["ab"] * 20}), True),
        ("pipelined", good * 5, False),
        ("then garbage", good + dice.randbytes(200), False),
        ("old HTTP", b"GET / HTTP/1.0\r\n\r\n", False),
    ]


async def throw(port: int, data: bytes, cut: bool, statuses: Counter[int]) -> None:
    """Sends the bytes, and notes the status of every answer."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        statuses[-1] += 1
        return
    try:
        writer.write(data)
        if cut:
            await asyncio.sleep(random.random() * 0.01)
            statuses[0] += 1
            return
        async with asyncio.timeout(2):
            await writer.drain()
            answer = await reader.read(2**16)
            statuses[status_of(answer)] += 1
    except (OSError, TimeoutError):
        statuses[0] += 1
    finally:
        writer.close()


def status_of(answer: bytes) -> int:
    """The status of an answer; 0: there is none."""
    first = answer.split(b"\r\n", 1)[0].split(b" ")
    return int(first[1]) if len(first) > 1 and first[1].isdigit() else 0


async def trickle(port: int, dice: random.Random, statuses: Counter[int]) -> None:
    """A slow sender: a byte from time to time, until the server has had enough."""
    data = request("/generate", {"texts": ["ab"] * 50})
    begun = dice.choice([0, 10, 60, len(data) // 2])
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data[:begun])
        answer = asyncio.create_task(reader.read(2**16))
        for byte in data[begun:]:
            await asyncio.wait({answer}, timeout=0.5)
            if answer.done():
                break
            writer.write(bytes([byte]))
        async with asyncio.timeout(15):
            statuses[status_of(await answer)] += 1
        writer.close()
    except (OSError, TimeoutError):
        statuses[0] += 1


async def honest(port: int, texts: list[str], expected: list[str], stop: asyncio.Event) -> Counter[str]:
    """Asks all the time; every answer is looked at."""
    connection = Connection(port)
    found: Counter[str] = Counter()
    place = 0
    while not stop.is_set():
        place = (place + 1) % len(texts)
        try:
            answer = await connection.ask(request("/generate", {"texts": [texts[place]]}))
        except (OSError, EOFError):
            found["no answer"] += 1
            continue
        if answer.status == 200:
            right = json.loads(answer.body)["outputs"][0]["text"] == expected[place]
            found["right" if right else "wrong"] += 1
        else:
            found[f"{answer.status}"] += 1
        await asyncio.sleep(0.02)
    return found


async def sockets(server: Process, count: int, texts: list[str], expected: list[str]) -> dict[str, Any]:
    """The attacks on sockets, 40 at a time, the slow ones beside them."""
    dice = random.Random(1)
    statuses: dict[str, Counter[int]] = {}
    stop = asyncio.Event()
    witness = asyncio.create_task(honest(server.port, texts, expected, stop))
    slow: Counter[int] = Counter()
    slow_ones = [asyncio.create_task(trickle(server.port, dice, slow)) for _ in range(SLOW)]
    gate = asyncio.Semaphore(40)

    async def one() -> None:
        kind, data, cut = attack(dice)
        async with gate:
            await throw(server.port, data, cut, statuses.setdefault(kind, Counter()))

    await asyncio.gather(*(one() for _ in range(count - SLOW)))
    await asyncio.gather(*slow_ones)
    stop.set()
    statuses["slow sender"] = slow
    return {
        "by kind": {kind: {str(status): n for status, n in sorted(found.items())} for kind, found in statuses.items()},
        "honest client": dict(await witness),
    }


def by_schema(server: Process, count: int) -> tuple[Counter[int], list[str]]:
    """Requests made from the schema, valid and not: how often each status, and what else went wrong."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings

    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    statuses: Counter[int] = Counter()
    failures: list[str] = []
    for operation in operations:
        modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
        for mode in modes:
            try:
                strategy = operation.as_strategy(generation_mode=mode)
            except Exception:  # nothing to negate
                continue

            @settings(
                max_examples=max(1, count // (2 * len(operations))),
                database=None,
                deadline=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=strategy)
            def throw_case(case: Any) -> None:
                statuses[case.call(timeout=60).status_code] += 1

            try:
                throw_case()
            except Exception as error:
                if "Unsatisfiable" not in type(error).__name__:
                    failures.append(f"{operation.label} {mode}: {type(error).__name__}: {str(error)[:200]}")
    return statuses, failures


def main() -> None:
    """Attacks, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=10_000)
    given = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    texts = given.sources.read_text("utf-8").splitlines()[:100]
    # In float32 the company in a batch changes no answer, and so each can be checked.
    server = Process(given.model, "--languages", "de:en", "--precision", "float32")
    ask = Connection(server.port)
    expected = [
        one["text"] for one in json.loads(asyncio.run(ask.ask(request("/generate", {"texts": texts}))).body)["outputs"]
    ]
    before = server.memory()
    began = time.monotonic()
    cases, failures = by_schema(server, given.requests // 3)
    print("schemathesis:", dict(cases), *failures, sep="\n", flush=True)
    found = asyncio.run(sockets(server, given.requests - sum(cases.values()), texts, expected))
    time.sleep(12)  # the last slow ones are let go
    ours = [status for kind in found["by kind"].values() for status, n in kind.items() for _ in range(n)]
    events = server.events()
    logged = Counter(event["status"] for event in events if event["event"] == "request")
    again = Connection(server.port)
    after = asyncio.run(again.ask(request("/generate", {"texts": texts})))
    result = {
        "command": f"python benchmarks/serving/hostile.py --requests {given.requests}",
        "requests": len(ours) + sum(cases.values()),
        "of schemathesis": {str(status): n for status, n in sorted(cases.items())},
        "failures of schemathesis": failures,
        **found,
        "5xx but 503, seen by clients": sum(n for status, n in [*cases.items()] if status >= 500 and status != 503)
        + sum(int(status) >= 500 and status != "503" for status in ours),
        "5xx but 503, in the server's log": sum(n for status, n in logged.items() if status >= 500 and status != 503),
        "faults in the server's log": sum(event["event"] == "fault" for event in events),
        "alive and right afterwards": [one["text"] for one in json.loads(after.body)["outputs"]] == expected,
        "memory before, MB": round(before / 2**20),
        "memory after, MB": round(server.memory() / 2**20),
        "seconds": round(time.monotonic() - began),
        "threads": threading.active_count(),
    }
    for event in [event for event in events if event["event"] == "fault"][:5]:
        print(event["path"], event["traceback"][-1500:])
    result.pop("threads")
    result["exit code"] = server.end()
    print(json.dumps(result, indent=2))
    keep("hostile", result)


if __name__ == "__main__":
    main()
