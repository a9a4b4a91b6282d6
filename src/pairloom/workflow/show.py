"""What a folder is: a model with its settings, sizes, data, scores and curve, or a run under way and how far it is."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairloom.decoding.choice import has_runtime
from pairloom.engine.stored import check_engine
from pairloom.errors import FolderError
from pairloom.folder import (
    SEALED,
    WEIGHTS,
    FolderSettings,
    check_files,
    is_model,
    read_header,
    read_json,
    read_settings,
    read_training,
    size_of_weights,
)
from pairloom.pictures import sparkline
from pairloom.workflow.engine import engine_line, stored_facts
from pairloom.workflow.log import LOG, rows_of

if TYPE_CHECKING:
    from pairloom.engine.stored import EngineFacts

HASHED = 2**29
"""Bytes of weights, at most, that are compared with their hash only to be shown; whoever computes with them compares
them always."""
MOST_VALIDATIONS = 100_000
"""As many as a run can have."""


@dataclass(frozen=True)
class Description:
    """A folder, without its weights having been read."""

    folder: str
    finished: bool  # False: still in training, or interrupted
    settings: FolderSettings | None  # None: not yet decided
    training: dict[str, Any]  # training.json
    generation: dict[str, Any]  # generation.json
    weights: int  # bytes of model.safetensors; 0 while in training
    parts: dict[str, int]  # part of the model → its parameters, the largest first; empty while in training
    updates: int  # made so far, as far as the log knows
    progress: float  # share of the budget that is spent, 0 to 1
    seconds: float  # of training so far
    losses: tuple[float, ...]  # of the development set, nats a token
    exact: tuple[float, ...]  # share of development targets wholly right, 0 to 1
    engine: dict[str, Any] | None  # engine.json; None: there is none
    answered_by: str  # what answers `pairloom generate` here, and why; empty while in training

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        plain = {name: value for name, value in asdict(self).items() if name != "settings"}
        config = self.settings.model_dump(by_alias=True) if self.settings else None
        return {**plain, "config": config}

    def lines(self) -> list[str]:
        """For people."""
        rows = [("folder", self.folder), ("state", self._state()), *self._model(), *self._data(), *self._scores()]
        if self.losses:
            rows.append(
                ("curve", f"{sparkline(self.losses)}  development loss {self.losses[0]:.3f} → {self.losses[-1]:.3f}")
            )
            rows.append(("", f"{sparkline(self.exact)}  wholly right {self.exact[0]:.1%} → {self.exact[-1]:.1%}"))
        versions = self.training.get("versions", {})
        if versions:
            rows.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
        return [f"{name:<12}{value}" for name, value in rows]

    def _state(self) -> str:
        time = f"{self.seconds / 60:.1f} minutes" if self.seconds >= 120 else f"{self.seconds:.1f} seconds"
        done = f"{self.updates:,} updates in {time}"
        if self.finished:
            return f"finished: {done}"
        return f"unfinished: {done}, {self.progress:.0%} of the budget; the same `pairloom train` goes on"

    def _model(self) -> list[tuple[str, str]]:
        settings = self.settings
        if settings is None:
            return [("model", "not yet decided: the pairs are still being read")]
        sizes = ", ".join(f"{name} {value}" for name, value in settings.model.items())
        rows = [("model", f"{settings.kind}: {sizes}")]
        for name, side in (("source", settings.source), ("target", settings.target)):
            shared = ", shared by both sides" if settings.joint else ""
            marks = f", {len(side.features):,} of them features" if side.features else ""
            rows.append((name, f"{side.unit}, {side.size:,} entries{marks}{shared}, at most {side.max_tokens} tokens"))
        if self.weights:
            parameters = self.training.get("parameters")
            count = f"{parameters:,} parameters, " if isinstance(parameters, int) else ""
            rows.append(("weights", f"{count}{self.weights / 1e6:.1f} MB"))
            total = sum(self.parts.values())
            wide = max(map(len, self.parts), default=0)
            rows += [("", f"{name:<{wide}}{size:>14,}  {size / total:>4.0%}") for name, size in self.parts.items()]
        if self.answered_by:
            rows.append(("engine", self.answered_by))
        if self.generation:
            rows.append(("asked with", ", ".join(f"{name} {value}" for name, value in self.generation.items())))
        return rows

    def _data(self) -> list[tuple[str, str]]:
        files, rows = self.training.get("files", {}), []
        for name, digest in self.training.get("data", {}).items():
            rows.append((name, f"{' + '.join(files.get(name, []))} (sha256 {digest[:12]}…)"))
        run = self.training.get("run", {})
        budget = ", ".join(f"{run[name]:g} {name}" for name in ("minutes", "epochs", "steps") if run.get(name))
        for word in ("task", "recipe"):
            if run.get(word):
                rows.append((word, f"{run[word]}: {', '.join(map(str, self.training.get('decided', [])))}"))
        if run:
            rows.append(("budget", f"{budget or '10 minutes'}, seed {run.get('seed')}"))
        return rows

    def _scores(self) -> list[tuple[str, str]]:
        judged = self.training.get("development")
        if not judged:
            return []
        scores = ", ".join(f"{s['name']} {s['value']:.1f} [{s['low']:.1f}, {s['high']:.1f}]" for s in judged["scores"])
        return [("scores", f"{scores} on {judged['pairs']:,} development pairs")]


def answered_by(path: Path, facts: EngineFacts | None) -> str:
    """What answers for a finished model on this machine when nobody says otherwise, in a line."""
    if not has_runtime():
        return "torch float32: ONNX Runtime is not installed (pip install 'pairloom[fast]')"
    if facts is None:
        return f"torch float32: there is no engine (`pairloom export {path} --to engine --dev PAIRS` makes it)"
    return f"onnx: {engine_line(facts)}"


def describe(path: str | Path) -> Description:
    """Describes a folder. Raises FolderError if it is no model and no run, or a damaged model."""
    path = Path(path)
    if not path.is_dir():
        raise FolderError(f"{path} is not a folder" if path.exists() else f"{path} does not exist")
    finished = is_model(path)
    if not finished and not (path / "training.json").is_file():
        raise FolderError(
            f"{path} is not a model folder: it has no training.json; `pairloom train ... --out {path}` makes one"
        )
    if finished:
        whole = size_of_weights(path) <= HASHED
        check_files(path, SEALED if whole else [name for name in SEALED if name != WEIGHTS])
        check_engine(path, HASHED)
    last: dict[str, Any] = {}
    validations: deque[tuple[float, float]] = deque(maxlen=MOST_VALIDATIONS)
    for row in rows_of(path / LOG):
        last = row
        if row["event"] == "validation":
            validations.append((float(row["loss"]), float(row["exact"])))
    facts = stored_facts(path) if finished else None
    training = read_training(path)
    result = training.get("result") or {}
    return Description(
        folder=str(path),
        finished=finished,
        settings=read_settings(path) if (path / "config.json").is_file() else None,
        training=training,
        generation=read_json(path / "generation.json") if finished else {},
        weights=(path / "model.safetensors").stat().st_size if finished else 0,
        parts=count_parts(path / "model.safetensors") if finished else {},
        updates=int(result.get("step", last.get("step", 0))),
        progress=1.0 if finished else float(last.get("progress", 0.0)),
        seconds=float(result.get("seconds", last.get("seconds", 0.0))),
        losses=tuple(loss for loss, _ in validations),
        exact=tuple(exact for _, exact in validations),
        engine=facts.model_dump(by_alias=True) if facts is not None else None,
        answered_by=answered_by(path, facts) if finished else "",
    )


def count_parts(weights: Path) -> dict[str, int]:
    """Parameters by the first word of their names (`encoder.forwards.0.weight` is the encoder's), the largest first."""
    counts: dict[str, int] = {}
    for name, entry in read_header(weights).items():
        part = name.split(".", maxsplit=1)[0]
        counts[part] = counts.get(part, 0) + prod(entry["shape"])
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
