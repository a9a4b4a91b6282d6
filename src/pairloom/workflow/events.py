"""What a whole run tells the world, around the events of the training loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairloom.learning.events import Event as TrainingEvent
from pairloom.learning.events import Finished, Note, Sample, Saved, Step, Validation
from pairloom.metrics import Score

__all__ = [
    "Evaluated",
    "Event",
    "Finished",
    "Interrupted",
    "Note",
    "Prepared",
    "Sample",
    "Saved",
    "Step",
    "Validation",
    "Written",
]


@dataclass(frozen=True)
class Prepared:
    """Data and plan stand; training begins (or goes on)."""

    lines: tuple[str, ...]  # what was found and chosen, for people
    facts: dict[str, Any]  # the same for programs
    resumed_at: int  # the step from which an earlier sitting goes on; 0 = a new run


@dataclass(frozen=True)
class Written:
    """The model folder is whole: from now on it answers."""

    path: Path


@dataclass(frozen=True)
class Evaluated:
    """The finished model on the development set, by its own output."""

    scores: tuple[Score, ...]
    pairs: int
    engine: str = ""  # what its engine is, or why it has none, in a line


@dataclass(frozen=True)
class Interrupted:
    """Somebody asked to stop; what has been done is saved. The last event."""

    message: str  # how to go on


Event = Prepared | TrainingEvent | Written | Evaluated | Interrupted
