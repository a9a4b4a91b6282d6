"""How fast pairloom answers, beside CTranslate2 and Hugging Face transformers with the same weights.

    python benchmarks/answering.py quality --data DATA --attention RUNS/A --transformer RUNS/T --peers PEERS
    python benchmarks/answering.py speed   --data DATA --attention RUNS/A --transformer RUNS/T --peers PEERS

The first writes texts' BLEU and the memory, which do not mind other work on the machine; the second, five minutes alone
on it, adds the speed to the same file.

Multi30k test_2016, German to English, text in and text out. The systems are processes of their own, loaded once, and
answer in turn; a round is every system with every work once. The peers' environments are made below PEERS by
`peers.py`; they get the weights of the Transformer given, through their own classes. Greedy search and a beam of 5, in
batches of 64 and a line at a time; tokens a second are target tokens with `</s>`. How many lines a system answers in a
round is found out before, and the same in all rounds: in batches all of them, or if it is slow at least 512, so that no
worker waits long for the last batch; a line at a time what takes it about a second. BLEU is of all lines. CTranslate2
tries its workers and threads first, and keeps what is fastest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import peers
from origin import provenance

from pairloom.metrics import score
from pairloom.workflow.doctor import examine

HERE = Path(__file__).parent
ANSWERERS = HERE / "answerers"
RIVAL = "CTranslate2 int8"
OTHER_WEIGHTS = ("pairloom attention", "pairloom hybrid")
"""Systems that are not the Transformer, whose weights all others have."""


_ENGINES = (("onnx", "int8"), ("onnx", "float32"), ("torch", "float32"))
WAYS: dict[str, Sequence[Sequence[str]]] = {
    "attention": (*_ENGINES, ("onnx", "int8", "shortlist")),
    "Transformer": _ENGINES,
    "hybrid": (("onnx", "int8"),),
}
"""What each model answers with: engine, precision, and what else. The hybrid is one row, to see what its other decoder
costs; the shortlist is the option `--shortlist`, with the lists that training made."""


class Work(NamedTuple):
    """One way of asking."""

    beam: int
    batch: int


class Size(NamedTuple):
    """How much of a work is measured at a time: what takes so many seconds, between the least and the most lines."""

    least: int
    seconds: float
    most: int


Shares = dict[tuple[str, str], int]
"""Work and system → how many lines a round asks of it."""

WORKS = {
    "greedy, batches of 64": Work(1, 64),
    "beam 5, batches of 64": Work(5, 64),
    "greedy, a line at a time": Work(1, 1),
    "beam 5, a line at a time": Work(5, 1),
}


class System:
    """A process that answers."""

    def __init__(self, name: str, command: Sequence[str], threads: int) -> None:
        self.name, self.command, self.threads = name, list(command), threads
        self.process: subprocess.Popen[str] | None = None
        self.facts: dict[str, Any] = {}

    def start(self) -> None:
        """Loads it."""
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ANSWERERS,
            env=peers.environment(self.threads),
        )
        self.facts = self._next()["facts"]

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request, one answer."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._next()

    def stop(self) -> None:
        """Ends it."""
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(timeout=60)
            self.process = None

    def _next(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended: {' '.join(self.command)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def systems(given: argparse.Namespace, lines: Path, scratch: Path) -> list[System]:
    """All that are measured."""
    threads = str(given.threads)
    found = []
    for kind, folder in (("attention", given.attention), ("Transformer", given.transformer), ("hybrid", given.hybrid)):
        if folder is None:
            continue
        for engine, precision, *more in WAYS[kind]:
            command = [sys.executable, "with_pairloom.py", str(folder.resolve()), str(lines), engine, precision]
            name = ", ".join((f"pairloom {kind}, {engine} {precision}", *more))
            found.append(System(name, [*command, threads, *more], given.threads))
    python = str(peers.python_of("huggingface", given.peers.resolve(), given.torch))
    model = str(given.transformer.resolve())
    for precision in ("int8", "float32"):
        place = str(scratch / precision)
        command = [python, "with_ctranslate2.py", model, str(lines), precision, threads, place]
        found.append(System(f"CTranslate2 {precision}", command, given.threads))
    found.append(
        System("transformers float32", [python, "with_transformers.py", model, str(lines), threads], given.threads)
    )
    return found


@contextlib.contextmanager
def running(every: Sequence[System]) -> Iterator[None]:
    """All of them loaded."""
    try:
        for system in every:
            say(f"loading {system.name}")
            system.start()
        yield
    finally:
        for system in every:
            system.stop()


def quality(every: Sequence[System], references: list[str]) -> dict[str, Any]:
    """System → work → BLEU and texts of all lines, in batches."""
    found: dict[str, Any] = {system.name: {} for system in every}
    for name, work in WORKS.items():
        for system in every if work.batch > 1 else ():
            texts = system.ask(work="answer", lines=len(references), texts=True, **work._asdict())["texts"]
            bleu = score(texts, [[text] for text in references], ["bleu"])[0]
            found[system.name][name] = {"bleu": bleu.value, "texts": texts}
            say(f"{name}: {system.name} {bleu.value:.2f} BLEU")
    return found


def shares_of(every: Sequence[System], works: Mapping[str, Work], sizes: Mapping[int, Size]) -> Shares:
    """How many lines a round asks of each, in whole batches, after everything has been done once for warmth. `sizes`:
    by the lines of a batch."""
    shares = {}
    for name, work in works.items():
        size = sizes[work.batch]
        for system in every:
            count = min(size.least, size.most)
            system.ask(work="answer", lines=count, **work._asdict())  # the first time is warmth, and for some a choice
            seconds = system.ask(work="answer", lines=count, **work._asdict())["seconds"]
            batches = int(count * size.seconds / seconds / work.batch)
            shares[name, system.name] = min(size.most, max(count, batches * work.batch))
            say(f"{name}: {system.name} about {count / seconds:,.0f} lines/s")
    return shares


def rounds(
    every: Sequence[System],
    count: int,
    shares: Shares,
    works: Mapping[str, Work] = WORKS,
    unit: str = "tokens",
) -> dict[str, dict[str, list[float]]]:
    """work → system → tokens (or lines) a second in each round, where it has a share."""
    found: dict[str, dict[str, list[float]]] = {
        name: {system.name: [] for system in every if (name, system.name) in shares} for name in works
    }
    for number in range(count):
        for name, work in works.items():
            for system in every:
                if system.name not in found[name]:
                    continue
                one = system.ask(work="answer", lines=shares[name, system.name], **work._asdict())
                found[name][system.name].append(one[unit] / one["seconds"])
        say(f"round {number + 1} of {count}")
    return found


def memory(every: Sequence[System]) -> dict[str, float]:
    """The most memory of a fresh process that loads the model and answers 64 lines at once with a beam of 5, in MB."""
    found = {}
    for system in every:
        system.start()
        system.ask(work="answer", lines=64, beam=5, batch=64)
        found[system.name] = round(system.ask(work="memory")["peak_mb"], 1)
        system.stop()
    return found


def summary(values: Sequence[float], rival: Sequence[float]) -> dict[str, Any]:
    """Median, least and most, and the ratio to the rival: the median of those of the single rounds."""
    ratios = [one / other for one, other in zip(values, rival, strict=True)]
    return {
        "median": round(statistics.median(values)),
        "low": round(min(values)),
        "high": round(max(values)),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_low": round(min(ratios), 2),
        "ratio_high": round(max(ratios), 2),
    }


def same_texts(quality: dict[str, Any], one: str, other: str) -> dict[str, int]:
    """work → for how many lines both say the same."""
    return {
        name: sum(a == b for a, b in zip(quality[one][name]["texts"], quality[other][name]["texts"], strict=True))
        for name in quality[one]
    }


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("quality", "speed"))
    for name in ("data", "attention", "transformer", "peers"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--hybrid", type=Path, help="a hybrid of the same data, if its cost is wanted, too")
    parser.add_argument("--only", default="", metavar="WORD", help="systems with it in their names, such as int8")
    parser.add_argument("--result", default="answering", help="its name in results/, such as answering-avx2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--torch", nargs="+", default=(), help="what pip is told for the peers, if not the version here"
    )
    given = parser.parse_args()
    test = given.data.resolve() / "multi30k" / "test_2016_flickr.de"
    references = test.with_suffix(".en").read_text("utf-8").splitlines()
    place = HERE / "results" / f"{given.result}.json"
    with tempfile.TemporaryDirectory() as scratch:
        every = [system for system in systems(given, test, Path(scratch)) if given.only in system.name]
        found = judged(every, references) if given.stage == "quality" else timed(every, given, len(references))
    before = json.loads(place.read_text("utf-8")) if place.exists() else {}
    found = before | found
    place.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def judged(every: Sequence[System], references: list[str]) -> dict[str, Any]:
    """All that does not depend on what else the machine does: texts, BLEU, memory."""
    with running(every):
        said = quality(every, references)
        facts = {system.name: system.facts for system in every}
    peaks = memory(every)
    plain = "pairloom Transformer, torch float32"
    others = [name for name in said if not name.startswith(OTHER_WEIGHTS)] if plain in said else []
    return {
        "lines": len(references),
        "same_texts": {name: same_texts(said, plain, name) for name in others},
        "systems": {
            name: {
                **facts[name],
                "peak_mb": peaks[name],
                "bleu": {work: round(one["bleu"], 2) for work, one in said[name].items()},
            }
            for name in said
        },
    }


def timed(every: Sequence[System], given: argparse.Namespace, lines: int) -> dict[str, Any]:
    """The rounds."""
    with running(every):
        # Eight batches at least, so that two workers are busy all the while.
        shares = shares_of(every, WORKS, {64: Size(512, 5.0, lines), 1: Size(10, 1.0, 300)})
        found = rounds(every, given.rounds, shares)
        settings = next(system for system in every if system.name == RIVAL).ask(work="facts")["settings"]
    machine = examine()
    return {
        "rounds": given.rounds,
        "threads": given.threads,
        "rival": RIVAL,
        "rival_settings": settings,
        "processor": machine.processor,
        "features": list(machine.features),
        "versions": {name: version for name, version in machine.versions.items() if name in ("torch", "onnxruntime")},
        **provenance(),
        "works": {
            work: {name: {**summary(values, rows[RIVAL]), "lines": shares[work, name]} for name, values in rows.items()}
            for work, rows in found.items()
        },
    }


def say(line: str) -> None:
    """Progress, on standard error."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
