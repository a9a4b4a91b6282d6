"""A long job through a pipe: does the memory stay flat, and the order of the lines.

    python benchmarks/pipe.py --model RUNS/multi30k --lines SOURCES [--count 200000] [--beam 1]

`pairloom generate DIR` is a process with a pipe at both ends, into which the lines of SOURCES are written again and
again, and from whose output they are read as they come. Each answer is compared with that of the first time the line
was asked: a lost, doubled or exchanged line would show as answers that have next to no word in common with it (in int8
the company in a batch can change a word). Memory is looked at once a second (Linux).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from itertools import cycle, islice
from pathlib import Path
from typing import IO, Any

from origin import provenance

HERE = Path(__file__).parent


def main() -> None:
    """Runs it, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--lines", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args()
    lines = given.lines.read_text("utf-8").splitlines()
    command = [sys.executable, "-m", "pairloom", "generate", str(given.model), "--beam", str(given.beam)]
    command += ["--precision", given.precision]
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdin is not None
    assert process.stdout is not None
    threading.Thread(target=write, args=(process.stdin, lines, given.count), daemon=True).start()
    watched = Watch(process.pid)
    answers, changed, strange, first = 0, 0, 0, dict[int, str]()
    for answer in process.stdout:
        if answers == 0:
            waited = time.monotonic() - began
        place = answers % len(lines)
        if first.setdefault(place, answer) != answer:
            changed += 1
            strange += shared_words(first[place], answer) < 0.3
        answers += 1
        watched.look(answers)
    seconds = time.monotonic() - began
    if process.wait() != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    found = {
        "command": f"pairloom generate RUNS/A --beam {given.beam} --precision {given.precision}",
        "lines": given.count,
        "answers": answers,
        "different_sources": len(lines),
        "answers_with_a_changed_word": changed,
        "answers_of_another_line": strange,
        "seconds": round(seconds, 1),
        "lines_a_second": round(answers / seconds),
        "seconds_to_the_first_answer": round(waited, 2),
        "memory": watched.summary(),
        **provenance(),
    }
    name = "pipe" if given.precision == "auto" else f"pipe-{given.precision}"
    (HERE / "results" / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    print(json.dumps(found, indent=2))


def shared_words(one: str, other: str) -> float:
    """The share of the words of both that both have."""
    ours, theirs = set(one.split()), set(other.split())
    return len(ours & theirs) / max(1, len(ours | theirs))


def write(into: IO[str], lines: list[str], count: int) -> None:
    """`count` lines, as fast as they are taken."""
    for line in islice(cycle(lines), count):
        into.write(line + "\n")
    into.close()


class Watch:
    """The memory of a process over its answers."""

    def __init__(self, process: int) -> None:
        self._status = Path(f"/proc/{process}/status")
        self._next = 0.0
        self._seen: list[tuple[int, float]] = []  # answers so far, MB

    def look(self, answers: int) -> None:
        """Once a second."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1
            self._seen.append((answers, self._resident()))

    def _resident(self) -> float:
        row = next(line for line in self._status.read_text("ascii").splitlines() if line.startswith("VmRSS"))
        return int(row.split()[1]) / 1024

    def summary(self) -> dict[str, Any]:
        """Resident memory in MB after a tenth of the answers, at the end, and the most."""
        last = self._seen[-1][0]
        tenth = next(mb for answers, mb in self._seen if answers >= last / 10)
        every = [mb for _, mb in self._seen]
        return {
            "after_a_tenth": round(tenth, 1),
            "at_the_end": round(every[-1], 1),
            "most": round(max(every), 1),
            "looked": len(every),
        }


if __name__ == "__main__":
    main()
