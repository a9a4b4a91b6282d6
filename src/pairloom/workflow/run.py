"""A whole run as a generator of events: prepare, train, write the folder, judge it. The same call again goes on."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from collections.abc import Generator as Yielding
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pairloom.checkpoint import newest_checkpoint
from pairloom.decoding.generator import Generator
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.folder import (
    is_model,
    read_json,
    seal,
    unseal,
    write_json,
)
from pairloom.learning.events import Finished, Sample, Step, Validation
from pairloom.learning.feeding import Feed
from pairloom.learning.trainer import Trainer
from pairloom.metrics import default_metrics, score
from pairloom.models.protocol import Model
from pairloom.storage import disk_errors, locked
from pairloom.text.corpus import Corpus
from pairloom.text.pairs import questions
from pairloom.version import __version__
from pairloom.weights import ModelFolder, build_model, load_folder, write_weights
from pairloom.workflow import events as ev
from pairloom.workflow.card import write_card_and_curve
from pairloom.workflow.choices import asked_with
from pairloom.workflow.prepare import Data, Prepared, StopAskedError, open_data, prepare
from pairloom.workflow.settings import RunSettings
from pairloom.workflow.start import start_from_vectors, vectors_digest

WRITTEN = (
    "config.json", "tokenizer.source.json", "tokenizer.target.json", "model.safetensors", "generation.json",
    "training.json", "metrics.jsonl", "README.md", "curve.png", "MANIFEST.sha256",
)  # fmt: skip
"""What a run writes into its folder, beside `corpus/` and `checkpoints/`; `--fresh` removes exactly these."""

NOTHING_LOST = "stopped while the data was being prepared; the same command begins where that was"

JUDGED_PAIRS = 1000
"""Development pairs that the finished model answers for its score, at most."""


def run(
    settings: RunSettings, out: str | Path, *, fresh: bool = False, stop: Callable[[], bool] = lambda: False
) -> Iterator[ev.Event]:
    """Trains a model into the folder `out`.

    Where `out` holds the same run unfinished, goes on from its newest checkpoint. Raises UsageError, naming the
    difference, where it holds another one; `fresh` removes that first. `stop` is asked after every update: when it
    says True the state is saved, and the last event is `Interrupted`.
    """
    began, out = time.monotonic(), Path(out)
    with locked(out):
        if fresh:
            clear(out)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        try:
            data = open_data(settings, stop)
        except StopAskedError:
            yield ev.Interrupted(NOTHING_LOST)
            return
        record = _record(settings, data)
        refuse_another_run(out, record, fresh)
        if is_model(out) and "development" in read_json(out / "training.json"):
            return
        if not (out / "training.json").exists():
            write_json(out / "training.json", record)
        try:
            prepared = prepare(settings, data, out)
        except StopAskedError:
            yield ev.Interrupted(NOTHING_LOST)
            return
        torch.manual_seed(settings.seed)
        model = build_model(prepared.folder).to(prepared.device)
        notes = start_from_vectors(model, settings, prepared)
        feed = Feed(prepared.train, prepared.development, prepared.plan.training, prepared.device)
        trainer = Trainer(
            model,
            feed,
            prepared.plan.training,
            checkpoints=out / "checkpoints",
            sample=lambda current: _samples(prepared, current),
            stop=stop,
            spent=_spent(settings, time.monotonic() - began),
        )
        checkpoint = newest_checkpoint(out / "checkpoints", notes.append)
        if checkpoint is not None:
            trainer.restore(checkpoint)
        facts = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "precision": prepared.plan.training.precision,
        }
        yield ev.Prepared((*prepared.lines, *notes), facts, trainer.progress.step)
        finished = yield from _train(trainer, out)
        if finished.reason == "asked":
            yield ev.Interrupted(
                f"stopped after {finished.step:,} updates; everything is saved: the same command goes on from there"
            )
            return
        yield from _finish(out, trainer, prepared, {**record, **facts}, finished)


def _spent(settings: RunSettings, preparation: float) -> float:
    """Seconds of the budget that preparing the data has used: never so many that none are left to learn in."""
    return preparation if settings.minutes is None else min(preparation, 0.5 * settings.minutes * 60)


def clear(out: Path) -> None:
    """Removes a run, and nothing but what a run writes."""
    with disk_errors(out):
        for name in reversed(WRITTEN):  # the manifest first: from then on it is no model
            (out / name).unlink(missing_ok=True)
        for name in ("corpus", "checkpoints"):
            shutil.rmtree(out / name, ignore_errors=True)


def refuse_another_run(out: Path, record: dict[str, Any], fresh: bool) -> None:
    """Raises UsageError if the folder holds something else than this very run; files of others only if `fresh`."""
    if not (out / "training.json").exists():
        strangers = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
        if strangers and not fresh:
            raise UsageError(f"{out} is not empty ({', '.join(strangers[:5])}): choose a new folder with --out")
        return
    there = read_json(out / "training.json")
    before, now = ({**r.get("run", {}), "data": r.get("data")} for r in (there, json.loads(json.dumps(record))))
    if "split_seed" not in before:  # a run from before there was one: it held out by its only seed, if at all
        before["split_seed"] = now["split_seed"] if "dev" in there.get("data", {}) else before.get("seed")
    different = [
        f"  {name}: {before.get(name)!r} there, {now.get(name)!r} now"
        for name in sorted(before.keys() | now.keys())
        if (before.get(name) or None) != (now.get(name) or None)  # a setting that an older run did not have is off
    ]
    if different:
        state = "a finished" if is_model(out) else "an unfinished"
        raise UsageError(
            "\n".join([f"{out} holds {state} run with other settings:", *different,
                       "choose another --out, or give --fresh to remove it and start anew"])
        )  # fmt: skip


def _record(settings: RunSettings, data: Data) -> dict[str, Any]:
    """training.json as it stands while the run is under way."""
    # Names of files and the number of threads may change between two sittings; the content of the files may not.
    decided = settings.model_dump(exclude={"pairs", "dev", "threads", "vectors", "decided"}, mode="json")
    return {
        "schema": 1,
        "run": decided,
        "decided": list(settings.decided),
        "data": {**data.digest(), **vectors_digest(settings)},
        "files": {name: [Path(p).name for p in getattr(settings, name)] for name in ("pairs", "dev", "vectors")},
        "seed": settings.seed,
        "versions": {"pairloom": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": {"processor": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()},
    }


def _train(trainer: Trainer, out: Path) -> Yielding[ev.Event, None, Finished]:
    """The events of the trainer, logged in metrics.jsonl. Returns the last one."""
    log = out / "metrics.jsonl"
    with disk_errors(log):
        kept = [row for row in read_log(log) if row["step"] <= trainer.progress.step]
        log.write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
    for event in trainer.events():
        if isinstance(event, Step | Validation):
            row = {"event": type(event).__name__.lower(), **asdict(event)}
            row.pop("samples", None)
            with disk_errors(log), log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        yield event
        if isinstance(event, Finished):
            return event
    raise AssertionError("a run of training ends with Finished")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl; a last line that a crash has cut is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _samples(prepared: Prepared, model: Model) -> tuple[Sample, ...]:
    """Two development pairs, and what the model makes of them now."""
    middle = prepared.development_pairs[len(prepared.development_pairs) // 3 :][:2]
    generator = Generator(_as_folder(prepared, model, Path()))
    outputs = generator.generate([source for source, _ in middle], DecodingSettings(beam=1))
    return tuple(Sample(*pair, output.text) for pair, output in zip(middle, outputs, strict=True))


def _as_folder(prepared: Prepared, model: Model, path: Path) -> ModelFolder:
    return ModelFolder(path, prepared.folder, prepared.source, prepared.target, {}, {}, model=model)


def _finish(
    out: Path, trainer: Trainer, prepared: Prepared, record: dict[str, Any], finished: Finished
) -> Iterator[ev.Event]:
    """The folder, whole, as soon as can be; then its score, its card and its curve."""
    facts = {**record, "result": asdict(finished), "settings": prepared.plan.training.model_dump()}
    trainer.save()  # should the writing be interrupted, the same call goes on from here
    write_weights(out, trainer.best)
    write_json(out / "generation.json", asked_with(record["run"]["generation"], generation_defaults(prepared.train)))
    _describe(out, prepared, facts)
    yield ev.Written(out)
    evaluated = _judge(out, prepared)
    facts["development"] = {"pairs": evaluated.pairs, "scores": [s.as_json() for s in evaluated.scores]}
    _describe(out, prepared, facts)
    for name in ("checkpoints", "corpus"):
        shutil.rmtree(out / name, ignore_errors=True)
    yield evaluated


def generation_defaults(train: Corpus) -> dict[str, Any]:
    """How the model is asked unless the user says otherwise: room for 999 of 1,000 training targets, and a bit more."""
    ratio = 3.0
    beyond = np.quantile(train.target_lengths - ratio * train.source_lengths, 0.999)
    return {"beam": 5, "length_penalty": 1.0, "length_ratio": ratio, "length_offset": max(10, int(1.2 * beyond) + 1)}


def _describe(out: Path, prepared: Prepared, facts: dict[str, Any]) -> None:
    """training.json, the card and the curve, and then the manifest; meanwhile the folder is no model."""
    unseal(out)
    write_json(out / "training.json", facts)
    write_card_and_curve(out, prepared.folder, facts, read_log(out / "metrics.jsonl"))
    seal(out)


def _judge(out: Path, prepared: Prepared) -> ev.Evaluated:
    """The finished folder, loaded as a user would, on the development pairs."""
    generator = Generator(load_folder(out))
    lines = questions(prepared.development_pairs, prepared.folder.merge)[:JUDGED_PAIRS]
    answers = [output.text for output in generator.generate([source for source, _ in lines], generator.settings())]
    metrics = prepared.folder.metrics or default_metrics(prepared.folder.target.unit)
    return ev.Evaluated(tuple(score(answers, [right for _, right in lines], metrics)), len(lines))
