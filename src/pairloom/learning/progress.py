"""Where a run stands: a value that goes into every checkpoint."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Every counter that decides what comes next."""

    step: int = 0
    epoch: int = 0
    batch: int = 0  # the next one within the epoch
    validations: int = 0
    since_best: int = 0  # validations without a better score
    best_step: int = 0
    best_loss: float = float("inf")
    best_exact: float = 0.0
    seconds: float = 0.0  # of all sittings
    reserve: float = 2.0  # seconds that the last validation and its writing will take

    # since the last `Step` event, so that an event does not depend on where a sitting ended
    window_loss: float = 0.0  # summed
    window_tokens: int = 0
    window_seconds: float = 0.0

    # what `guard.py` knows
    usual_loss: float = 0.0  # running mean of the loss a token, in nats
    accepted: int = 0  # updates behind that mean
    skipped: int = 0  # updates in a row that were not made
    rate_factor: float = 1.0  # of the learning rate; halved each time that the run goes back

    largest: int | None = None  # padded cells of one piece of a batch for which memory is enough; None = no limit known
