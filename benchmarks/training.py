"""How fast pairloom trains beside toolkits that pip installs: the same data, sizes, batches and threads, in turn.

    python benchmarks/training.py --data DATA --peers PEERS --runs RUNS [--rounds 5] [--threads 2] [WORK ...]

Each system trains in a process of its own, one after the other, round after round; of every process the median over
windows of five or twenty updates is taken (the first two left out), and of those the median over the rounds. Sentences
are cut into the same tokens for all: those of the corpus that pairloom makes. Batches hold 64 sentences of like length
(128 words of CMUdict); pairloom fills batches by tokens, so many that as many sentences go into one on average.
Target tokens are counted with `</s>` and without padding.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from origin import provenance
from peers import PEERS, environment, python_of, say, version_of

from pairloom.text.batches import BatchSettings, epoch_batches
from pairloom.text.corpus import Corpus
from pairloom.version import __version__
from pairloom.workflow.prepare import open_data, prepare
from pairloom.workflow.settings import RunSettings

HERE = Path(__file__).parent
LOOPS = HERE / "loops"
OURS = re.compile(r"^speed ([0-9.]+) ([0-9.]+)")
OPENNMT = re.compile(r"/ *(?P<speed>[0-9]+) tok/s")
FOREIGN = 0.2
"""Share of the processor that others may use while a process is measured; if it is more, the process is measured again,
up to three times."""

LEFT_OUT = 2
"""Windows in which a process is still warming up."""


class System(NamedTuple):
    """One of those that are compared in a work."""

    name: str
    command: list[str]
    speed: Callable[[str], float | None]  # a line of its output → its speed, if it says one


class Work(NamedTuple):
    """What is trained."""

    what: str
    unit: str  # of the speed
    systems: Callable[[Path, Path, Path], list[System]]  # data, peers, runs


def tokens_a_second(line: str) -> float | None:
    """Of the scripts in `loops`."""
    found = OURS.match(line)
    return float(found[1]) if found else None


def words_a_second(line: str) -> float | None:
    """The same, in pairs."""
    found = OURS.match(line)
    return float(found[2]) if found else None


def opennmt_speed(line: str) -> float | None:
    """OpenNMT-py writes `source/target tok/s`."""
    found = OPENNMT.search(line)
    return float(found["speed"]) if found else None


# -- the works ---------------------------------------------------------------------------------------------------------


def ours(name: str, settings: RunSettings, runs: Path, sentences: int, words: bool = False) -> tuple[System, Corpus]:
    """pairloom with so many sentences in a batch, on average; its corpus is made once and stays."""
    folder = runs / name
    (folder / "prepared").mkdir(parents=True, exist_ok=True)
    corpus = prepare(settings, open_data(settings), folder / "prepared").train
    given = settings.model_dump(exclude_defaults=True, mode="json")
    given["training"] = {**settings.training, "batch_tokens": tokens_for(corpus, sentences), "validations": 1}
    content = {
        **given,
        "steps": 10**6,
        "out": str(folder / "run"),
        "tokens_a_pair": float((corpus.target_lengths + 1).mean()),
    }
    (folder / "settings.json").write_text(json.dumps(content), "utf-8")
    command = [sys.executable, str(LOOPS / "own.py"), str(folder / "settings.json")]
    return System(name, command, words_a_second if words else tokens_a_second), corpus


def tokens_for(corpus: Corpus, sentences: int) -> int:
    """The `batch_tokens` with which a batch holds so many sentences on average."""
    low, high = 1, 100 * sentences
    while high - low > 1:
        middle = (low + high) // 2
        settings = BatchSettings(tokens=middle)
        count = len(epoch_batches(corpus.source_lengths, corpus.target_lengths, settings, 1, 0))
        low, high = (middle, high) if len(corpus) / count < sentences else (low, middle)
    return high


def write_ids(corpus: Corpus, folder: Path, size: int) -> None:
    """The corpus for the others: ids, one sentence a line, and the list of all ids."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, side in (("source", corpus.source_side), ("target", corpus.target_side)):
        sentences = np.split(np.asarray(side.tokens), np.asarray(side.offsets)[1:-1])
        lines = [" ".join(map(str, sentence)) for sentence in sentences]
        (folder / f"train.{name}").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "vocabulary").write_text("".join(f"{number}\n" for number in range(4, size)), "utf-8")


def multi30k(data: Path, **more: Any) -> RunSettings:
    """German → English, one BPE vocabulary of 8,000."""
    at = data / "multi30k"
    pairs, dev = ((str(at / f"{part}.de"), str(at / f"{part}.en")) for part in ("train", "val"))
    return RunSettings(pairs=pairs, dev=dev, joint=True, vocabulary=8000, **more)


def attention_rnn(data: Path, peers: Path, runs: Path) -> list[System]:
    """bi-LSTM 2 x 256, LSTM 512, embeddings 256."""
    own, corpus = ours("pairloom, attention LSTM", multi30k(data), runs, 64)
    ids = runs / "multi30k"
    write_ids(corpus, ids, 8000)
    loop = [str(python_of("base", peers)), str(LOOPS / "tutorial.py"), str(ids), "64"]
    return [
        own,
        System("OpenNMT-py, no input feeding", opennmt(peers, ids), opennmt_speed),
        System("a tutorial's loop", loop, tokens_a_second),
    ]


def opennmt(peers: Path, ids: Path) -> list[str]:
    """Its command, with a file of settings."""
    vocabulary = str(ids / "vocabulary")
    settings: dict[str, Any] = {
        "data": {"all": {"path_src": f"{ids}/train.source", "path_tgt": f"{ids}/train.target", "transforms": []}},
        "src_vocab": vocabulary, "tgt_vocab": vocabulary, "share_vocab": True, "share_embeddings": True,
        "encoder_type": "brnn", "decoder_type": "rnn", "rnn_type": "LSTM", "enc_layers": 1, "dec_layers": 1,
        "hidden_size": 512, "word_vec_size": 256, "src_word_vec_size": 256, "tgt_word_vec_size": 256,
        "global_attention": "general", "input_feed": 0, "bridge": False, "dropout": [0.3], "optim": "adam",
        "learning_rate": 0.001, "max_grad_norm": 1, "param_init": 0.1, "label_smoothing": 0.1,
        "batch_type": "sents", "batch_size": 64, "normalization": "tokens", "bucket_size": 6400,
        "bucket_size_init": 6400, "num_workers": 0, "prefetch_factor": 1, "report_every": 5, "seed": 1,
        "train_steps": 10**6, "valid_steps": 10**6, "save_checkpoint_steps": 10**6,
        "save_model": f"{ids}/opennmt/model",
    }  # fmt: skip
    path = ids / "opennmt.yaml"
    path.write_text(json.dumps(settings), "utf-8")  # JSON is YAML
    return [str(python_of("opennmt", peers)), "-m", "onmt.bin.train", "-config", str(path)]


def transformer(data: Path, peers: Path, runs: Path) -> list[System]:
    """d 256, feed-forward 1024, 4 heads, 3 + 3 layers."""
    own, corpus = ours("pairloom, Transformer", multi30k(data, kind="transformer"), runs, 64)
    ids = runs / "multi30k"
    write_ids(corpus, ids, 8000)
    loop = [str(python_of("huggingface", peers)), str(LOOPS / "huggingface.py"), str(ids), "64"]
    return [
        own,
        System("Hugging Face MarianMT", [*loop, "float32"], tokens_a_second),
        System("Hugging Face MarianMT, bfloat16", [*loop, "bfloat16"], tokens_a_second),
    ]


FEW = {"embedding": 128, "encoder_hidden": 128, "hidden": 256, "dropout": 0.3}
"""Sizes of the models that pronounce, of both toolkits."""


def greek(data: Path, peers: Path, runs: Path) -> list[System]:
    """The defaults for few words, whose decoder is fed; yoyodyne's is, too."""
    at = data / "g2p_sigmorphon2020"
    return pronunciation(at / "gre_train.tsv", at / "gre_dev.tsv", 64, {}, peers, runs)


def cmudict(data: Path, peers: Path, runs: Path) -> list[System]:
    """The same sizes without input feeding, as pairloom does with many words."""
    at = data / "g2p_cmudict_split"
    return pronunciation(at / "train.tsv", at / "dev.tsv", 128, FEW, peers, runs)


def pronunciation(train: Path, dev: Path, words: int, model: dict[str, Any], peers: Path, runs: Path) -> list[System]:
    """Spelling → sounds, both as characters and as symbols apart by spaces."""
    settings = RunSettings(
        pairs=(str(train),), dev=(str(dev),), source_unit="character", target_unit="space", model=model
    )
    own, _ = ours(f"pairloom, {train.stem}", settings, runs, words, words=True)
    folder = runs / f"yoyodyne-{train.stem}"
    folder.mkdir(exist_ok=True)
    (folder / "dev.tsv").write_text("".join(dev.open(encoding="utf-8").readlines()[:100]), "utf-8")
    path = folder / "settings.yaml"
    path.write_text(json.dumps(yoyodyne_settings(train, folder, words)), "utf-8")
    python = python_of("yoyodyne", peers)
    command = [str(python.parent / "yoyodyne"), "fit", "--config", str(path)]
    return [own, System("yoyodyne", command, words_a_second)]


def yoyodyne_settings(train: Path, folder: Path, words: int) -> dict[str, Any]:
    """Its LSTM with attention, of the sizes in `FEW`."""
    reader = {"embedding_size": 128, "hidden_size": 128, "layers": 1, "bidirectional": True, "dropout": 0.3}
    return {
        "seed_everything": 1,
        "trainer": {
            "accelerator": "cpu", "devices": 1, "precision": 32, "gradient_clip_val": 1, "max_steps": 10**6,
            "enable_progress_bar": False, "logger": False,
            "num_sanity_val_steps": 0, "callbacks": [{"class_path": "yoyodyne_meter.Speed"}],
        },
        "model": {
            "class_path": "yoyodyne.models.SoftAttentionLSTMModel",
            "init_args": {
                "source_encoder": {"class_path": "yoyodyne.models.modules.LSTMEncoder", "init_args": reader},
                "embedding_size": 128, "decoder_hidden_size": 256, "decoder_layers": 1, "decoder_dropout": 0.3,
                "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.001}},
            },
        },
        "data": {
            "train": str(train), "val": str(folder / "dev.tsv"), "source_sep": "", "target_sep": " ", "target_col": 2,
            "model_dir": str(folder), "tie_embeddings": False, "batch_size": words,
            "max_source_length": 150, "max_target_length": 150,
        },
        "checkpoint": {"monitor": None, "save_last": False, "dirpath": str(folder / "checkpoints")},
    }  # fmt: skip


WORKS: dict[str, Work] = {
    "lstm": Work(
        "attention LSTM (bi-LSTM 2 × 256, LSTM 512, embeddings 256, vocabulary 8,000), Multi30k German → English",
        "target tokens/s",
        attention_rnn,
    ),
    "transformer": Work(
        "Transformer (256, feed-forward 1,024, 4 heads, 3 + 3 layers, vocabulary 8,000), Multi30k German → English",
        "target tokens/s",
        transformer,
    ),
    "greek": Work(
        "pronunciation, 3,600 Greek words (bi-LSTM 2 × 128, LSTM 256, embeddings 128, the decoder is fed)",
        "words/s",
        greek,
    ),
    "cmudict": Work(
        "pronunciation, 87,989 English words (bi-LSTM 2 × 128, LSTM 256, embeddings 128)", "words/s", cmudict
    ),
}


# -- measuring ---------------------------------------------------------------------------------------------------------


def measured_alone(system: System, threads: int, seconds: float) -> tuple[float, int | None, float]:
    """`measure`, again if others worked at the same time; and the share of the processor that they took after all."""
    found = []
    for _ in range(3):
        busy, own, began = busy_seconds(), own_seconds(), time.monotonic()
        result = measure(system, threads, seconds)
        others = busy_seconds() - busy - (own_seconds() - own)
        foreign = max(0.0, others / (time.monotonic() - began) / (os.cpu_count() or 1))
        found.append((*result, foreign))
        if foreign <= FOREIGN:
            break
        say(f"{system.name}: others took {foreign:.0%} of the processor")
    return min(found, key=lambda one: one[2])


def busy_seconds() -> float:
    """Of all processors together since the machine began (Linux; elsewhere 0: nothing is known of others)."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system = map(int, stat.read_text("utf-8").split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Processor time of this process and of those that it has ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(system: System, threads: int, seconds: float) -> tuple[float, int | None]:
    """The median speed of one process over so many seconds after it has warmed up, and its parameters if it says so."""
    variables = environment(threads, {"PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), str(LOOPS)])})
    process = subprocess.Popen(
        system.command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    watchdog = threading.Timer(10 * seconds + 120, process.kill)
    watchdog.start()
    speeds: list[float] = []
    said: list[str] = []
    parameters, end = None, float("inf")
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said.append(line.rstrip())
            if line.startswith("parameters "):
                parameters = int(line.split()[1])
            speed = system.speed(line)
            if speed is None:
                continue
            speeds.append(speed)
            if len(speeds) == LEFT_OUT:
                end = time.monotonic() + seconds
            if time.monotonic() >= end and len(speeds) >= LEFT_OUT + 3:
                break
    finally:
        watchdog.cancel()
        process.terminate()
        process.stdout.close()
        process.wait()
    if len(speeds) < LEFT_OUT + 3:
        raise SystemExit("\n".join([f"{system.name} ended before it could be measured; its last lines:", *said[-15:]]))
    return statistics.median(speeds[LEFT_OUT:]), parameters


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", default=list(WORKS), metavar="WORK", help=", ".join(WORKS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", type=Path, required=True, help="environments of the peers, made if need be")
    parser.add_argument("--runs", type=Path, required=True, help="a folder for corpora")
    parser.add_argument("--systems", type=int, default=9, help="of each work so many only, ours first")
    parser.add_argument("--result", default="training", help="its name in results/, such as training-avx2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each process, after it has warmed up")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    works = {
        name: WORKS[name].systems(given.data, given.peers.absolute(), given.runs.absolute())[: given.systems]
        for name in given.works
    }
    found: dict[str, dict[str, list[float]]] = {
        name: {one.name: [] for one in systems} for name, systems in works.items()
    }
    sizes: dict[str, int | None] = {}
    others: dict[str, float] = {}
    for number in range(given.rounds):
        for name, systems in works.items():
            for system in systems:
                speed, parameters, foreign = measured_alone(system, given.threads, given.seconds)
                others[name] = max(others.get(name, 0.0), foreign)
                found[name][system.name].append(speed)
                sizes[system.name] = parameters
                say(f"round {number + 1}, {name}: {system.name} {speed:,.0f} {WORKS[name].unit}")
        rows = {
            name: {**summary(name, values, sizes, number + 1, given.threads), "others": round(others[name], 2)}
            for name, values in found.items()
        }
        keep(rows, given.peers.absolute(), given.result)


def keep(works: dict[str, Any], peers: Path, result: str) -> None:
    """Into the file of results, beside what it has of other works."""
    path = HERE / "results" / f"{result}.json"
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {"works": {}}
    versions = {peer.name: version_of(python_of(name, peers), peer.package) for name, peer in PEERS.items()}
    kept["works"] |= works
    kept["versions"] = {
        "pairloom": __version__, **versions, "torch": version_of(python_of("base", peers), "torch")
    }  # fmt: skip
    path.write_text(json.dumps(kept | provenance(), indent=2) + "\n", "utf-8")


def summary(
    name: str, values: dict[str, list[float]], sizes: dict[str, int | None], rounds: int, threads: int
) -> dict[str, Any]:
    """Medians of the rounds, and how many times the speed of each other system ours is: the median of the ratios."""
    own = next(iter(values))
    rows = [
        {
            "system": system,
            "parameters": sizes.get(system),
            "median": round(statistics.median(speeds)),
            "low": round(min(speeds)),
            "high": round(max(speeds)),
            "ratio": round(statistics.median(a / b for a, b in zip(values[own], speeds, strict=True)), 2),
        }
        for system, speeds in values.items()
    ]
    return {"what": WORKS[name].what, "unit": WORKS[name].unit, "rounds": rounds, "threads": threads, "rows": rows}


if __name__ == "__main__":
    main()
