"""Word vectors: how fast they are learned beside gensim, and what they bring to models that learn from few pairs.

    python benchmarks/vectors.py speed --data DATA --peers PEERS --runs RUNS [--rounds 5] [--threads 2]
    python benchmarks/vectors.py pairs --data DATA --runs RUNS [--seeds 3]

`speed` learns vectors of English (163,801 sentences of Tatoeba) with the same settings, each toolkit in a process of
its own, in turn; counted are the words of the text in a second of learning, not reading. `pairs` trains on the first
1,000 and 10,000 pairs of Multi30k with embeddings from chance, and with vectors of the same tokens that were learned
from all 29,000 sentences of each side, and judges on test_2016. What is finished in RUNS is not trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from origin import pairloom, provenance
from peers import environment, python_of, say, version_of

from pairloom.version import __version__

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "vectors.json"
SETTINGS = {"size": 100, "window": 5, "negative": 5, "sample": 1e-3, "epochs": 5, "min_count": 5}
SIZES = ("model.embedding=128", "model.encoder_hidden=128", "model.hidden=256")
PASSES = {1_000: 60, 10_000: 20}
"""Pairs → epochs."""


def speed(data: Path, peers: Path, runs: Path, rounds: int, threads: int) -> dict[str, Any]:
    """Words a second, of both."""
    text = runs / "english.txt"
    if not text.exists():
        lines = (data / "tatoeba_fra" / "train.tsv").read_text("utf-8").splitlines()
        words = (" ".join(re.findall(r"\w+|[^\w\s]", line.split("\t")[0].lower())) for line in lines)
        text.write_text("".join(f"{line}\n" for line in words), "utf-8")
    gensim = python_of("gensim", peers)
    measured: dict[str, list[float]] = {"pairloom": [], "gensim": []}
    for number in range(rounds):
        for name, python, loop in (("pairloom", Path(sys.executable), "own"), ("gensim", gensim, "gensim")):
            script = HERE / "loops" / f"vectors_{loop}.py"
            command = [python, script, text, runs / f"{name}.vec", str(threads), json.dumps(SETTINGS)]
            found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(threads))
            measured[name].append(float(found.stdout.split()[-1]))
            say(f"round {number + 1}: {name} {measured[name][-1]:,.0f} words/s")
    ratios = [ours / theirs for ours, theirs in zip(*measured.values(), strict=True)]
    return {
        "words_per_second": {name: [round(one) for one in each] for name, each in measured.items()},
        "median": {name: round(statistics.median(each)) for name, each in measured.items()},
        "ratio": round(statistics.median(ratios), 2),
        "words": len(text.read_text("utf-8").split()),
        "threads": threads,
        "versions": {"pairloom": __version__, "gensim": version_of(gensim, "gensim")},
        **origin(),
    }


def pairs(data: Path, runs: Path, seeds: int) -> dict[str, Any]:
    """BLEU on test_2016 with and without vectors, for every number of pairs and seed."""
    found: list[dict[str, Any]] = []
    for count, epochs in PASSES.items():
        sides = [some_lines(data / "multi30k" / f"train.{side}", runs, count) for side in ("de", "en")]
        for seed in range(1, seeds + 1):
            without = train(sides, data, runs / f"{count}-chance-{seed}", epochs, seed)
            learned = runs / f"{count}.vec"
            if not learned.exists():
                texts = [str(data / "multi30k" / f"train.{side}") for side in ("de", "en")]
                pairloom("vectors", *texts, "--tokenizer", str(without), "--out", str(learned), "--size", "128",
                         "--epochs", "10", "--threads", "1")  # fmt: skip
            given = train(sides, data, runs / f"{count}-vectors-{seed}", epochs, seed, ["--vectors", str(learned)])
            for start, folder in (("chance", without), ("vectors", given)):
                test = [str(data / "multi30k" / f"test_2016_flickr.{side}") for side in ("de", "en")]
                scores = json.loads(pairloom("evaluate", str(folder), *test, "--json"))["scores"]
                value = next(one["value"] for one in scores if one["metric"] == "bleu")
                facts = json.loads((folder / "training.json").read_text("utf-8"))
                loss = facts["result"]["best_loss"]
                found.append({"pairs": count, "start": start, "seed": seed, "bleu": value, "loss": loss})
                say(f"{count:,} pairs, {start}, seed {seed}: {value:.2f} BLEU, development loss {loss:.3f}")
    return {"epochs": {str(count): epochs for count, epochs in PASSES.items()}, "runs": found, **origin()}


def some_lines(path: Path, runs: Path, count: int) -> Path:
    """The first lines of a file, in a file."""
    some = runs / f"{count}{path.suffix}"
    some.write_text("".join(path.open(encoding="utf-8").readlines()[:count]), "utf-8")
    return some


def train(sides: list[Path], data: Path, out: Path, epochs: int, seed: int, more: list[str] | None = None) -> Path:
    """A small attention LSTM."""
    sets = [word for size in SIZES for word in ("--set", size)]
    dev = [str(data / "multi30k" / f"val.{side}") for side in ("de", "en")]
    pairloom("train", *map(str, sides), "--dev", *dev, "--epochs", str(epochs), "--seed", str(seed), "--threads", "1",
             *sets, *(more or []), "--out", str(out))  # fmt: skip
    return out


def origin() -> dict[str, str]:
    """When, where, and of which commit."""
    return provenance()


def main() -> None:
    """Measures one part, and keeps it beside the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("speed", "pairs"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", type=Path, help="environments of the peers, made if need be")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    if given.part == "speed":
        found = speed(given.data, given.peers, given.runs, given.rounds, given.threads)
    else:
        os.environ["OMP_NUM_THREADS"] = "1"
        found = pairs(given.data, given.runs, given.seeds)
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**results, given.part: found}, indent=1) + "\n", "utf-8")
    print(RESULTS)


if __name__ == "__main__":
    main()
