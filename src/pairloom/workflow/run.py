"""A whole run as a generator of events: prepare, train, write the folder, judge it. The same call again goes on."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Generator as Yielding
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pairloom.checkpoint import newest_checkpoint, newest_files
from pairloom.decoding.generator import Generator
from pairloom.decoding.settings import DecodingSettings
from pairloom.engine.stored import why_no_shortlist
from pairloom.errors import FolderError, UsageError
from pairloom.folder import SEALED, TOKENIZERS, is_model, json_bytes, read_json, seal, unseal, write_json
from pairloom.learning.events import Finished, Sample, Step, Validation
from pairloom.learning.feeding import Feed
from pairloom.learning.trainer import Trainer
from pairloom.metrics import default_metrics, score
from pairloom.models.protocol import Model
from pairloom.storage import (
    MANIFEST,
    check_manifest,
    disk_errors,
    locked,
    remove_directory,
    remove_unfinished,
    replace_files,
    write_file,
)
from pairloom.text.corpus import Corpus
from pairloom.text.pairs import questions
from pairloom.version import __version__
from pairloom.weights import ModelFolder, build_model, load_folder, write_weights
from pairloom.workflow import events as ev
from pairloom.workflow.card import card, write_card_and_curve
from pairloom.workflow.choices import asked_with
from pairloom.workflow.engine import JUDGED, judge
from pairloom.workflow.log import LOG, RunLog, read_log
from pairloom.workflow.plan import check_plan, choose_device
from pairloom.workflow.prepare import Data, Prepared, StopAskedError, open_data, prepare
from pairloom.workflow.settings import RunSettings
from pairloom.workflow.shortlist import WORTH_IT, add_shortlist
from pairloom.workflow.sizing import recorded
from pairloom.workflow.start import start_from_vectors, vectors_digest

WRITTEN = (*SEALED, MANIFEST)
"""What a run writes into its folder, beside `engine/`, `corpus/`, `checkpoints/`; `--fresh` removes exactly these."""

KEPT = ("training.json", "config.json", *TOKENIZERS)
"""What every checkpoint has a copy of, beside the log: a run needs nothing else of its folder to go on."""

NOTHING_LOST = "stopped while the data was being prepared; the same command begins where that was"


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
        try:
            data = open_data(settings, stop)
            record = _record(settings, data)
            check_plan(settings, choose_device(settings.device))
            if fresh:  # only now: what cannot begin must not cost the model that is there
                clear(out)
            yield from _run(settings, data, record, out, fresh, stop, began)
        except StopAskedError:
            yield ev.Interrupted(NOTHING_LOST)


def _run(
    settings: RunSettings,
    data: Data,
    record: dict[str, Any],
    out: Path,
    fresh: bool,
    stop: Callable[[], bool],
    began: float,
) -> Iterator[ev.Event]:
    """The same, once nobody else can be in `out`. Raises StopAskedError where nothing is under way yet."""
    notes: list[str] = []
    kept = newest_files(out / "checkpoints", notes.append)
    mend(out, kept, record, notes.append)
    before = recorded(out)
    if threads := settings.threads or (before.threads if before is not None else None):
        torch.set_num_threads(threads)
        record["machine"] = machine()
    refuse_another_run(out, record, fresh)
    facts = read_json(out / "training.json") if is_model(out) else {}
    if "development" in facts:
        tidy(out)
        return
    if not (out / "training.json").exists():
        write_json(out / "training.json", record)
    prepared = prepare(settings, data, out, begun=bool(kept))
    if prepared.sizing is not None:
        record |= {"sizing": prepared.sizing.as_json()}
        if before is None:
            record["machine"] = machine()
            write_json(out / "training.json", record)
    if facts:  # all that is missing is the score
        yield ev.Prepared((*prepared.lines, *notes), facts, int(facts["result"]["step"]))
        yield from _conclude(out, prepared, facts)
        return
    log = RunLog(out / LOG, (kept or {}).get(LOG, b""))
    trainer, said = _trainer(settings, out, prepared, log, stop, time.monotonic() - began)
    notes += [*said, *other_machine(out, record)]
    facts = {
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "precision": prepared.plan.training.precision,
    }
    yield ev.Prepared((*prepared.lines, *notes), facts, trainer.progress.step)
    finished = yield from _train(trainer, log)
    if finished.reason == "asked":
        yield ev.Interrupted(
            f"stopped after {finished.step:,} updates; everything is saved: the same command goes on from there"
        )
        return
    log.flush()
    yield from _finish(out, trainer, prepared, {**record, **facts}, finished)


def _trainer(
    settings: RunSettings, out: Path, prepared: Prepared, log: RunLog, stop: Callable[[], bool], preparation: float
) -> tuple[Trainer, list[str]]:
    """The run as its newest checkpoint has it, or at its start; and what there is to say of the start.

    `preparation` is the time, in seconds, that this sitting has taken so far.
    """
    torch.manual_seed(settings.seed)
    model = build_model(prepared.folder).to(prepared.device)
    notes = start_from_vectors(model, settings, prepared)
    trainer = Trainer(
        model,
        Feed(prepared.train, prepared.development, prepared.plan.training, prepared.device),
        prepared.plan.training,
        checkpoints=out / "checkpoints",
        sample=lambda current: _samples(prepared, current),
        stop=stop,
        spent=_spent(settings, preparation),
        files=lambda: {**{name: (out / name).read_bytes() for name in KEPT}, LOG: log.content()},
    )
    checkpoint = newest_checkpoint(out / "checkpoints", lambda finding: None)
    if checkpoint is not None:
        trainer.restore(checkpoint)
    return trainer, notes


def mend(out: Path, kept: Mapping[str, bytes] | None, record: dict[str, Any], say: Callable[[str], None]) -> None:
    """Puts back what a crash or a bad disk has done to the files of a run under way, as its newest checkpoint has them.

    A finished model is left as it is, whatever is wrong with it, unless there is a checkpoint to make it from again.
    """
    if is_model(out):
        whole = kept is None or not _findings(out)
        if whole:
            return
        say(f"{out}: the model that was written is damaged and is written again")
        unseal(out)
    for name in KEPT:
        place, content = out / name, (kept or {}).get(name)
        if content is not None and not (place.is_file() and place.read_bytes() == content):
            if name != "training.json" or not _is_json(place):
                say(f"{place} was damaged and is put back as the newest checkpoint has it")
            write_file(place, content)
    if kept is None and (out / "training.json").exists() and not _is_json(out / "training.json"):
        say(f"{out / 'training.json'} was damaged before anything was saved: the run begins anew")
        write_json(out / "training.json", record)


def _findings(out: Path) -> list[str]:
    try:
        return check_manifest(out, SEALED)
    except FolderError as error:
        return [str(error)]


def _is_json(path: Path) -> bool:
    try:
        return bool(read_json(path))
    except FolderError:
        return False


def other_machine(out: Path, record: dict[str, Any]) -> list[str]:
    """What differs from the sitting in which the run began and can change the last bits of its weights."""
    before, now = read_json(out / "training.json").get("machine"), record["machine"]
    if not isinstance(before, dict) or before == now:
        return []
    changes = [f"{name} {before.get(name)} → {now[name]}" for name in now if before.get(name) != now[name]]
    return [f"not as when the run began: {', '.join(changes)}; the weights can differ in their last bits from then on"]


def tidy(out: Path) -> None:
    """Takes away what a finished model no longer needs."""
    for name in ("checkpoints", "corpus"):
        if (out / name).is_dir():
            remove_directory(out / name)
    remove_unfinished(out)


def _spent(settings: RunSettings, preparation: float) -> float:
    """Seconds of the budget that preparing the data has used: never so many that none are left to learn in."""
    return preparation if settings.minutes is None else min(preparation, 0.5 * settings.minutes * 60)


def clear(out: Path) -> None:
    """Removes a run, and nothing but what a run writes."""
    with disk_errors(out):
        for name in reversed(WRITTEN):  # the manifest first: from then on it is no model
            (out / name).unlink(missing_ok=True)
        if (out / "engine").is_dir():
            remove_directory(out / "engine")
    tidy(out)


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
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """What of the machine can change the last bits of the weights (docs/RELIABILITY.md)."""
    return {
        "processor": torch.backends.cpu.get_cpu_capability(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "threads": torch.get_num_threads(),
    }


def _train(trainer: Trainer, log: RunLog) -> Yielding[ev.Event, None, Finished]:
    """The events of the trainer, logged. Returns the last one."""
    for event in trainer.events():
        if isinstance(event, Step | Validation):
            log.add(event)
        yield event
        if isinstance(event, Finished):
            return event
    raise AssertionError("a run of training ends with Finished")


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
    write_json(out / "training.json", facts)
    write_card_and_curve(out, prepared.folder, facts, read_log(out / LOG))
    seal(out)
    yield ev.Written(out)
    yield from _conclude(out, prepared, facts)


def _conclude(out: Path, prepared: Prepared, facts: dict[str, Any]) -> Iterator[ev.Event]:
    """The score of a model that is whole already, and stays so at every moment."""
    evaluated = _judge(out, prepared)
    judged = {"pairs": evaluated.pairs, "scores": [s.as_json() for s in evaluated.scores]}
    facts = {**facts, "development": judged}
    text = card(out.name or "model", prepared.folder, facts, evaluated.engine)
    replace_files(out, {"training.json": json_bytes(facts), "README.md": text.encode()})
    tidy(out)
    yield evaluated


def generation_defaults(train: Corpus) -> dict[str, Any]:
    """How the model is asked unless the user says otherwise: room for 999 of 1,000 training targets, and a bit more."""
    ratio = 3.0
    beyond = np.quantile(train.target_lengths - ratio * train.source_lengths, 0.999)
    return {"beam": 5, "length_penalty": 1.0, "length_ratio": ratio, "length_offset": max(10, int(1.2 * beyond) + 1)}


def _judge(out: Path, prepared: Prepared) -> ev.Evaluated:
    """The finished folder, loaded as a user would, on the development pairs; its engine is made on the way, and
    its shortlist where that is worth it."""
    lines = questions(prepared.development_pairs, prepared.folder.merge)[:JUDGED]
    metrics = prepared.folder.metrics or default_metrics(prepared.folder.target.unit)
    judged = judge(load_folder(out), lines, metrics)
    if judged.engine is not None and prepared.folder.target.size >= WORTH_IT and not why_no_shortlist(prepared.folder):
        add_shortlist(out, prepared.folder, prepared.train)
    scores = score(judged.outputs, [right for _, right in lines], metrics)
    return ev.Evaluated(tuple(scores), len(lines), judged.note)
