"""Ten thousand model folders of strangers who mean harm: does any of them run code, open what is outside, or crash?

    python benchmarks/reliability/folders.py --work DIR [--count 10000] [--seed 1]

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
        try:
            done.append(MUTATORS[name][0](folder, dice))
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
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


def main() -> None:
    """Makes folders, asks them, counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1000, help="no longer than this")
    parser.add_argument("--only", type=int, help="this one alone, and what it says")
    given = parser.parse_args()
    work = given.work.resolve()
    os.environ |= {"NO_COLOR": "1", "TERM": "dumb"}
    common.warm_up()
    work.mkdir(parents=True, exist_ok=True)
    bases = [work / "sound" / name for name in ("rnn", "attention", "features", "transformer", "hybrid")]
    if not all((base / "MANIFEST.sha256").exists() for base in bases):
        bases = base_folders(work)
    lines = work / "lines.txt"
    lines.write_text("".join(f"{text}\n" for text in TEXTS), "utf-8")
    folder, canary = work / "stranger" / "model", work / "stranger" / "canary"
    canary.unlink(missing_ok=True)
    counts, outcomes, bad = Counter[str](), Counter[str](), list[str]()
    slowest, largest, again, done_of, began = 0.0, 0.0, 0, 0, time.monotonic()
    for base in bases:
        asked_once(base.resolve(), lines)
    for base in bases:  # the hook itself must be content with a sound folder
        found = ask(base.resolve(), lines, 0)
        used = f"{max(found['seconds']):.2f} s, {found['megabytes']:.0f} MB"
        print(f"sound {base.name}: {findings(found)}, {used}, {found['codes']}")
    for number in range(given.count) if given.only is None else [given.only]:
        if time.monotonic() - began > 60 * given.minutes:
            break
        dice = random.Random(given.seed * 1_000_003 + number)
        names, done = mutated(bases, folder, dice)
        found = ask(folder, lines, number)
        while all(map(TIMED.search, findings(found))) and findings(found) and again < 20:
            again, found = again + 1, ask(folder, lines, number)  # was the machine halted, or is it the folder?
        problems = findings(found) + ([f"the canary {canary} was made"] if canary.exists() else [])
        counts.update(names)
        done_of += 1
        outcomes["answered" if found.get("codes", [4])[1] == 0 else "refused"] += 1
        slowest, largest = max(slowest, *found.get("seconds", [0.0])), max(largest, found.get("megabytes", 0.0))
        if problems:
            bad.append(f"{number}: {done}: {', '.join(problems)[:600]}")
            print(bad[-1], flush=True)
        if given.only is not None:
            print(json.dumps(found, indent=1))
            return
        if number % 500 == 499:
            print(f"{number + 1}: {dict(outcomes)}, {slowest:.2f} s, {largest:.0f} MB, {len(bad)} findings", flush=True)
    facts = {
        "folders": done_of,
        "outcomes": dict(outcomes),
        "mutations": dict(counts.most_common()),
        "asked_again_for_time": again,
        "findings": bad,
        "slowest_seconds": round(slowest, 2),
        "largest_megabytes_over_base": round(largest),
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    common.keep("folders", f"python benchmarks/reliability/folders.py --count {given.count} --seed {given.seed}", facts)


if __name__ == "__main__":
    main()
