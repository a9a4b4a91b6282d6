"""kill -9 at random moments: is a run ever lost, and does it ever end in other bits than one that was never stopped?

    python benchmarks/reliability/kill.py --work DIR [--kills 200] [--seed 1]

Every case (a kind of model, a precision, a way to feed, a budget) is first trained without a stop. Then the same run is
begun again and again: killed at a random moment, or as soon as the hidden directory of a save is seen, and the same
command given anew, four kills a run, until it is let end. Compared to the bit: the weights, tokenizers, settings, the
best model's update and scores, and the log but for the clock (seconds, tokens a second). With a budget in minutes,
which no two runs spend alike, the time of all sittings is what is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import common

CLOCK = ("seconds", "tokens_per_second")
SAME_BYTES = ("model.safetensors", "config.json", "generation.json", "tokenizer.source.json", "tokenizer.target.json")
KILLS_A_RUN = 4


@dataclass(frozen=True)
class Case:
    """One run as it is asked for."""

    name: str
    kind: str
    words: tuple[str, ...]
    minutes: float = 0.0


def cases() -> list[Case]:
    """All kinds of models, both precisions, every budget, the ways to feed, early stopping, both ways to choose."""

    def case(name: str, kind: str, *changes: str) -> Case:
        words = [word for change in changes for word in (("--set", change) if "=" in change else change.split(" "))]
        minutes = float(words[words.index("--minutes") + 1]) if "--minutes" in words else 0.0
        return Case(name, kind, tuple(words), minutes)

    return [
        case("rnn, float32, steps", "rnn", "--steps 260", "--precision float32"),
        case("rnn, bfloat16, epochs, scheduled sampling", "rnn", "--epochs 8", "--precision bfloat16",
             "training.forcing=linear", "training.forcing_ratio=0.3"),
        case("attention, float32, steps, own tokens drawn", "attention", "--steps 160", "--precision float32",
             "training.forcing=ratio", "training.forcing_ratio=0.6", "training.own=sample", "training.select=exact"),
        case("attention, bfloat16, epochs", "attention", "--epochs 5", "--precision bfloat16"),
        case("attention with feeding, coverage and copying, float32, steps", "attention", "--steps 80",
             "--precision float32", "--joint", "model.input_feeding=true", "model.coverage=true", "model.copy=true"),
        case("transformer, float32, epochs, scheduled sampling", "transformer", "--epochs 5", "--precision float32",
             "training.forcing=exponential", "training.schedule=inverse_sqrt"),
        case("transformer, bfloat16, steps, early stop", "transformer", "--steps 2000", "--precision bfloat16",
             "training.patience=3", "training.validations=100", "training.learning_rate=0.05"),
        case("hybrid, float32, steps", "hybrid", "--steps 120", "--precision float32"),
        case("hybrid, bfloat16, epochs, scheduled sampling", "hybrid", "--epochs 4", "--precision bfloat16",
             "training.forcing=inverse_sigmoid"),
        case("attention, float32, minutes", "attention", "--minutes 0.12", "--precision float32"),
    ]  # fmt: skip


@dataclass
class Tally:
    """What has happened so far."""

    kills: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    runs: int = 0


class Trial:
    """One case in its folder."""

    def __init__(self, case: Case, work: Path, pairs: Path) -> None:
        self.case, self.work, self.pairs = case, work, pairs
        self.said = work / "said.txt"
        quick = ("--set", "training.save_seconds=0", "--set", "training.batch_tokens=300", "--threads", "1")
        self.words = ("--model", case.kind, *common.sizes(case.kind), *quick, *case.words)

    def start(self, out: Path) -> int:
        """Gives the command."""
        return common.start(("train", self.pairs, "--out", out, *self.words), self.said)

    def straight(self, out: Path) -> float:
        """The run that nobody stops; how many seconds it takes."""
        began = time.monotonic()
        code = common.wait(self.start(out))
        if code:
            raise SystemExit(f"{self.case.name}: the run itself fails with {code}\n{self.said.read_text()[-2000:]}")
        return time.monotonic() - began


def kill_at(pid: int, seconds: float) -> bool:
    """Waits, then kills; False if the run had ended by then."""
    time.sleep(seconds)
    return kill(pid)


def kill_in_save(pid: int, out: Path, least: float, after: float) -> bool:
    """From `least` seconds on waits for the hidden directory of a save, and kills `after` seconds later."""
    time.sleep(least)
    place = out / "checkpoints"
    while common_ended(pid) is None:
        try:
            saving = any(path.name.startswith(".step-") for path in place.iterdir())
        except OSError:
            saving = False
        if saving:
            time.sleep(after)
            return kill(pid)
        time.sleep(0.0003)
    return False


_codes: dict[int, int] = {}


def common_ended(pid: int) -> int | None:
    """The exit code, remembered: a process can be asked for it only once."""
    if pid not in _codes:
        code = common.ended(pid)
        if code is None:
            return None
        _codes[pid] = code
    return _codes[pid]


def kill(pid: int) -> bool:
    """kill -9; False if it had ended by itself."""
    if common_ended(pid) is not None:
        return False
    os.kill(pid, signal.SIGKILL)
    _codes[pid] = common.wait(pid)
    return _codes[pid] == -signal.SIGKILL


def phase(out: Path) -> str:
    """What the run was doing when it was killed, as its folder tells."""
    checkpoints = out / "checkpoints"
    names = [path.name for path in checkpoints.iterdir()] if checkpoints.is_dir() else []
    if any(name.startswith(".step-") for name in names):
        return "during a save"
    if (out / "MANIFEST.sha256").exists():
        return "the model written, being judged"
    if (out / "model.safetensors").exists():
        return "while the model was written"
    if not (out / "config.json").exists():
        return "while the data was prepared"
    return "between two saves" if names else "before the first save"


def newest(out: Path) -> int:
    """The update of the newest whole checkpoint; -1 if there is none."""
    from pairloom.checkpoint import newest_checkpoint

    found = newest_checkpoint(out / "checkpoints", lambda finding: None)
    return -1 if found is None else found.step


def differences(straight: Path, out: Path, case: Case) -> list[str]:
    """What is not the same."""
    found = []
    ours, theirs = (json.loads((place / "training.json").read_text("utf-8")) for place in (out, straight))
    if case.minutes:
        spent = ours["result"]["seconds"]
        return [] if spent <= case.minutes * 60 + 1.0 else [f"{spent:.1f} seconds of {case.minutes * 60:.1f}"]
    found += [name for name in SAME_BYTES if (straight / name).read_bytes() != (out / name).read_bytes()]
    for name in ("result", "development", "settings"):
        one, other = ({k: v for k, v in run[name].items() if k not in CLOCK} for run in (ours, theirs))
        found += [f"training.json: {name}"] if one != other else []
    logs = [timeless(place / "metrics.jsonl") for place in (straight, out)]
    return found + (["metrics.jsonl"] if logs[0] != logs[1] else [])


def timeless(log: Path) -> list[dict[str, Any]]:
    """The rows without the clock."""
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key not in CLOCK} for row in rows]


def one_run(trial: Trial, straight: Path, seconds: float, dice: random.Random, tally: Tally, kills: int) -> None:
    """One run, killed so many times, then let end."""
    from pairloom.errors import PairloomError
    from pairloom.weights import load_folder

    name = f"{trial.case.name}, run {tally.runs}"
    out = trial.work / "out"
    shutil.rmtree(out, ignore_errors=True)
    best_step = -1
    for _ in range(kills):
        pid = trial.start(out)
        if dice.random() < 0.45:
            struck = kill_in_save(pid, out, dice.uniform(0, 0.6 * seconds), dice.uniform(0, 0.012))
        else:
            struck = kill_at(pid, dice.uniform(0, seconds))
        if not struck:
            if common_ended(pid):
                tally.lost.append(f"{name}: ended with {common_ended(pid)}")
            break
        tally.kills += 1
        now = phase(out)
        tally.phases[now] += 1
        step = newest(out)
        if step < best_step:
            tally.lost.append(f"{name}: update {best_step} was saved, {step} is left")
        best_step = max(best_step, step)
        if now == "the model written, being judged":
            try:
                load_folder(out)
            except PairloomError as error:
                tally.lost.append(f"{name}: the written model does not load: {error}")
            best_step = -1  # the checkpoints may go now
    tally.runs += 1
    code = common_ended(pid) if not struck else common.wait(trial.start(out))
    if code:
        tally.lost.append(f"{name}: the last sitting ended with {code}: {trial.said.read_text()[-500:]}")
        return
    load_folder(out)
    found = differences(straight, out, trial.case)
    left = [path.name for path in out.rglob("*") if path.name.endswith(".writing") or path.name == "checkpoints"]
    if found:
        tally.different.append(f"{name}: {', '.join(found)}")
    if left:
        tally.lost.append(f"{name}: left behind: {', '.join(left)}")


def main() -> None:
    """Trains each case straight, then kills its runs in turn until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder for the runs")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    common.warm_up()
    pairs = common.write_pairs(given.work / "pairs.tsv")
    dice, tally, per_case = random.Random(given.seed), Tally(), dict[str, dict[str, Any]]()
    trials, began = [], time.monotonic()
    for number, case in enumerate(cases()):
        place = given.work / f"case-{number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        trial = Trial(case, place, pairs)
        seconds = trial.straight(place / "straight")
        print(f"{case.name}: {seconds:.1f} s", flush=True)
        trials.append((trial, place / "straight", seconds))
        per_case[case.name] = {"seconds": round(seconds, 1), "kills": 0, "runs": 0}
    while tally.kills < given.kills:
        for trial, straight, seconds in trials:
            before = tally.kills
            one_run(trial, straight, seconds, dice, tally, min(KILLS_A_RUN, given.kills - tally.kills))
            per_case[trial.case.name]["kills"] += tally.kills - before
            per_case[trial.case.name]["runs"] += 1
            print(f"{tally.kills} kills, {tally.runs} runs; lost {tally.lost}, different {tally.different}", flush=True)
            if tally.kills >= given.kills:
                break
    common.keep(
        "kill",
        f"python benchmarks/reliability/kill.py --kills {given.kills} --seed {given.seed}",
        {
            "kills": tally.kills,
            "during_a_save": tally.phases["during a save"],
            "phases": dict(tally.phases.most_common()),
            "runs": tally.runs,
            "runs_lost": tally.lost,
            "runs_different": tally.different,
            "minutes": round((time.monotonic() - began) / 60, 1),
            "cases": per_case,
        },
    )


if __name__ == "__main__":
    main()
