"""What a shortlist of the vocabulary brings and costs.

    python benchmarks/shortlist.py quality --data DATA --model RUNS/A
    python benchmarks/shortlist.py speed   --data DATA --model RUNS/A [--rounds 5]

RUNS/A is a model of Multi30k, German to English; its lists are made of the training pairs, in three sizes, and it
answers test_2016 with each of them and without. The first says in float32 and int8 how many texts are the same, and the
BLEU; it does not mind other work on the machine. The second, two minutes alone on it, adds target tokens a second
(`</s>` counted) in int8: text in, text out, in one process, all of them in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from origin import provenance

from pairloom.decoding.choice import Engines
from pairloom.engine.core import Engine
from pairloom.engine.products import Precision
from pairloom.engine.stored import load_arrays
from pairloom.folder import Folder, model_settings, read_folder
from pairloom.metrics import score
from pairloom.text.corpus import build_corpus
from pairloom.text.likely import Likely, find_likely
from pairloom.workflow.doctor import examine
from pairloom.workflow.model import Model

RESULT = Path(__file__).parent / "results" / "shortlist.json"
SIZES = ((16, 128), (64, 256), (128, 1024))
"""Words for each token of the source at most, words for every source."""
WHOLE = "the whole vocabulary"
BEAMS = {"greedy": 1, "beam 5": 5}
PRECISIONS: tuple[Precision, ...] = ("float32", "int8")


class Work(NamedTuple):
    """One way of asking."""

    beam: int
    batch: int
    lines: int


WORKS = {
    "greedy, batches of 64": Work(1, 64, 1000),
    "beam 5, batches of 64": Work(5, 64, 1000),
    "greedy, a line at a time": Work(1, 1, 200),
    "beam 5, a line at a time": Work(5, 1, 200),
}


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("quality", "speed"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    folder, data = read_folder(given.model), given.data / "multi30k"
    sources = read(data / "test_2016_flickr.de")
    lists = made(folder, data)
    found: dict[str, Any] = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    if given.what == "quality":
        found |= {"vocabulary": folder.settings.target.size, "lines": len(sources)}
        found["words"] = {name: words(folder, likely, sources) for name, likely in lists.items()}
        references = [[line] for line in read(data / "test_2016_flickr.en")]
        found["quality"] = {
            precision: quality(models(folder, lists, precision, given.threads), sources, references)
            for precision in PRECISIONS
        }
    else:
        facts = examine()
        found |= {"threads": given.threads, "rounds": given.rounds, "processor": facts.processor}
        found |= provenance()
        found["speed"] = speed(models(folder, lists, "int8", given.threads), sources, given.rounds)
    RESULT.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    print(json.dumps(found, indent=2))


def read(path: Path) -> list[str]:
    """Its lines."""
    return path.read_text("utf-8").splitlines()


def made(folder: Folder, data: Path) -> dict[str, Likely]:
    """The lists of every size, from the training pairs."""
    settings = folder.settings
    with TemporaryDirectory() as place:
        pairs = zip(read(data / "train.de"), read(data / "train.en"), strict=True)
        limits = settings.source.max_tokens, settings.target.max_tokens
        corpus = build_corpus(Path(place) / "pairs", pairs, folder.source, folder.target, *limits, "")
        sizes = settings.source.size, settings.target.size
        return {
            f"{each} a token, {always} always": find_likely(
                corpus.source_side, corpus.target_side, sizes, joint=settings.joint, each=each, always=always
            )
            for each, always in SIZES
        }


def models(folder: Folder, lists: dict[str, Likely], precision: Precision, threads: int) -> dict[str, Model]:
    """The model with every list, and without."""
    settings = folder.settings
    arrays, own = load_arrays(folder.path, settings, precision), model_settings(settings)
    found = {}
    for name, likely in ((WHOLE, None), *lists.items()):
        engine = Engine(
            settings.kind, own, settings.target.size, arrays, precision=precision, threads=threads,
            likely=None if likely is None else likely._asdict(),
        )  # fmt: skip
        found[name] = Model(folder, engines=Engines(engine, required=True))
    return found


def words(folder: Folder, likely: Likely, sources: Sequence[str]) -> dict[str, int]:
    """How many are listed for a line, and for 16 or 32 lines of like length together: mean."""
    rows = sorted(folder.source.encode_all(list(sources)), key=len)
    each = [np.union1d(likely.by_source[row], likely.always) for row in rows]
    found = {}
    for count in (1, 16, 32):
        groups = [each[begin : begin + count] for begin in range(0, len(each), count)]
        found[str(count)] = round(statistics.mean(len(np.unique(np.concatenate(group))) for group in groups))
    return found


def quality(asked: dict[str, Model], sources: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Any]:
    """BLEU, and the share of texts that are those without a list, of every search."""
    found: dict[str, Any] = {name: {} for name in asked}
    for search, beam in BEAMS.items():
        texts = {name: model.generate(sources, beam=beam) for name, model in asked.items()}
        for name, said in texts.items():
            same = sum(one == other for one, other in zip(said, texts[WHOLE], strict=True)) / len(said)
            bleu = score(said, [list(one) for one in references], ["bleu"])[0].value
            found[name][search] = {"bleu": round(bleu, 2), "same": round(same, 4)}
    return found


def speed(asked: dict[str, Model], sources: Sequence[str], rounds: int) -> dict[str, Any]:
    """Target tokens a second of every work: all rounds, their median, and that of how many times the whole's it is."""
    measured: dict[str, dict[str, list[float]]] = {work: {name: [] for name in asked} for work in WORKS}
    for number in range(rounds + 1):
        for work, how in WORKS.items():
            lines = sources[:: max(1, len(sources) // how.lines)][: how.lines]
            for name, model in asked.items():
                rate = tokens_a_second(model, lines, how)
                if number:  # the first opens the graphs
                    measured[work][name].append(rate)
    return {
        work: {
            name: {
                "rounds": [round(rate) for rate in rates],
                "median": round(statistics.median(rates)),
                "ratio": round(statistics.median(np.array(rates) / np.array(found[WHOLE])), 3),
            }
            for name, rates in found.items()
        }
        for work, found in measured.items()
    }


def tokens_a_second(model: Model, lines: Sequence[str], how: Work) -> float:
    """One pass over the lines."""
    parts = [[line] for line in lines] if how.batch == 1 else [list(lines)]
    began, tokens = time.perf_counter(), 0
    for part in parts:
        for output in model.outputs(part, beam=how.beam, batch=how.batch):
            tokens += len(output.candidates[0].tokens) + 1
    return tokens / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
