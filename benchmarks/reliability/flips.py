"""A thousand truncations and flipped bits over all files: is each found, and is the state before it used?

    python benchmarks/reliability/flips.py --work DIR [--count 1000] [--seed 1]

Three places, in turn. A finished model: loading it must name the damaged file. The newest of two checkpoints: it must
be passed over, and the one before it read. Any file of a run under way (its settings, tokenizers, log, encoded pairs,
checkpoints), where the same command must then end in the very bits of a run that was never harmed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import common
from kill import Case, differences

CASE = Case("attention, steps", "attention", ("--steps", "40", "--precision", "float32"))
RUNS = 5
"""Of so many changes one is to a run under way, which takes a training to judge."""


def command(pairs: Path, out: Path) -> tuple[object, ...]:
    """The run."""
    quick = ("--set", "training.save_seconds=0", "--set", "training.validations=8", "--threads", 1)
    return ("train", pairs, "--out", out, "--model", CASE.kind, *common.sizes(CASE.kind), *quick, *CASE.words)


def under_way(pairs: Path, out: Path, said: Path) -> None:
    """A run that was killed when it had two checkpoints."""
    pid = common.start(command(pairs, out), said)
    while len(list(out.glob("checkpoints/step-*"))) < 2:
        time.sleep(0.001)
        if common.ended(pid) is not None:
            raise SystemExit(f"the run ended too soon: {said.read_text('utf-8')}")
    os.kill(pid, signal.SIGKILL)
    common.wait(pid)


def harm(path: Path, dice: random.Random) -> str:
    """Cuts a file, or flips one bit of it."""
    content = bytearray(path.read_bytes())
    if dice.random() < 0.35:
        place = dice.randrange(len(content))
        path.write_bytes(content[:place])
        return f"cut to {place} of {len(content)} bytes"
    place = dice.randrange(len(content))
    content[place] ^= 1 << dice.randrange(8)
    path.write_bytes(content)
    return f"bit {place * 8}"


def files_of(folder: Path) -> list[Path]:
    """Every file that a run has written."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".") and p.stat().st_size)


def harmed_model(folder: Path, path: Path) -> str:
    """What is wrong with how a damaged model is met; empty if it is refused, and the file named."""
    from pairloom.cli.showing import show_model
    from pairloom.errors import FolderError
    from pairloom.weights import load_folder

    for load in (load_folder, lambda place: show_model(directory=str(place), near=None, count=1, as_json=False)):
        try:
            load(folder)
        except FolderError as error:
            if path.name not in str(error) and path.name != "MANIFEST.sha256":
                return f"the file is not named: {error}"
        else:
            if load is not load_folder or path.relative_to(folder).name == str(path.relative_to(folder)):
                return "it was not found"
    return ""


def harmed_checkpoint(checkpoints: Path, path: Path) -> str:
    """What is wrong with how a damaged checkpoint is met; empty if it is named and the one before it is read."""
    from pairloom.checkpoint import newest_checkpoint

    said: list[str] = []
    found = newest_checkpoint(checkpoints, said.append)
    older = sorted(checkpoints.glob("step-*"), key=lambda place: int(place.name.split("-")[1]))[-2]
    if found is None or older.name != f"step-{found.step}":
        return f"not the one before it: {found and found.step}"
    return "" if len(said) == 1 and path.parent.name in said[0] else f"not named in one line: {said}"


def main() -> None:
    """Harms, looks, mends, again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    common.warm_up()
    work, dice, began = given.work, random.Random(given.seed), time.monotonic()
    work.mkdir(parents=True, exist_ok=True)
    pairs, said = common.write_pairs(work / "pairs.tsv", 150), work / "said.txt"
    straight, stopped = work / "straight", work / "stopped"
    for place in (straight, stopped):
        shutil.rmtree(place, ignore_errors=True)
    if common.wait(common.start(command(pairs, straight), said)):
        raise SystemExit(said.read_text("utf-8"))
    under_way(pairs, stopped, said)
    counts, bad, names = Counter[str](), list[str](), Counter[str]()
    for number in range(given.count):
        kind = "run under way" if number % RUNS == 0 else ("model", "checkpoint")[number % 2]
        out = work / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(straight if kind == "model" else stopped, out)
        newest = max(out.glob("checkpoints/step-*"), key=lambda p: int(p.name.split("-")[1]), default=out)
        files = files_of(newest if kind == "checkpoint" else out)
        path = dice.choice(files)
        what = f"{number}: {kind}, {path.relative_to(out)}, {harm(path, dice)}"
        counts[kind] += 1
        names[path.name] += 1
        if kind == "model":
            wrong = harmed_model(out, path)
        elif kind == "checkpoint":
            wrong = harmed_checkpoint(out / "checkpoints", path)
        else:
            code = common.wait(common.start(command(pairs, out), said))
            different: list[str] = differences(straight, out, CASE) if not code else []
            wrong = f"exit code {code}: {said.read_text('utf-8')[-300:]}" if code else ", ".join(different)
        if wrong:
            bad.append(f"{what}: {wrong}")
            print(bad[-1], flush=True)
        if number % 100 == 99:
            print(f"{number + 1}: {dict(counts)}, {len(bad)} findings", flush=True)
    facts: dict[str, Any] = {
        "changes": given.count,
        "places": dict(counts),
        "files": dict(names.most_common()),
        "not_found_or_not_mended": bad,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    common.keep("flips", f"python benchmarks/reliability/flips.py --count {given.count} --seed {given.seed}", facts)


if __name__ == "__main__":
    main()
