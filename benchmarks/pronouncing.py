"""How many words a second pairloom pronounces beside yoyodyne, each with a model of CMUdict that it has trained itself.

    python benchmarks/pronouncing.py --data DATA --model RUNS/M [RUNS/SMALL] --peers PEERS --runs RUNS

The words of CMUdict's test set, text in, text out. RUNS/M is pairloom's model; RUNS/SMALL could be one of yoyodyne's
sizes, which are those of `training.py`. yoyodyne is trained by its own `fit` for `--peer-minutes`, once; its model
stays in RUNS. The systems are processes of their own, loaded once and warm, and answer in turn; a round is every system
with every work once. Greedy search and a beam of 5, in batches of 64 and a word at a time. How many words a system
answers in a round is found out before, and the same in all rounds: what takes it some seconds, or all. yoyodyne tries
its threads first, and keeps what is fastest; it is measured with batches as its command makes them, and with batches of
words of like length, as pairloom makes them. Beside the speed stand the word error rate over all words and the symbols
in an answer: a model of few minutes could be fast by short answers, or slow by long ones.

`--words 200` is only a trial: it prints and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import peers
from answering import Size, System, Work, rounds, running, say, shares_of, summary
from origin import provenance
from training import yoyodyne_settings

from pairloom.folder import read_folder
from pairloom.metrics import score
from pairloom.version import __version__
from pairloom.workflow.doctor import examine

HERE = Path(__file__).parent
RESULT = HERE / "results" / "pronouncing.json"
SECONDS = 3.0  # that one measurement should take
CHECKED = 200  # words whose answers are compared with those of the rival's own command
TRAINING_BATCH = 128
RIVAL = "yoyodyne"
SORTED = "yoyodyne, words sorted"
"""The same where there are batches, with words of like length in each."""

WORKS = {
    "greedy, batches of 64": Work(1, 64),
    "beam 5, batches of 64": Work(5, 64),
    "greedy, a word at a time": Work(1, 1),
    "beam 5, a word at a time": Work(5, 1),
}


# -- the rival ---------------------------------------------------------------------------------------------------------


class Rival:
    """yoyodyne's own model of the same training words, in a folder."""

    def __init__(self, python: Path, data: Path, folder: Path, threads: int) -> None:
        self.python, self.data, self.folder, self.threads = python, data, folder, threads
        self.checkpoint = folder / "checkpoints" / "last.ckpt"
        self.settings = folder / "answering.yaml"

    def train(self, minutes: float) -> None:
        """By its own command, if that has not been done before."""
        mark = self.folder / ".trained"
        if mark.exists():
            return
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        few = (self.data / "dev.tsv").read_text("utf-8").splitlines(keepends=True)[:100]
        (self.folder / "dev.tsv").write_text("".join(few), "utf-8")
        settings = yoyodyne_settings(self.data / "train.tsv", self.folder, TRAINING_BATCH)
        settings["trainer"] |= {"max_time": days(minutes), "callbacks": []}
        settings["checkpoint"]["save_last"] = True
        path = self.folder / "training.yaml"
        path.write_text(json.dumps(settings), "utf-8")  # JSON is YAML
        say(f"training yoyodyne for {minutes:g} minutes")
        self._run("fit", "--config", str(path))
        for name in ("train", "val"):  # its vocabulary is kept beside the model
            del settings["data"][name]
        settings["data"] |= {"target_col": 0, "batch_size": 64}
        self.settings.write_text(json.dumps(settings), "utf-8")
        mark.touch()

    def predict(self, words: Sequence[str], scratch: Path) -> list[str]:
        """What its own command answers."""
        asked, said = scratch / "asked.txt", scratch / "said.txt"
        asked.write_text("".join(f"{word}\n" for word in words), "utf-8")
        self._run(
            "predict", "--config", str(self.settings), "--data.predict", str(asked),
            "--ckpt_path", str(self.checkpoint), "--prediction.path", str(said),
        )  # fmt: skip
        return said.read_text("utf-8").splitlines()

    def systems(self, lines: Path) -> list[System]:
        """The processes that answer, that which batches as `predict` does first."""
        command = [str(self.python), "with_yoyodyne.py", str(self.settings), str(self.checkpoint), str(lines)]
        return [
            System(name, [*command, str(self.threads), order], self.threads)
            for name, order in ((RIVAL, "given"), (SORTED, "length"))
        ]

    def _run(self, *words: str) -> None:
        command = [str(self.python.parent / "yoyodyne"), *words]
        done = subprocess.run(
            command, env=peers.environment(self.threads), cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"yoyodyne {words[0]} failed:\n{done.stderr[-3000:]}")


def days(minutes: float) -> str:
    """As its trainer wants a budget: DD:HH:MM:SS."""
    seconds = round(60 * minutes)
    return f"00:{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


# -- measuring ---------------------------------------------------------------------------------------------------------


def ours(model: Path, lines: Path, threads: int) -> list[System]:
    """Both precisions of the fast engine."""
    command = [sys.executable, "with_pairloom.py", str(model.resolve()), str(lines), "onnx"]
    return [
        System(f"pairloom {model.name}, {precision}", [*command, precision, str(threads)], threads)
        for precision in ("int8", "float32")
    ]


def judged(system: System, answers: Sequence[str]) -> dict[str, Any]:
    """Word error rate and symbols in an answer, `</s>` counted, over all words; in batches."""
    found: dict[str, Any] = {"wer": {}, "tokens_a_word": {}, "longest": {}}
    for name, work in WORKS.items():
        if work.batch == 1:
            continue
        one = system.ask(work="answer", lines=len(answers), texts=True, **work._asdict())
        found["wer"][name] = round(score(one["texts"], [[text] for text in answers], ["wer"])[0].value, 2)
        found["tokens_a_word"][name] = round(one["tokens"] / len(answers), 2)
        found["longest"][name] = max(len(text.split()) for text in one["texts"])
        say(f"{name}: {system.name} WER {found['wer'][name]}")
    return found


def agreement(rival: Rival, system: System, words: Sequence[str], scratch: Path) -> dict[str, int]:
    """For how many words the measured process says what the rival's own command says."""
    count = min(CHECKED, len(words))
    chosen = words[:: len(words) // count][:count]  # as answerers/serving.py chooses
    said = system.ask(work="answer", lines=count, texts=True, beam=1, batch=64)["texts"]
    same = sum(one == other for one, other in zip(said, rival.predict(chosen, scratch), strict=True))
    return {"words": count, "same": same}


def measured(given: argparse.Namespace, rival: Rival, pairs: Sequence[Sequence[str]], scratch: Path) -> dict[str, Any]:
    """All that is kept."""
    words, answers = ([pair[side] for pair in pairs] for side in (0, 1))
    lines = scratch / "words.txt"
    lines.write_text("".join(f"{word}\n" for word in words), "utf-8")
    them, budgets = rival.systems(lines), {name: {"minutes": given.peer_minutes} for name in (RIVAL, SORTED)}
    us: list[System] = []
    for model in given.model:
        own = ours(model, lines, given.threads)
        budgets |= {system.name: trained(model) for system in own}
        us += own
    every = [*us, *them]
    with running(every):
        same = agreement(rival, them[0], words, scratch)
        sizes = {64: Size(256, SECONDS, len(words)), 1: Size(10, SECONDS, len(words))}
        batched = {name: work for name, work in WORKS.items() if work.batch > 1}
        single = {name: work for name, work in WORKS.items() if work.batch == 1}
        alone = [system for system in every if system.name != SORTED]  # which differs in batches only
        shares = shares_of(every, batched, sizes) | shares_of(alone, single, sizes)
        systems = {system.name: judged(system, answers) for system in every}
        found = rounds(every, given.rounds, shares, WORKS, "lines")
        facts = {system.name: system.ask(work="facts") for system in every}
    return {
        "command": "python benchmarks/pronouncing.py --data DATA "
        f"--model {' '.join(f'RUNS/{model.name}' for model in given.model)} --peers PEERS --runs RUNS "
        f"--peer-minutes {given.peer_minutes:g} --rounds {given.rounds}",
        "words": len(words),
        "rounds": given.rounds,
        "threads": given.threads,
        "rival": RIVAL,
        "sorted": SORTED,
        "same_as_predict": same,
        "versions": {
            "pairloom": __version__,
            "onnxruntime": examine().versions["onnxruntime"],
            RIVAL: facts[RIVAL]["version"],
            "torch of yoyodyne": facts[RIVAL]["torch"],
        },
        **provenance(),
        "systems": {name: {**budgets[name], **facts[name], **one} for name, one in systems.items()},
        "works": {
            work: {name: {**compared(values, rows), "lines": shares[work, name]} for name, values in rows.items()}
            for work, rows in found.items()
        },
    }


def compared(values: Sequence[float], rows: dict[str, list[float]]) -> dict[str, Any]:
    """Beside the rival as its command runs, and where there are batches, as it could."""
    more = {"ratio_to_sorted": summary(values, rows[SORTED])["ratio"]} if SORTED in rows else {}
    return {**summary(values, rows[RIVAL]), **more}


def trained(model: Path) -> dict[str, Any]:
    """What the folder tells of how it was made."""
    record = read_folder(model).training
    result = record["result"]
    return {"parameters": record["parameters"], "updates": result["step"], "minutes": round(result["seconds"] / 60, 1)}


def main() -> None:
    """Trains the rival if need be, measures, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, nargs="+", help="pairloom's models of g2p_cmudict_split")
    parser.add_argument("--peers", type=Path, required=True, help="environments of the peers, made if need be")
    parser.add_argument("--runs", type=Path, required=True, help="a folder for yoyodyne's model")
    parser.add_argument("--peer-minutes", type=float, default=10.0, help="for which yoyodyne is trained")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--words", type=int, help="so many only: a trial, of which nothing is kept")
    given = parser.parse_args()
    data = given.data.resolve() / "g2p_cmudict_split"
    python = peers.python_of("yoyodyne", given.peers.absolute())
    folder = given.runs.resolve() / f"yoyodyne-cmudict-{given.peer_minutes:g}"
    rival = Rival(python, data, folder, given.threads)
    rival.train(given.peer_minutes)
    test = (data / "test.tsv").read_text("utf-8").splitlines()[: given.words]
    with tempfile.TemporaryDirectory() as scratch:
        found = measured(given, rival, [line.split("\t") for line in test], Path(scratch))
    text = json.dumps(found, indent=2) + "\n"
    if given.words:
        print(text, end="")
    else:
        RESULT.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
