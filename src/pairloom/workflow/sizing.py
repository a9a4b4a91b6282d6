"""How fast this machine trains, measured in the first seconds; and with that a size of model that suits the budget.

A budget in minutes buys more or fewer updates, as the machine is fast or slow. Where the usual size for such data would
get less than `FEWEST` of them, the next smaller one is taken (docs/decisions/0013). What was chosen is recorded in
training.json: a run that goes on takes it from there and measures nothing, and `--size` repeats it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pairloom.errors import PairloomError
from pairloom.folder import FolderSettings, read_json
from pairloom.learning.events import Step
from pairloom.learning.feeding import Feed
from pairloom.learning.trainer import Trainer
from pairloom.text.corpus import Corpus
from pairloom.weights import build_model
from pairloom.workflow.plan import LADDER, SIZED, Plan
from pairloom.workflow.settings import RunSettings

FEWEST = 400
"""Updates that a model should get."""

SHORTEST = 1.0
"""Minutes from which a budget is worth measuring for."""

SECONDS = 2.0
"""For which each possibility is tried."""


@dataclass(frozen=True)
class Sizing:
    """What was measured, and what followed."""

    size: str  # one of `LADDER`
    threads: int
    tokens_per_second: float  # target tokens with `</s>`
    passes: float  # over the training pairs, that the budget buys
    updates: int  # the same in updates of the weights
    refused: str = ""  # why a larger one was not taken, for people

    def as_json(self) -> dict[str, Any]:
        """For training.json."""
        return asdict(self)

    def lines(self, plan: Plan) -> list[str]:
        """For people."""
        minutes, most = plan.training.minutes or 0.0, plan.training.most_epochs
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        buys = f"{minutes:g} minutes buy about {self.passes:.1f} passes over the pairs ({self.updates:,} updates)"
        if most is not None and self.passes > most:
            needed = minutes * most / self.passes
            buys = f"{most} passes, which is all that such data needs, take about {needed:.1f} minutes"
        said = f"speed: {self.tokens_per_second:,.0f} target tokens/s with {threads}, so {buys}"
        return [*([self.refused] if self.refused else []), said]


def recorded(out: Path) -> Sizing | None:
    """What an earlier sitting has measured."""
    path = out / "training.json"
    found = read_json(path).get("sizing") if path.is_file() else None
    if not isinstance(found, Mapping):
        return None
    try:
        return Sizing(**found)
    except TypeError:
        return None


def fit(
    settings: RunSettings,
    make: Callable[[str | None], Plan],  # a size (None: the usual one) → the plan
    folder: FolderSettings,
    corpora: tuple[Corpus, Corpus],  # to learn from, to judge by
    device: torch.device,
) -> tuple[Plan, Sizing | None]:
    """The plan of the largest size that gets `FEWEST` updates, from the usual one downwards; and what was measured.

    The usual one, and nothing measured, where the budget is not one in minutes or is too short to measure for. A size
    or a setting of the user's that decides the size is never changed. Threads: all, or one where that is as fast, which
    it is for small models and on a machine that does something else.
    """
    plan = make(settings.size)
    minutes = plan.training.minutes
    if minutes is None or minutes < SHORTEST:
        return plan, None
    fixed = settings.size is not None or bool(SIZED & settings.model.keys())
    sizes = [plan.size] if fixed else LADDER[: LADDER.index(plan.size) + 1][::-1]
    refused = ""
    sizing: Sizing | None = None
    for size in sizes:
        plan = make(settings.size if fixed else size)
        threads, speed = _fastest(settings, plan, folder, corpora, device)
        if not speed:
            return make(settings.size), None
        passes = minutes * 60 * speed / max(1, int((corpora[0].target_lengths + 1).sum()))
        updates = int(passes * Feed(*corpora, plan.training, device).batches(0))
        sizing = Sizing(size, threads, round(speed, 1), round(passes, 2), updates, refused)
        if updates >= FEWEST:
            break
        refused = (
            f"size: not {size}, which would get only {updates:,} updates in {minutes:g} minutes here "
            f"(--size {size} takes it all the same)"
        )
    return plan, sizing


def _fastest(
    settings: RunSettings, plan: Plan, folder: FolderSettings, corpora: tuple[Corpus, Corpus], device: torch.device
) -> tuple[int, float]:
    """Threads and target tokens a second."""
    before = torch.get_num_threads()
    alone = settings.threads is not None or device.type != "cpu" or before == 1 or "OMP_NUM_THREADS" in os.environ
    found: dict[int, float] = {}
    for threads in (before,) if alone else (before, 1):
        torch.set_num_threads(threads)
        found[threads] = measure(plan, folder, corpora, device, SECONDS)
    best = 1 if found.get(1, 0.0) >= 0.95 * found[before] else before
    torch.set_num_threads(best)
    return best, found[best]


def measure(
    plan: Plan, folder: FolderSettings, corpora: tuple[Corpus, Corpus], device: torch.device, seconds: float
) -> float:
    """Target tokens a second of real updates, made for so long on a model that is thrown away; 0.0 if none could be.

    The first updates of a process are slow, so this is rather too low than too high.
    """
    model = build_model(folder.model_copy(update={"model": plan.model})).to(device)
    trial: dict[str, Any] = {"minutes": None, "epochs": None, "steps": 10**9, "save_seconds": 1e9}
    training = plan.training.model_copy(update=trial)
    speed = 0.0
    with tempfile.TemporaryDirectory() as nowhere:  # should a checkpoint be saved all the same, it is nobody's
        feed, timer = Feed(*corpora, training, device), _Timer(seconds)
        trainer = Trainer(model, feed, training, checkpoints=Path(nowhere), stop=timer)
        try:
            for event in trainer.events():
                if isinstance(event, Step):
                    speed = event.tokens_per_second  # the latest: the machine is warm by then
        except _TimeIsUpError:
            return speed or trainer.speed
        except PairloomError:
            return 0.0  # the run itself will say what is wrong
    return speed


class _TimeIsUpError(Exception):
    """Ends a trial without what belongs to the end of a run."""


class _Timer:
    """Raises when its time is up, counted from when it was first asked; so one update is made, however slow."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, 0.0

    def __call__(self) -> bool:
        self._end = self._end or time.monotonic() + self._seconds
        if time.monotonic() > self._end:
            raise _TimeIsUpError
        return False
