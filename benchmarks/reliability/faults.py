"""A disk that fails: every write, fsync and rename of a whole run in turn, and what is left after each.

    python benchmarks/reliability/faults.py --work DIR

A run is begun with a preloaded library (shim.c) that lets its Nth write fail for lack of room, or write half and then
fail, or its Nth fsync or rename report a broken disk; for every N that the run has, from reading the pairs to the last
file of the finished model. `for ever` means that the disk stays full from then on. After each fault: exit code 0 (the
run went on) or 5, no traceback; a model that had been written loads; what was saved is there; and the same command on a
disk that works again ends in the very bits of a run without faults.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import common
from kill import Case, differences, newest

WRITE, FSYNC, RENAME = 1, 2, 3


class Fault(NamedTuple):
    """One way to fail."""

    name: str
    operation: int
    error: int
    halve: bool = False
    for_ever: bool = False


FAULTS = (
    Fault("write: no room (ENOSPC)", WRITE, errno.ENOSPC),
    Fault("write: half of it, then no room", WRITE, errno.ENOSPC, halve=True),
    Fault("write: no room for ever", WRITE, errno.ENOSPC, for_ever=True),
    Fault("fsync: broken disk (EIO)", FSYNC, errno.EIO),
    Fault("rename: broken disk (EIO)", RENAME, errno.EIO),
    Fault("rename: no room for ever (ENOSPC)", RENAME, errno.ENOSPC, for_ever=True),
)
CASE = Case("rnn, steps", "rnn", ("--steps", "24", "--precision", "float32"))


def with_shim(work: Path) -> None:
    """Begins this program anew with the shim in it."""
    if os.environ.get("LD_PRELOAD"):
        return
    library = work / "shim.so"
    source = str(Path(__file__).with_name("shim.c"))
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), source, "-ldl"], check=True)
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "LD_PRELOAD": str(library)})


def command(pairs: Path, out: Path) -> tuple[object, ...]:
    """The run."""
    quick = ("--set", "training.save_seconds=0", "--set", "training.validations=2", "--threads", 1)
    return ("train", pairs, "--out", out, "--model", CASE.kind, *common.sizes(CASE.kind), *quick, *CASE.words)


def faulty(fault: Fault, nth: int, pairs: Path, out: Path, said: Path) -> tuple[int, bool]:
    """The run with one fault: its exit code, and whether the fault struck."""
    read, write = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        code = 99
        try:
            from pairloom.cli import main

            shim = ctypes.CDLL(None)
            place = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(place, 1)
            os.dup2(place, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            shim.shim_arm(fault.operation, nth, fault.error, int(fault.halve), int(fault.for_ever))
            code = main([str(word) for word in command(pairs, out)])
            struck = shim.shim_fired()
            shim.shim_arm(0, 0, 0, 0, 0)
            os.write(write, b"1" if struck else b"0")
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        struck = pipe.read() == b"1"
    return common.wait(pid), struck


def left_over(out: Path) -> list[str]:
    """What must not be after a fault: a model that is there and does not load, a checkpoint that is not whole."""
    from pairloom.checkpoint import newest_checkpoint
    from pairloom.errors import PairloomError
    from pairloom.weights import load_folder

    found: list[str] = []
    if (out / "MANIFEST.sha256").exists():
        try:
            load_folder(out)
        except PairloomError as error:
            found.append(f"the model does not load: {error}")
    newest_checkpoint(out / "checkpoints", found.append)
    return found


def main() -> None:
    """Every fault at every place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    with_shim(given.work)
    common.warm_up()
    pairs, straight, out = (
        common.write_pairs(given.work / "pairs.tsv", 120),
        given.work / "straight",
        given.work / "out",
    )
    said = given.work / "said.txt"
    shutil.rmtree(straight, ignore_errors=True)
    if common.wait(common.start(command(pairs, straight), said)):
        raise SystemExit(said.read_text("utf-8"))
    bad, table, began = list[str](), dict[str, dict[str, Any]](), time.monotonic()
    for fault in FAULTS:
        codes, nth = Counter[int](), 0
        while True:
            nth += 1
            name = f"{fault.name}, number {nth}"
            shutil.rmtree(out, ignore_errors=True)
            code, struck = faulty(fault, nth, pairs, out, said)
            if not struck and code == 0:
                break
            words = said.read_text("utf-8", "replace")
            codes[code] += 1
            bad += [f"{name}: exit code {code}: {words[-300:]}"] if code not in (0, 5) else []
            bad += [f"{name}: a traceback"] if "Traceback" in words or "this is a bug" in words else []
            bad += [f"{name}: {problem}" for problem in left_over(out)]
            saved = newest(out)
            if common.wait(common.start(command(pairs, out), said)):
                bad.append(f"{name}: the next sitting fails: {said.read_text('utf-8', 'replace')[-300:]}")
            elif different := differences(straight, out, CASE):
                bad.append(f"{name}: other bits: {', '.join(different)} (update {saved} was saved)")
        table[fault.name] = {"places": nth - 1, "went_on": codes[0], "stopped_with_5": codes[5]}
        print(fault.name, table[fault.name], f"{len(bad)} findings", *bad[-3:], sep="\n  ", flush=True)
    facts = {
        "faults": sum(row["places"] for row in table.values()),
        "table": table,
        "findings": bad,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    common.keep("faults", "python benchmarks/reliability/faults.py", facts)


if __name__ == "__main__":
    main()
