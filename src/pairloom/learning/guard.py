"""Which updates are made, and when a run goes back: nothing that is not a number, and no leap of the loss, is learned.

A single bad update is skipped. `IN_A_ROW` of them mean that the weights, and not a batch, are at fault: the run goes
back to the last state that was saved and goes on from there with half the learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from pairloom.errors import PairloomError
from pairloom.learning.progress import Progress
from pairloom.learning.settings import TrainingSettings

IN_A_ROW = 8
"""Updates skipped one after the other until the run goes back."""

SMALLEST_FACTOR = 1 / 64
"""After so many halvings of the learning rate (six) a run gives up."""

MEMORY = 100
"""Updates over which the usual loss is a mean (exponential, each weighs 1/100)."""

KNOWN_AFTER = 200
"""Updates, beyond the warm-up, until a leap can be told: before, the loss falls too fast to have a usual value."""

TIMES, BEYOND = 3.0, 2.0
"""A leap: more than three times the usual loss and two nats.

Wide on purpose, for a batch that is merely hard must be learned from. With a usual loss of 0.5 (pronunciation) a
leap begins at 3.5, which is what pure guessing among 33 sounds costs; with 2.5 (translation) at 9.5, beyond guessing
among 13,000 words. Batches of like length differ by far less; weights that are breaking up pass it within some updates.
"""


def objection(progress: Progress, settings: TrainingSettings, loss: float, norm: float) -> str:
    """Why an update is not to be made: for people; empty if all is well.

    `loss` is the mean a token in nats, `norm` that of the gradient before it is clipped.
    """
    if not math.isfinite(loss):
        return "its loss was not a finite number"
    if not math.isfinite(norm):
        return "its gradient was not a finite number"
    if progress.accepted < KNOWN_AFTER + settings.warmup or loss <= TIMES * progress.usual_loss + BEYOND:
        return ""
    return f"its loss of {loss:.2f} leaps out of the usual {progress.usual_loss:.2f}"


def accepted(progress: Progress, loss: float) -> Progress:
    """After an update that was made."""
    weight = 1.0 / min(progress.accepted + 1, MEMORY)
    usual = progress.usual_loss + weight * (loss - progress.usual_loss)
    return replace(progress, usual_loss=usual, accepted=progress.accepted + 1, skipped=0)


def slower(progress: Progress, good: Progress, settings: TrainingSettings) -> Progress:
    """`good`, the counters of the state to which a run at `progress` goes back, with half the learning rate of now.

    Raises PairloomError when that has been tried often enough.
    """
    factor = progress.rate_factor / 2
    if factor < SMALLEST_FACTOR:
        raise PairloomError(
            f"{IN_A_ROW} updates in a row had no finite gradient or a leaping loss, even after the learning rate was "
            f"halved {round(-math.log2(progress.rate_factor))} times: lower it "
            f"(--set training.learning_rate={settings.learning_rate * factor:.2g}) or use --precision float32"
        )
    return replace(good, rate_factor=factor, skipped=0, reserve=progress.reserve, largest=progress.largest)


@torch.no_grad()
def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number is one."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)
