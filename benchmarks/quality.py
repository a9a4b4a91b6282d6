"""Trains on real data with the defaults, judges on the test set, and keeps the result: benchmarks/results/NAME.json.

    python benchmarks/quality.py --data DATA --runs RUNS [NAME ...]

DATA is a folder that holds the data sets (see README.md beside this file); RUNS gets a folder for each model. A model
that is finished in RUNS is not trained again, only judged, since the same `pairloom train` command is the same run.
With --processor-time a run uses one thread, and its minutes are those of the processor: for a machine that is shared.
NAME-3 is NAME with the seed 3, NAME-x5 the ensemble of NAME-1 to NAME-5, which are trained where they are not there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from family import FAMILY
from origin import PAIRLOOM, commit, machine, pairloom, today
from samples import QUESTIONS, UTTERANCES

HERE = Path(__file__).parent
PROCESSOR_TIME = [sys.executable, str(HERE / "loops" / "processor_time.py")]
MULTI30K = ["multi30k/train.de", "multi30k/train.en", "--dev", "multi30k/val.de", "multi30k/val.en"]
MULTI30K_BACK = ["multi30k/train.en", "multi30k/train.de", "--dev", "multi30k/val.en", "multi30k/val.de"]
MULTI30K_TEST = ["multi30k/test_2016_flickr.de", "multi30k/test_2016_flickr.en"]


def task(name: str, train: str, dev: str, test: str, minutes: int) -> dict[str, Any]:
    """A task by its recipe. Without `dev` a slice of the training pairs is held out."""
    held_out = ["--dev", dev] if dev else []
    return {"train": [train, *held_out, "--task", name, "--minutes", str(minutes)], "test": [test], "options": []}


def pronunciation(language: str) -> dict[str, Any]:
    """SIGMORPHON 2020, task 1: 3,600 words a language; one recipe for all."""
    train, dev, test = (f"g2p_sigmorphon2020/{language}_{part}.tsv" for part in ("train", "dev", "test"))
    return task("pronounce", train, dev, test, 10)


PAPERS = {"sutskever-2014": 20, "bahdanau-2015": 20, "luong-2015": 20, "vaswani-2017": 20}
"""Small recipe → minutes, a third of the hour that it is made for."""


def paper(name: str) -> dict[str, Any]:
    """Multi30k German → English with the small recipe of a paper."""
    words = ["--recipe", f"{name}-small", "--minutes", str(PAPERS[name])]
    return {"train": [*MULTI30K, *words], "test": MULTI30K_TEST, "options": []}


def member(options: str) -> dict[str, Any]:
    """Greek pronunciation with one of the family."""
    found = pronunciation("gre")
    return {**found, "train": [*found["train"], *options.split()]}


def inflection(language: str, amount: str, minutes: int) -> dict[str, Any]:
    """CoNLL-SIGMORPHON 2018, task 1: 10,000 (high) or 1,000 (medium) forms."""
    train, dev, test = (f"inflection_2018/{language}-{part}.tsv" for part in (f"train-{amount}", "dev", "test"))
    return task("inflect", train, dev, test, minutes)


MEASUREMENTS: dict[str, dict[str, Any]] = {
    "multi30k-20": {"train": [*MULTI30K, "--minutes", "20"], "test": MULTI30K_TEST, "options": []},
    # The same on a processor without AVX-512, which computes in float32.
    "multi30k-20-avx2": {"train": [*MULTI30K, "--minutes", "20"], "test": MULTI30K_TEST, "options": []},
    "multi30k-5": {"train": [*MULTI30K, "--minutes", "5"], "test": MULTI30K_TEST, "options": []},
    "multi30k-10": {"train": [*MULTI30K, "--minutes", "10"], "test": MULTI30K_TEST, "options": []},
    "multi30k-60": {"train": [*MULTI30K, "--minutes", "60"], "test": MULTI30K_TEST, "options": []},
    "multi30k-hybrid": {
        "train": [*MULTI30K, "--model", "hybrid", "--minutes", "30"],
        "test": MULTI30K_TEST,
        "options": [],
    },
    "multi30k-en-de": {"train": [*MULTI30K_BACK, "--minutes", "60"], "test": MULTI30K_TEST[::-1], "options": []},
    "multi30k-rnn-plain": {
        "train": [*MULTI30K, "--model", "rnn", "--minutes", "20", "--set", "model.reverse_source=false"],
        "test": MULTI30K_TEST,
        "options": [],
    },
    "multi30k-rnn": {
        "train": [*MULTI30K, "--model", "rnn", "--minutes", "20"],
        "test": MULTI30K_TEST,
        "options": [],
    },
    "multi30k-transformer": {
        "train": [*MULTI30K, "--model", "transformer", "--minutes", "30"],
        "test": MULTI30K_TEST,
        "options": [],
    },
    **{name: paper(name) for name in PAPERS},
    **{name: member(options) for name, (options, _) in FAMILY.items()},
    **{language: pronunciation(language) for language in ("fre", "gre", "hin", "hun", "ice", "kor")},
    "cmudict": task("pronounce", *(f"g2p_cmudict_split/{part}.tsv" for part in ("train", "dev", "test")), 30),
    "cmudict-20": task("pronounce", *(f"g2p_cmudict_split/{part}.tsv" for part in ("train", "dev", "test")), 20),
    "german-high": inflection("german", "high", 10),
    "german-medium": inflection("german", "medium", 5),
    "turkish-high": inflection("turkish", "high", 10),
    "turkish-medium": inflection("turkish", "medium", 5),
    # Its development words are none of the training words, most of the test's are: so pairs are held out instead.
    "spelling": task("spell", "spelling_norvig/train.tsv", "", "spelling_norvig/testset1.tsv", 15),
    # Of this corpus only training and development tokens are at hand: the latter are the test, and never seen before.
    "german-anselm": task("modernize", "histnorm/german-anselm.train.txt", "", "histnorm/german-anselm.dev.txt", 10),
    "sae4k": {
        **task("summarize", "sae4k_ko/train.tsv", "sae4k_ko/dev.tsv", "sae4k_ko/dev.tsv", 15),
        "samples": UTTERANCES,
    },
    "chat": {
        **task("chat", "chatbot_ko/train.tsv", "chatbot_ko/dev.tsv", "chatbot_ko/dev.tsv", 10),
        "samples": QUESTIONS,
    },
    "chatbot": {
        "train": ["chatbot_ko/train.tsv", "--dev", "chatbot_ko/dev.tsv", "--minutes", "5"],
        "test": ["chatbot_ko/dev.tsv"],
        "options": ["--metrics", "chrf"],
        "samples": QUESTIONS,
    },
}
"""Name → what is trained, on what it is judged, and what it is asked besides."""


class Wanted(NamedTuple):
    """One measurement: `kor`, with a seed `kor-3`, as an ensemble of the seeds 1 to 5 `kor-x5`."""

    name: str
    work: str  # key of MEASUREMENTS
    seeds: tuple[int, ...]  # none: the default's
    ensemble: bool


def wanted(name: str) -> Wanted:
    """What a name asks for."""
    if name in MEASUREMENTS:
        return Wanted(name, name, (), False)
    work, _, rest = name.rpartition("-")
    if work not in MEASUREMENTS or not rest.removeprefix("x").isdigit():
        known = ", ".join(MEASUREMENTS)
        raise argparse.ArgumentTypeError(f"no measurement {name!r}; there are {known}, each also as NAME-SEED, NAME-xN")
    if rest.startswith("x"):
        return Wanted(name, work, tuple(range(1, int(rest[1:]) + 1)), True)
    return Wanted(name, work, (int(rest),), False)


def main() -> int:
    """One measurement after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", type=wanted, metavar="NAME", help="default: all of them")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seed", type=int, help="NAME means NAME-SEED")
    parser.add_argument("--steps", type=int, help="a trial: so many updates on one thread, and no result is kept")
    parser.add_argument("--processor-time", action="store_true", help="one thread; minutes of the processor")
    given = parser.parse_args()
    if given.processor_time:
        PAIRLOOM[:] = PROCESSOR_TIME
        os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    suffix = "" if given.seed is None else f"-{given.seed}"
    for one in given.names or map(wanted, MEASUREMENTS):
        chosen = one if one.seeds else wanted(one.name + suffix)
        print(f"== {chosen.name}", file=sys.stderr)
        options = ["--threads", "1"] if given.processor_time or given.steps is not None else []
        options += [] if given.steps is None else ["--steps", str(given.steps)]
        result = measure(chosen, given.data, given.runs, options)
        if given.processor_time:
            result["clock"] = "processor"
        if given.steps is not None:
            print(json.dumps({name: result[name] for name in ("name", "lines", "updates")}))
            continue
        path = HERE / "results" / f"{chosen.name}.json"
        path.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", "utf-8")
        print(path)
    return 0


def measure(one: Wanted, data: Path, runs: Path, options: list[str]) -> dict[str, Any]:
    """Trains (or finds) the models, judges them, and returns all that is worth keeping."""
    chosen = MEASUREMENTS[one.work]
    words = [word for word in chosen["train"] if "--steps" not in options or word not in _budget(chosen["train"])]
    members = [
        train([*words, *options, *([] if seed is None else ["--seed", str(seed)])], data, runs / _folder(one, seed))
        for seed in one.seeds or (None,)
    ]
    folders = [str(runs / _folder(one, seed)) for seed in one.seeds or (None,)]
    judged = answer_of("evaluate", *folders, *_places(chosen["test"], data), *chosen["options"])
    names = " ".join(Path(folder).name for folder in folders)
    result: dict[str, Any] = {
        **together(members),
        "name": one.name,
        "judged_by": " ".join(["pairloom evaluate", names, *chosen["test"], *chosen["options"]]),
        "date": today(),
        "machine": machine(),
        "lines": judged["lines"],
        "scores": judged["scores"],
    }
    if "samples" in chosen:
        result |= _replies(folders, _places(chosen["test"], data), chosen["samples"])
    return result


def _folder(one: Wanted, seed: int | None) -> str:
    return one.work if seed is None else f"{one.work}-{seed}"


def _budget(words: list[str]) -> list[str]:
    place = words.index("--minutes" if "--minutes" in words else "--steps")
    return words[place : place + 2]


def train(words: list[str], data: Path, folder: Path) -> dict[str, Any]:
    """One model: trained, or found finished."""
    trained = answer_of("train", *_places(words, data), "--out", str(folder))
    trained_at = folder.with_name(folder.name + ".commit")  # beside the folder, for a later judgement of the same model
    if not trained["finished_before"]:
        trained_at.write_text(commit(), "utf-8")
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    speeds = sorted(row["tokens_per_second"] for row in log if row["event"] == "step")
    return {
        "command": f"pairloom train {' '.join(words)} --out {folder.name}",
        "commit": trained_at.read_text("utf-8").strip(),
        "seed": trained["seed"],
        "versions": trained["versions"],
        "precision": trained["precision"],
        "threads": json.loads((folder / "training.json").read_text("utf-8"))["machine"]["threads"],
        "parameters": trained["parameters"],
        "updates": trained["result"]["step"],
        "minutes": round(trained["result"]["seconds"] / 60, 2),
        "tokens_per_second": round(speeds[len(speeds) // 2]),
    }


def together(members: list[dict[str, Any]]) -> dict[str, Any]:
    """The facts of one model, or of an ensemble: sums of what is spent, and the seeds."""
    first = members[0]
    if len(members) == 1:
        return first
    sums = {name: sum(member[name] for member in members) for name in ("parameters", "updates", "minutes")}
    seeds = ", ".join(str(member["seed"]) for member in members)
    commits = " ".join(dict.fromkeys(member["commit"] for member in members))
    middle = sorted(member["tokens_per_second"] for member in members)[len(members) // 2]
    command = f"{first['command']}     # and so on, for the seeds {seeds}"
    return {**first, **sums, "command": command, "commit": commits, "seed": seeds, "tokens_per_second": middle}


def _replies(folders: list[str], test: list[str], asked: Sequence[str]) -> dict[str, Any]:
    """Perplexity of the given answers, and what the model says to twenty lines of our own."""
    scored = [json.loads(line) for line in pairloom("score", *folders, *test, "--json").splitlines()]
    lines = "".join(f"{line}\n" for line in asked)
    said = pairloom("generate", *folders, "-", stdin=lines).splitlines()
    return {"scored": scored[-1], "samples": [list(both) for both in zip(asked, said, strict=True)]}


def answer_of(*words: str) -> dict[str, Any]:
    """One command with --json."""
    content: dict[str, Any] = json.loads(pairloom(*words, "--json"))
    return content


def _places(words: list[str], data: Path) -> list[str]:
    """Names of files are below DATA; options are not."""
    return [str(data / word) if "/" in word else word for word in words]


if __name__ == "__main__":
    raise SystemExit(main())
