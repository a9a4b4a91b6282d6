"""What the training loop tells the world. Whoever drives it prints, draws, logs or ignores these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """A development pair and what the model makes of it now."""

    source: str
    target: str
    output: str


@dataclass(frozen=True)
class Step:
    """Some updates of the weights have been made (see `trainer.REPORT_EVERY`)."""

    step: int  # updates so far
    epoch: int  # the pass over the data, from 1
    loss: float  # mean smoothed loss a target token since the last event, in nats
    tokens_per_second: float  # target tokens with `</s>`, without padding
    learning_rate: float
    progress: float  # share of the budget that is spent, 0 to 1
    seconds: float  # of this run, earlier sittings included


@dataclass(frozen=True)
class Validation:
    """The development set has been scored with the averaged weights."""

    step: int
    epoch: int
    loss: float  # mean loss a target token, not smoothed, in nats
    exact: float  # share of targets that greedy decoding gets wholly right, 0 to 1
    best: bool  # this is the best so far
    progress: float
    seconds: float
    samples: tuple[Sample, ...]

    @property
    def score(self) -> dict[str, float]:
        """Both figures by the names that `TrainingSettings.select` knows."""
        return {"loss": self.loss, "exact": self.exact}


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on the disk, whole."""

    step: int
    path: Path


@dataclass(frozen=True)
class Note:
    """Something that the user should know: a step was skipped, a batch was cut."""

    step: int
    message: str


@dataclass(frozen=True)
class Finished:
    """The budget is spent, or the development score has stopped improving, or somebody asked to stop."""

    step: int
    reason: str  # "budget", "patience" or "asked"
    best_step: int
    best_loss: float
    best_exact: float
    seconds: float


Event = Step | Validation | Saved | Note | Finished
