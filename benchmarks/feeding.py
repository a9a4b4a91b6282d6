"""What teacher forcing buys and exposure bias costs: one small model, fed in six ways while it learns.

    python benchmarks/feeding.py train --data DATA --runs RUNS [--work gre] [--steps 1200] [--seeds 3]
    python benchmarks/feeding.py draw            the pictures and the table of docs/study, from results/feeding.json

Every result is kept as soon as it is there, and a model that is finished in RUNS is not trained again, so the study
can be stopped and gone on with. DATA is described in README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from origin import commit, provenance
from torch import Tensor

import pairloom
from pairloom.learning.forcing import NEVER, feed
from pairloom.models.protocol import BOS, EOS, PAD, Model
from pairloom.text.pairs import PairsSettings, open_pairs
from pairloom.version import __version__
from pairloom.weights import load_folder
from pairloom.workflow.log import read_log

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "feeding.json"
STUDY = HERE.parent / "docs" / "study"
TABLE = re.compile(r"(<!-- feeding: [^>]*-->\n).*?(<!-- /feeding -->)", re.DOTALL)

FEEDINGS: dict[str, dict[str, Any]] = {
    "teacher": {},
    "ratio 0.75": {"forcing": "ratio", "forcing_ratio": 0.75},
    "linear": {"forcing": "linear"},
    "inverse sigmoid": {"forcing": "inverse_sigmoid"},
    "exponential": {"forcing": "exponential"},
    "free": {"forcing": "free"},
}
"""From the true token always to never."""

MULTI30K = {part: [f"multi30k/{name}.de", f"multi30k/{name}.en"] for part, name in
            (("train", "train"), ("dev", "val"), ("test", "test_2016_flickr"))}  # fmt: skip
SMALL = {"embedding": 64, "encoder_hidden": 64, "hidden": 128, "dropout": 0.3}
WORKS: dict[str, dict[str, Any]] = {
    **{
        language: {
            **{part: [f"g2p_sigmorphon2020/{language}_{part}.tsv"] for part in ("train", "dev", "test")},
            "model": SMALL,
            "metrics": ["wer", "per"],
        }
        for language in ("gre", "kor")
    },
    "multi30k": {**MULTI30K, "model": {**SMALL, "hidden": 256}, "metrics": ["bleu"]},
}
LONGEST = 40
"""Positions that are counted, at most."""


def main() -> int:
    """Trains, or draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "draw"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--work", choices=list(WORKS), default="gre")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    if given.what == "draw":
        write_study(json.loads(RESULTS.read_text("utf-8")))
        return 0
    if given.data is None or given.runs is None:
        parser.error("train needs --data and --runs")
    for seed in range(1, given.seeds + 1):
        for feeding in FEEDINGS:
            print(f"== {given.work}, seed {seed}, {feeding}", file=sys.stderr, flush=True)
            keep(measure(given.work, feeding, seed, given.steps, given.data, given.runs), given)
    return 0


# -- measuring -----------------------------------------------------------------------------------------------------


def measure(work: str, feeding: str, seed: int, steps: int, data: Path, runs: Path) -> dict[str, Any]:
    """Trains (or finds) one model and says how good it is, under teacher forcing and on its own."""
    chosen = WORKS[work]
    train, dev, test = ([str(data / name) for name in chosen[part]] for part in ("train", "dev", "test"))
    folder = runs / f"{work}-{steps}-{feeding.replace(' ', '-').replace('.', '')}-{seed}"
    training = {**FEEDINGS[feeding], "validations": 20, "patience": 1000}  # all spend the same budget
    model = pairloom.train(
        train, dev=dev, out=folder, steps=steps, seed=seed, threads=1, precision="float32",
        model=chosen["model"], training=training,
    )  # fmt: skip
    trained_at = folder.with_suffix(".commit")  # beside the folder, for a later judgement of the same model
    if not trained_at.exists():
        trained_at.write_text(commit(), "utf-8")
    facts = json.loads((folder / "training.json").read_text("utf-8"))
    log = [row for row in read_log(folder / "metrics.jsonl") if row["event"] == "validation"]
    judged = model.evaluate(test, chosen["metrics"], beam=1)
    return {
        "feeding": feeding,
        "seed": seed,
        "commit": trained_at.read_text("utf-8").strip(),
        "minutes": round(facts["result"]["seconds"] / 60, 2),
        "scores": {score.metric: score.value for score in judged.scores},
        "curve": {name: [row[name] for row in log] for name in ("progress", "loss", "exact")},
        "loss": min(row["loss"] for row in log),
        **by_position(folder, test),
    }


@torch.inference_mode()
def by_position(folder: Path, test: list[str]) -> dict[str, Any]:
    """How many test targets have a token at position t (`tokens`), and at how many it is wrong, after the true tokens
    (`forced`) and after the model's own by greedy search (`free`)."""
    loaded = load_folder(folder)
    pairs = list(open_pairs(test, PairsSettings(normal_form=loaded.settings.normal_form)))
    sources = [[*loaded.source.encode(pair.source), EOS] for pair in pairs]
    targets = [[*loaded.target.encode(pair.target), EOS] for pair in pairs]
    sums = {name: torch.zeros(LONGEST, dtype=torch.long) for name in ("tokens", "forced", "free")}
    for begin in range(0, len(pairs), 50):
        source, truth = padded(sources[begin : begin + 50]), padded(targets[begin : begin + 50])
        real = truth != PAD
        wrong = {name: said(loaded.model, source, truth, share) != truth for name, share in SHARES.items()}
        for name, counted in {"tokens": real, **{name: one & real for name, one in wrong.items()}}.items():
            found = counted.sum(0)[:LONGEST]
            sums[name][: len(found)] += found
    last = int((sums["tokens"] > 0).sum())
    return {"positions": {name: counts[:last].tolist() for name, counts in sums.items()}}


SHARES = {"forced": 1.0, "free": 0.0}


def said(model: Model, source: Tensor, truth: Tensor, share: float) -> Tensor:
    """[B, T] the most probable token after true or own ones; PAD, which is never right, after an early `</s>`."""
    memory = model.encode(source, source != PAD)
    begin = torch.cat([torch.full((len(truth), 1), BOS), truth[:, :-1]], dim=1)
    scores = model.logits(feed(model, memory, begin, share).hidden)
    scores[..., NEVER] = -torch.inf
    best = scores.argmax(2)
    if share == 0.0:
        ended = (best == EOS).cumsum(1) - (best == EOS).long() > 0
        best = best.masked_fill(ended, -1)
    return best


def padded(rows: list[list[int]]) -> Tensor:
    """[B, longest]"""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])


def keep(result: dict[str, Any], given: argparse.Namespace) -> None:
    """Adds one result to the file, in the place of an earlier one of the same kind."""
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"works": {}}
    work = found["works"].setdefault(given.work, {"runs": []})
    if work.get("steps") not in (None, given.steps):
        work["runs"] = []
    same = (result["feeding"], result["seed"])
    work["runs"] = [one for one in work["runs"] if (one["feeding"], one["seed"]) != same] + [result]
    work |= {
        "command": f"python benchmarks/feeding.py train --work {given.work} --steps {given.steps} "
        f"--seeds {given.seeds} --data DATA --runs RUNS",
        "steps": given.steps,
        "model": WORKS[given.work]["model"],
        **provenance(),
        "versions": {"pairloom": __version__, "torch": torch.__version__},
        "threads": 1,
        "precision": "float32",
    }
    RESULTS.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")


# -- showing -------------------------------------------------------------------------------------------------------


def write_study(found: dict[str, Any]) -> None:
    """Pictures beside the study, and the tables in it."""
    page = STUDY / "teacher-forcing.md"
    for name, work in found["works"].items():
        draw_learning(work, STUDY / f"feeding-{name}-learning.png")
        draw_positions(work, STUDY / f"feeding-{name}-positions.png")
    if page.exists():
        page.write_text(with_tables(page.read_text("utf-8"), found), "utf-8")


def with_tables(text: str, found: dict[str, Any]) -> str:
    """The page with every table as the results have it."""
    tables = "\n".join(table(name, work) for name, work in found["works"].items())
    return TABLE.sub(lambda match: match[1] + tables + match[2], text)


def table(name: str, work: dict[str, Any]) -> str:
    """One row a feeding: the mean over seeds, and the least and the most beside it."""
    metrics = list(work["runs"][0]["scores"])
    commits = ", ".join(sorted({run["commit"] for run in work["runs"]}))
    rows = [
        f"{name}, {work['steps']:,} updates, mean (least to most) over seeds; `{work['command']}`; "
        f"torch {work['versions']['torch']}, one thread, {work['precision']}, commit {commits}, {work['date']}",
        "",
        "| fed with | seeds | development loss, teacher forcing | "
        + " | ".join(f"{metric.upper()}, greedy" for metric in metrics)
        + " | token errors, true past | own past | distance |",
        "|---|---|---|" + "---|" * (len(metrics) + 3),
    ]
    for feeding, runs in grouped(work).items():
        cells = [spread([run["loss"] for run in runs], 3)]
        cells += [spread([run["scores"][metric] for run in runs], 1) for metric in metrics]
        cells += [spread([100 * error(run, past) for run in runs], 1) + "%" for past in ("forced", "free")]
        cells.append(spread([100 * (error(run, "free") - error(run, "forced")) for run in runs], 1))
        rows.append(f"| {feeding} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join([*rows, ""])


def grouped(work: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """feeding → its runs."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in work["runs"]:
        groups[run["feeding"]].append(run)
    return {feeding: groups[feeding] for feeding in FEEDINGS if feeding in groups}


def error(run: dict[str, Any], past: str) -> float:
    """Share of tokens, over all positions, that are wrong."""
    return sum(run["positions"][past]) / sum(run["positions"]["tokens"])


def spread(values: list[float], digits: int) -> str:
    """`0.512 (0.500 to 0.520)`"""
    mean, low, high = statistics.mean(values), min(values), max(values)
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


COLOURS = dict(zip(FEEDINGS, ("#1f2933", "#2563a8", "#3f9c8f", "#8a63b0", "#d9782b", "#c0392b"), strict=True))


def draw_learning(work: dict[str, Any], path: Path) -> None:
    """Development loss and share of wrong targets over the budget, one line a feeding, the mean of its seeds."""
    from matplotlib.ticker import PercentFormatter

    from pairloom.pictures.figure import calm, drawing, new_figure, save

    with drawing():
        figure = new_figure(8.6, 3.6)
        for place, (name, title) in enumerate(
            (("loss", "development loss, true past, nats a token"), ("exact", "development targets wrong, own past")), 1
        ):
            axes = figure.add_subplot(1, 2, place)
            calm(axes)
            axes.set_title(title, loc="left", fontsize=9)
            for feeding, runs in grouped(work).items():
                lines = [[1 - v for v in run["curve"][name]] if name == "exact" else run["curve"][name] for run in runs]
                mean = [statistics.mean(values) for values in zip(*lines, strict=True)]
                shares = runs[0]["curve"]["progress"]
                axes.plot(shares, mean, color=COLOURS[feeding], linewidth=1.6, label=feeding)
                axes.fill_between(
                    shares, *([f(v) for v in zip(*lines, strict=True)] for f in (min, max)),
                    color=COLOURS[feeding], alpha=0.12, linewidth=0,
                )  # fmt: skip
            axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
            axes.set_xlabel("budget spent", fontsize=8, loc="right")
            axes.set_ylim(bottom=0)
            if name == "exact":
                axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
                axes.legend(frameon=False, fontsize=8)
        save(figure, path, "png")


def draw_positions(work: dict[str, Any], path: Path) -> None:
    """Share of wrong tokens at each position, after the true past (dashed) and the model's own."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    from pairloom.pictures.figure import calm, drawing, new_figure, save

    shown = [name for name in ("teacher", "linear", "free") if name in grouped(work)]
    with drawing():
        figure, first, highest = new_figure(8.6, 3.2), None, 0.0
        for place, feeding in enumerate(shown, 1):
            first = axes = figure.add_subplot(1, len(shown), place, sharey=first)
            calm(axes)
            axes.set_title(f"learned with: {feeding}", loc="left", fontsize=9)
            runs = grouped(work)[feeding]
            tokens = [sum(t) for t in zip(*(run["positions"]["tokens"] for run in runs), strict=True)]
            last = sum(count >= 100 * len(runs) for count in tokens)  # fewer say nothing
            for past, style in (("free", "-"), ("forced", (0, (4, 2)))):
                wrong = [sum(t) for t in zip(*(run["positions"][past] for run in runs), strict=True)]
                label = "after its own tokens" if past == "free" else "after the true tokens"
                line = [w / t for w, t in zip(wrong[:last], tokens[:last], strict=True)]
                places, highest = range(1, last + 1), max(highest, *line)
                axes.plot(places, line, color=COLOURS[feeding], linestyle=style, linewidth=1.6, label=label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
            axes.set_xlabel("position in the target", fontsize=8, loc="right")
            axes.set_ylim(0, 1.3 * highest)  # for all of them, with room for the legend
            axes.legend(frameon=False, fontsize=8, loc="upper left")
        save(figure, path, "png")


if __name__ == "__main__":
    raise SystemExit(main())
