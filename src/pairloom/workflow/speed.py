"""How fast this machine trains the model that `pairloom train` would make of some pairs: tried, for a few seconds."""

from __future__ import annotations

import tempfile
import time
from itertools import islice
from pathlib import Path

from pairloom.errors import PairloomError
from pairloom.learning.events import Step
from pairloom.learning.feeding import Feed
from pairloom.learning.trainer import Trainer
from pairloom.text.columns import TAB, Columns
from pairloom.text.pairs import PairSource
from pairloom.weights import build_model
from pairloom.workflow.prepare import open_data, prepare
from pairloom.workflow.settings import RunSettings

SAMPLED_PAIRS = 25_000
"""Enough for the same units, sizes and batches as all pairs would get."""

BREAKS = str.maketrans("\t\r\n", "   ")


def training_speed(pairs: PairSource, seconds: float = 3.0) -> float | None:
    """Target tokens a second of real updates, on the first pairs, in a temporary folder that is removed again.

    The first updates of a process are slow, so this is rather too low than too high. None where the pairs are too few
    to begin a run. Raises DataError if no pair is usable.
    """
    with tempfile.TemporaryDirectory(prefix="pairloom-") as name:
        sample = Path(name) / "sample.tsv"
        with sample.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            for pair in islice(pairs, SAMPLED_PAIRS):
                text, _, features = pair.source.partition(TAB) if pairs.settings.features else (pair.source, "", "")
                file.write("\t".join(part.translate(BREAKS) for part in (text, pair.target, features)) + "\n")
        columns = Columns(source=1, target=2, features=3) if pairs.settings.features else None
        try:
            return _try(RunSettings(pairs=(str(sample),), columns=columns), Path(name), seconds)
        except PairloomError:
            return None


def _try(settings: RunSettings, folder: Path, seconds: float) -> float | None:
    prepared = prepare(settings, open_data(settings), folder)
    model = build_model(prepared.folder).to(prepared.device)
    feed = Feed(prepared.train, prepared.development, prepared.plan.training, prepared.device)
    time_is_up = _Timer(seconds)
    trainer = Trainer(model, feed, prepared.plan.training, checkpoints=folder / "checkpoints", stop=time_is_up)
    speed = None
    for event in trainer.events():
        if isinstance(event, Step):
            speed = event.tokens_per_second  # the latest: the machine is warm by then
            if time_is_up():
                break  # before the checkpoint that belongs to a run which is asked to stop
    return speed or trainer.speed or None  # of a slow machine: what it managed before its first event


class _Timer:
    """Says whether its time is up, counted from when it was first asked; so one update is made, however slow."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, 0.0

    def __call__(self) -> bool:
        self._end = self._end or time.monotonic() + self._seconds
        return time.monotonic() > self._end
