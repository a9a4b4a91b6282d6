"""How fast training and answering are, as a first mark: one process, several rounds in turn, medians.

    python benchmarks/speed.py --data DATA --model RUNS/multi30k-20 [--rounds 5]

Training: Multi30k with the default sentence model (bi-LSTM 2 x 256, LSTM 512, embeddings 256, joint BPE of 8,000),
target tokens a second with `</s>`, without padding. Answering: test_2016 through the torch engine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pairloom
from pairloom.workflow.events import Step

HERE = Path(__file__).parent
PEERS = {
    "training": "OpenNMT-py without input feeding 2,410; fairseq 2,115; eole 1,700; a tutorial 1,215; Marian 760",
    "greedy, batch of 64": "CTranslate2 int8 (small Transformer) 15,600; fairseq RNN 4,173; OpenNMT-py RNN 2,966",
    "beam 5, batch of 64": "CTranslate2 int8 3,515; fairseq RNN 1,416; OpenNMT-py RNN 1,276",
    "greedy, one at a time": "CTranslate2 int8 3,018; fairseq RNN 270; OpenNMT-py RNN 237",
    "beam 5, one at a time": "CTranslate2 int8 1,301; fairseq RNN 146; OpenNMT-py RNN 137",
}


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    model = pairloom.load(given.model)
    sources = (given.data / "multi30k" / "test_2016_flickr.de").read_text("utf-8").splitlines()
    works: dict[str, Callable[[], float]] = {
        "training": lambda: train(given.data / "multi30k"),
        "greedy, batch of 64": lambda: answer(model, sources, 1, 64),
        "beam 5, batch of 64": lambda: answer(model, sources, 5, 64),
        "greedy, one at a time": lambda: answer(model, sources[:100], 1, 1),
        "beam 5, one at a time": lambda: answer(model, sources[:50], 5, 1),
    }
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(given.rounds):
        for name, work in works.items():
            found[name].append(work())
            print(f"{name}: {found[name][-1]:,.0f} tokens/s", flush=True)
    rows = [
        {
            "what": name,
            "median": round(statistics.median(values)),
            "low": round(min(values)),
            "high": round(max(values)),
            "beside": PEERS[name],
        }
        for name, values in found.items()
    ]
    how = (
        f"`python benchmarks/speed.py`, {given.rounds} rounds in turn, torch engine, two threads. The peers were not "
        "run in the same sitting, so take the order of magnitude only."
    )
    content: dict[str, Any] = {"how": how, "rows": rows}
    (HERE / "results" / "speed.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def train(data: Path) -> float:
    """Median speed of 100 updates, after 20 to warm up."""
    with tempfile.TemporaryDirectory() as out:
        events = pairloom.training(
            [data / "train.de", data / "train.en"], dev=[data / "val.de", data / "val.en"], out=out, steps=2000
        )
        speeds = []
        for event in events:
            if isinstance(event, Step):
                speeds.append(event.tokens_per_second)
            if len(speeds) > 5:
                break
        return statistics.median(speeds[1:])


def answer(model: pairloom.Model, sources: list[str], beam: int, batch: int) -> float:
    """Output tokens a second, `</s>` counted, encoder and text included."""
    began = time.perf_counter()
    outputs = list(model.outputs(sources, beam=beam, batch=batch))
    elapsed = time.perf_counter() - began
    return sum(len(output.candidates[0].tokens) + 1 for output in outputs) / elapsed


if __name__ == "__main__":
    main()
