"""The same answer every time: ten thousand sentences in batches of 1, 7 and 64, shuffled, on 1 and 2 threads, by both
engines in float32.

    python benchmarks/reliability/same.py --work DIR [--count 10000]

The sentences are shared out among a model of each kind, half of them by greedy search and half with a beam of 4. The
texts of the plain engine in batches of 64 on one thread are what all others are held against. Where a text differs, the
two are forced through the model: if at the first token that differs the log-probabilities of both tokens lie closer
than 1e-5, or those of the two whole texts do, it is a near tie, and counted as one; anything else is a finding.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import common

NEAR = 1e-5
BATCHES, THREADS, ENGINES = (1, 7, 64), (1, 2), ("torch", "onnx")
KINDS = ("rnn", "attention", "transformer", "hybrid")


def trained(kind: str, work: Path) -> Path:
    """A model that has learnt to write words from the back, more or less."""
    out, pairs = work / kind, common.write_pairs(work / "pairs.tsv", 2000)
    wide = {"embedding": 32, "hidden": 48, "encoder_hidden": 32, "size": 32, "feed_forward": 64}
    sizes = [
        word for key, value in common.SIZES[kind].items() for word in ("--set", f"model.{key}={wide.get(key, value)}")
    ]
    words = ("--steps", 800, "--threads", 1, "--precision", "float32", "--set", "training.learning_rate=0.005")
    said = work / "said.txt"
    if not (out / "engine" / "MANIFEST.sha256").exists():
        shutil.rmtree(out, ignore_errors=True)
        if common.wait(common.start(("train", pairs, "--out", out, "--model", kind, *sizes, *words), said)):
            raise SystemExit(said.read_text("utf-8"))
        common.add_engine(out)
    return out


def sentences(count: int) -> list[str]:
    """Words, known and unknown, and several of them, of one to thirty letters."""
    dice = random.Random(9)
    known = [source for source, _ in common.words(2000)]
    fresh = [source for source, _ in common.words(2000, seed=77)]
    return [" ".join(dice.choices(dice.choice((known, fresh)), k=dice.choice((1, 1, 2, 3)))) for _ in range(count)]


class Judge:
    """Tells a near tie from a difference."""

    def __init__(self, folder: Path) -> None:
        from pairloom.decoding.plain import PlainEngine
        from pairloom.folder import read_folder

        self.engine = PlainEngine(read_folder(folder), threads=1)
        self.folder = self.engine.folder

    def gap(self, source: str, one: list[str], other: list[str]) -> float:
        """How far apart the two outputs are where they part, or as a whole: the smaller of both, in nats."""
        from pairloom.decoding.scoring import score_targets

        ids = self.folder.source.encode(source)[: self.folder.settings.source.max_tokens]
        names = {name: number for number, name in enumerate(self.folder.target.pieces)}
        targets = [[names[name] for name in tokens] for tokens in (one, other)]
        first, second = score_targets(self.engine.model, [ids, ids], targets, batch=2)
        pairs = list(zip([*targets[0], -1], [*targets[1], -1], strict=False))
        place = next((n for n, (a, b) in enumerate(pairs) if a != b), len(pairs) - 1)
        return min(abs(first.tokens[place] - second.tokens[place]), abs(first.score - second.score))


def compare(folder: Path, texts: list[str], beam: int, tally: Counter[str], findings: list[str]) -> None:
    """Every way to ask, against the first."""
    import pairloom

    judge = Judge(folder)
    places = list(range(len(texts)))
    random.Random(3).shuffle(places)
    right: list[Any] = []
    for engine, threads, batch, shuffled in product(ENGINES, THREADS, reversed(BATCHES), (False, True)):
        model = pairloom.load(folder, engine=engine, precision="float32", threads=threads)
        order = places if shuffled else list(range(len(texts)))
        found = list(model.outputs([texts[place] for place in order], beam=beam, batch=batch))
        said = dict(zip(order, found, strict=True))
        answers = [said[place] for place in range(len(texts))]
        right = right or answers
        for source, wanted, output in zip(texts, right, answers, strict=True):
            tally["compared"] += 1
            if output.text != wanted.text:
                gap = judge.gap(source, wanted.candidates[0].tokens, output.candidates[0].tokens)
                tally["near ties" if gap < NEAR else "different"] += 1
                if gap >= NEAR:
                    how = f"{folder.name}, beam {beam}, {engine}, {threads} threads, batch {batch}, shuffled {shuffled}"
                    findings.append(f"{how}: {source!r}: {wanted.text!r}, {output.text!r}, {gap:.2g} apart")
                    print(findings[-1], flush=True)


def main() -> None:
    """Trains, asks in every way, counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10_000)
    given = parser.parse_args()
    common.warm_up()
    given.work.mkdir(parents=True, exist_ok=True)
    folders = [trained(kind, given.work) for kind in KINDS]  # all of them first: threads cannot be forked
    texts, began = sentences(given.count), time.monotonic()
    tally, findings, rows = Counter[str](), list[str](), dict[str, dict[str, int]]()
    for number, folder in enumerate(folders):
        mine = texts[number :: len(folders)]
        for half, beam in enumerate((1, 4)):
            before = tally.copy()
            compare(folder, mine[half::2], beam, tally, findings)
            names = ("compared", "near ties", "different")
            rows[f"{folder.name}, beam {beam}"] = {name: tally[name] - before[name] for name in names}
            print(f"{folder.name}, beam {beam}: {rows[f'{folder.name}, beam {beam}']}", flush=True)
    facts = {
        "sentences": len(texts),
        "ways": len(BATCHES) * len(THREADS) * len(ENGINES) * 2,
        "engines": "torch and onnx, float32",
        **{name.replace(" ", "_"): tally[name] for name in ("compared", "near ties", "different")},
        "table": rows,
        "findings": findings[:100],
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    common.keep("same", f"python benchmarks/reliability/same.py --count {given.count}", facts)


if __name__ == "__main__":
    main()
