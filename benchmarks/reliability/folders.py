"""Ten thousand model folders of strangers who mean harm: does any of them run code, open what is outside, or crash?

    python benchmarks/reliability/folders.py --work DIR [--count 10000] [--workers 1] [--minutes M]

Each folder is a sound one with one or two changes (see mutators.py), sealed anew so that the manifest fits, three times
of four. It is then shown, and asked for answers by every engine, and for its attention, through the command line, in a
process of its own that an audit hook watches: whatever is opened outside of the folder, every socket, process, pickle
and library that is loaded is written down. What ends otherwise than with exit code 0 or a clear refusal (2, 3, 4), what
takes more than 2 s of the processor for a command (or 10 s on the wall: others may be at work on the machine), or more
than 200 MB beyond what the process had before, is a finding.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import common
from mutators import MUTATORS

SECONDS, WALL, MEGABYTES = 2.0, 10.0, 200
QUIET = {
    *("os.listdir", "os.scandir", "glob.glob", "pathlib.Path.glob", "pathlib.Path.rglob", "builtins.id", "time.sleep"),
    *("exec", "compile", "import", "marshal.loads", "code.__new__", "object.__getattr__", "object.__setattr__"),
    *("object.__delattr__", "sys._getframe", "sys._current_frames", "sys.excepthook", "sys.unraisablehook"),
    *("gc.get_objects", "ctypes.dlsym", "ctypes.dlsym/handle", "ctypes.call_function", "array.__new__", "mmap.__new__"),
}
"""Events that touch nothing outside, or that every Python program has (importing its own modules runs their code)."""
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
TIMED = re.compile(r"on the wall$|ended with -14$")
TEXTS = ("abc", "", "</s>", "가나다", "hgfedcba", "\u202e\x1b[31mx")


def base_folders(work: Path) -> list[Path]:
    """A sound folder of every kind, tokenizer and shape, trained for a moment."""
    pairs = common.write_pairs(work / "pairs.tsv", 300)
    marked = work / "marked.tsv"
    marked.write_text("".join(f"{s}\t{t}\t{'V;PST' if len(s) % 2 else 'N'}\n" for s, t in common.words(300)), "utf-8")
    asked: dict[str, tuple[Path, str, list[str]]] = {
        "rnn": (pairs, "rnn", []),
        "attention": (pairs, "attention", ["--joint", "--source-unit", "byte", "--target-unit", "byte"]),
        "features": (
            marked,
            "attention",
            ["--columns", "source=1,target=2,features=3", "--set", "model.copy=true", "--joint"],
        ),
        "transformer": (
            pairs,
            "transformer",
            ["--source-unit", "bpe", "--target-unit", "unigram", "--vocabulary", "300"],
        ),
        "hybrid": (pairs, "hybrid", ["--source-unit", "word", "--target-unit", "jamo"]),
    }
    found = []
    for name, (data, kind, words) in asked.items():
        out, said = work / "sound" / name, work / f"{name}.txt"
        given = (
            "train",
            data,
            "--out",
            out,
            "--model",
            kind,
            *common.sizes(kind),
            "--steps",
            30,
            "--threads",
            1,
            *words,
        )
        if common.wait(common.start(given, said)):
            raise SystemExit(said.read_text("utf-8"))
        common.add_engine(out)
        found.append(out)
    return found


def reseal(folder: Path) -> None:
    """A manifest that fits, as one who means harm would write."""
    from pairloom.folder import seal
    from pairloom.storage import write_manifest

    with contextlib.suppress(Exception):
        (folder / "MANIFEST.sha256").unlink()
        seal(folder)
        write_manifest(folder / "engine")


def mutated(bases: list[Path], folder: Path, dice: random.Random) -> tuple[list[str], str]:
    """A copy of a sound folder with one or two changes: the names of the mutators, and what they did."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(dice.choice(bases), folder)
    names = dice.choices(
        list(MUTATORS), weights=[weight for _, weight in MUTATORS.values()], k=dice.choice((1, 1, 1, 2))
    )
    done = []
    for name in names:
        if {"terabytes of nothing", "links, pipes, directories"} & set(names[: len(done)]):
            break  # a second change would read a terabyte, or what the link leads to: here, not in pairloom
        try:
            done.append(MUTATORS[name][0](folder, dice))
        except Exception as error:
            done.append(f"({type(error).__name__})")  # the first change has left nothing to change
    sealed = dice.random() < 0.75 and "manifests" not in names and not any("MANIFEST" in one for one in done)
    if sealed and "terabytes of nothing" not in names:  # hashing terabytes is what the stranger would have to do
        there = folder.rglob("*")
        small = all(path.is_symlink() or not path.is_file() or path.stat().st_size < 10**8 for path in there)
        if small:
            reseal(folder)
    return names, "; ".join(done)


def allowed(path: str, folder: Path, lines: Path) -> bool:
    """Within the folder, the lines that are asked, and Python's own modules."""
    if path in (str(lines), "/dev/null", f"/proc/{os.getpid()}/status") or path.startswith(str(folder) + "/"):
        return True
    homes = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2] / "src"))
    return path.endswith((".py", ".pyc", ".so", ".ttf", ".otf")) and path.startswith(homes)


def watched(folder: Path, lines: Path, number: int, report: int) -> None:
    """In the child: asks the folder everything while a hook watches; the findings as JSON into the pipe `report`."""
    events: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in QUIET:
            return
        if event == "open":
            path, mode = arguments[0], arguments[1]
            if isinstance(path, int):
                return
            name = os.path.realpath(os.fsdecode(path)) if isinstance(path, str | bytes) else str(path)
            writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
            if not allowed(name, folder, lines) or writes:
                events.append(f"open {name} {mode}")
        elif event == "ctypes.dlopen" and arguments[0] is None:
            return
        else:
            events.append(event)

    os.dup2(os.memfd_create("said"), 1)
    error_place = os.memfd_create("errors")
    os.dup2(error_place, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    from pairloom.cli import main

    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    sys.addaudithook(hook)
    took, walls, codes = [], [], []
    for place, command in enumerate(commands(folder, lines, number)):
        if place > 2 and codes[1]:
            break
        began, clock = time.process_time(), time.perf_counter()
        codes.append(main([str(word) for word in command]))
        took.append(time.process_time() - began)
        walls.append(time.perf_counter() - clock)
    sys.stdout.flush()
    sys.stderr.flush()
    used = status("VmHWM") - before
    errors = os.pread(error_place, 10**7, 0).decode("utf-8", "replace")
    found = {
        "codes": codes,
        "seconds": took,
        "wall": walls,
        "megabytes": used / 1024,
        "events": events[:20],
        "errors": errors[:3000],
    }
    found["controls"] = bool(CONTROLS.search(errors))
    os.write(report, json.dumps(found).encode())


def commands(folder: Path, lines: Path, number: int) -> list[tuple[object, ...]]:
    """What stranger `number` is asked; of a fifth of them more, if the second is answered."""
    generate = ("generate", folder, lines, "--threads", 1, "--max-length", 12)
    fast = (*generate, "--engine", "onnx", "--precision", ("int8", "float32")[number % 2])
    plain = (*generate, "--engine", "torch")
    more = [(*plain, "--sample"), ("attend", folder, "abc", "--engine", "torch")] if number % 5 == 0 else []
    return [("show", folder), plain, fast, *more]


def asked_once(folder: Path, lines: Path) -> None:
    """Asks a sound folder in this very process, so that whatever is imported late is there before the hook is."""
    from pairloom.cli import main

    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        for command in (*commands(folder, lines, 0), *commands(folder, lines, 5)):
            main([str(word) for word in command])


def status(name: str) -> int:
    """A number of /proc/self/status, in kB."""
    text = Path("/proc/self/status").read_text("utf-8")
    return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[1])  # type: ignore[index]


def ask(folder: Path, lines: Path, number: int) -> dict[str, Any]:
    """Forks, watches, and gives what was found; a child that hangs or dies gives that."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(read)
            signal.alarm(30)
            watched(folder, lines, number, write)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        content = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return json.loads(content) if content and not code else {"died": code}


def findings(found: dict[str, Any]) -> list[str]:
    """What must not be."""
    if "died" in found:
        return [f"the process ended with {found['died']}"]
    problems = [f"exit code {code}" for code in found["codes"] if code not in (0, 2, 3, 4)]
    problems += ["a traceback"] if "Traceback" in found["errors"] or "this is a bug" in found["errors"] else []
    problems += ["a panic"] if "panicked" in found["errors"] else []
    problems += ["control characters in a message"] if found["controls"] else []
    problems += [f"{seconds:.1f} s" for seconds in found["seconds"] if seconds > SECONDS]
    problems += [f"{seconds:.1f} s on the wall" for seconds in found["wall"] if seconds > WALL]
    problems += [f"{found['megabytes']:.0f} MB"] if found["megabytes"] > MEGABYTES else []
    return problems + found["events"]


@dataclass
class Tally:
    """What one worker has seen so far; kept on the disk, so that a trial can go on after a pause."""

    next: int
    folders: int = 0
    again: int = 0
    answered: int = 0
    slowest: float = 0.0
    largest: float = 0.0
    seconds: float = 0.0
    mutations: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)


def work_on(number: int, place: Path, bases: list[Path], lines: Path, tally: Tally) -> None:
    """Folder `number`: made, asked, judged."""
    folder, canary = place / "model", place / "canary"
    dice = random.Random(number)
    names, done = mutated(bases, folder, dice)
    found = ask(folder, lines, number)
    if findings(found) and all(map(TIMED.search, findings(found))):
        tally.again, found = tally.again + 1, ask(folder, lines, number)  # was the machine halted, or is it the folder?
    problems = findings(found) + ([f"the canary {canary} was made"] if canary.exists() else [])
    tally.folders += 1
    tally.answered += found.get("codes", [4, 4])[1] == 0
    tally.slowest = max(tally.slowest, *found.get("seconds", [0.0]))
    tally.largest = max(tally.largest, found.get("megabytes", 0.0))
    for name in names:
        tally.mutations[name] = tally.mutations.get(name, 0) + 1
    if problems:
        tally.findings.append(f"{number}: {done}: {', '.join(problems)[:600]}")
        print(tally.findings[-1], flush=True)


def worker(which: int, given: argparse.Namespace, bases: list[Path], lines: Path) -> None:
    """Every folder whose number leaves `which` when divided by the number of workers."""
    place = given.work / f"stranger-{which}"
    place.mkdir(exist_ok=True)
    kept, began = place / "tally.json", time.monotonic()
    tally = Tally(**json.loads(kept.read_text("utf-8"))) if kept.exists() else Tally(which)
    before = tally.seconds
    while tally.next < given.count and time.monotonic() - began < 60 * given.minutes:
        work_on(tally.next, place, bases, lines, tally)
        tally.next += given.workers
        tally.seconds = before + time.monotonic() - began
        if tally.folders % 100 == 0:
            kept.write_text(json.dumps(vars(tally)), "utf-8")
    kept.write_text(json.dumps(vars(tally)), "utf-8")


def main() -> None:
    """Starts the workers, which go on where they were, and adds up what they have found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder for the trial; what it has is gone on with")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1000, help="no longer than this")
    parser.add_argument("--only", type=int, help="this one alone, and what it says")
    given = parser.parse_args()
    given.work = work = given.work.resolve()
    os.environ |= {"NO_COLOR": "1", "TERM": "dumb"}
    common.warm_up()
    work.mkdir(parents=True, exist_ok=True)
    bases = [work / "sound" / name for name in ("rnn", "attention", "features", "transformer", "hybrid")]
    if not all((base / "engine" / "MANIFEST.sha256").exists() for base in bases):
        bases = base_folders(work)
    lines = work / "lines.txt"
    lines.write_text("".join(f"{text}\n" for text in TEXTS), "utf-8")
    for base in bases:
        asked_once(base.resolve(), lines)
    for base in bases:  # the hook itself must be content with a sound folder
        found = ask(base.resolve(), lines, 0)
        used = f"{max(found['seconds']):.2f} s, {found['megabytes']:.0f} MB"
        print(f"sound {base.name}: {findings(found)}, {used}, {found['codes']}", flush=True)
    if given.only is not None:
        place = work / "only"
        place.mkdir(exist_ok=True)
        print(mutated(bases, place / "model", random.Random(given.only)))
        print(json.dumps(ask(place / "model", lines, given.only), indent=1))
        return
    children = []
    for which in range(given.workers):
        pid = os.fork()
        if not pid:
            try:
                worker(which, given, bases, lines)
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        common.wait(pid)
    tallies = [Tally(**json.loads(path.read_text("utf-8"))) for path in sorted(work.glob("stranger-*/tally.json"))]
    total = sum(tally.folders for tally in tallies)
    answered, mutations = sum(tally.answered for tally in tallies), Counter[str]()
    for tally in tallies:
        mutations.update(tally.mutations)
    facts = {
        "folders": total,
        "outcomes": {"answered": answered, "refused": total - answered},
        "mutations": dict(mutations.most_common()),
        "asked_again_for_time": sum(tally.again for tally in tallies),
        "findings": [finding for tally in tallies for finding in tally.findings],
        "slowest_seconds": round(max(tally.slowest for tally in tallies), 2),
        "largest_megabytes_over_base": round(max(tally.largest for tally in tallies)),
        "minutes": round(max(tally.seconds for tally in tallies) / 60, 1),
    }
    common.keep(
        "folders", f"python benchmarks/reliability/folders.py --count {given.count} --workers {given.workers}", facts
    )


if __name__ == "__main__":
    main()
