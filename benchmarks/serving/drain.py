"""SIGTERM under load, many times: is every request that was accepted answered?

    python benchmarks/serving/drain.py --model RUNS/multi30k --sources LINES [--times 100]

Clients send one request after another, half of them over connections that they keep, half over new ones. While they
do, the server gets SIGTERM. A request is lost if its client has sent it and neither got a whole answer nor found the
door closed, or if the server itself counts it as begun and not answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import time
from pathlib import Path
from typing import Any

from world import Connection, Process, keep, request

CLIENTS = 12


async def client(server: Process, number: int, texts: list[str], found: dict[str, int], until: asyncio.Event) -> None:
    """Asks until the server is gone."""
    connection = Connection(server.port)
    count = 0
    while not until.is_set():
        count += 1
        name = f"{number}-{count}"
        content = {"texts": random.Random(name).sample(texts, 1 + count % 16)}
        if number % 2:
            connection.close()
        try:
            answer = await connection.ask(request("/generate", content, name=name))
        except ConnectionRefusedError:
            found["door closed"] += 1
            return
        except (OSError, EOFError) as error:
            found["without an answer"] += 1
            found.setdefault(f"  {type(error).__name__}", 0)
            found[f"  {type(error).__name__}"] += 1
            return
        if answer.status == 200:
            outputs = json.loads(answer.body)["outputs"]
            whole = [one["source"] for one in outputs] == content["texts"]
            found["answered" if whole else "wrong"] += 1
        else:
            found["refused"] += 1
            await asyncio.sleep(0.02)


async def once(model: Path, texts: list[str], dice: random.Random, options: list[str]) -> dict[str, Any]:
    """One server from its start to its end."""
    server = Process(model, *options)
    found = dict.fromkeys(("answered", "refused", "wrong", "without an answer", "door closed"), 0)
    gone = asyncio.Event()
    clients = [asyncio.create_task(client(server, number, texts, found, gone)) for number in range(CLIENTS)]
    await asyncio.sleep(dice.uniform(0.3, 1.0))
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(server.process.wait, 60)
    seconds = time.monotonic() - began
    gone.set()
    await asyncio.wait(clients, timeout=10)
    events = server.events()
    ended = [event for event in events if event["event"] == "ended"]
    accepted = sum(event["event"] == "request" and event["path"] == "/generate" for event in events)
    server.end()
    unanswered = ended[0]["unanswered"] if ended else -1
    return {**found, "code": code, "seconds": seconds, "unanswered": unanswered, "accepted": accepted}


def main() -> None:
    """Runs, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True, help="lines for the model")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--queue-tokens", default="1500")
    given = parser.parse_args()
    texts = given.sources.read_text("utf-8").splitlines()[:500]
    dice = random.Random(1)
    options = ["--queue-tokens", given.queue_tokens]
    runs = []
    for number in range(given.times):
        runs.append(asyncio.run(once(given.model, texts, dice, options)))
        print(number + 1, {name: value for name, value in runs[-1].items() if value}, flush=True)
    names = dict.fromkeys(name for run in runs for name in run if name not in ("code", "seconds", "unanswered"))
    total: dict[str, Any] = {name.strip(): sum(run.get(name, 0) for run in runs) for name in names}
    unanswered = sum(run["unanswered"] != 0 for run in runs)
    result = {
        "command": f"python benchmarks/serving/drain.py --times {given.times} --queue-tokens {given.queue_tokens}",
        "times": given.times,
        "clients": CLIENTS,
        **total,
        "lost": total["without an answer"] + total["wrong"] + unanswered,
        "exit codes other than 0": sum(run["code"] != 0 for run in runs),
        "longest drain in seconds": round(max(run["seconds"] for run in runs), 2),
    }
    print(json.dumps(result, indent=2))
    keep("drain", result)


if __name__ == "__main__":
    main()
