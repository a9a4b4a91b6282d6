"""The training loop: a generator of events that prints nothing, draws nothing and decodes nothing.

    for event in Trainer(model, data, settings, ...).events(): ...

Every update: a batch → `decode` on the whole target (teacher forcing) → cross-entropy in chunks → clipped gradient →
AdamW → the average of the weights. Every so often the average is scored on the development set; the best is kept.

All that changes lives in `Progress`, the weights, the optimiser and torch's random state, and goes into a checkpoint;
so a run that was killed and started again is the same run to the bit (with a budget in minutes: the time already
spent counts).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pairloom.checkpoint import Checkpoint, save_checkpoint
from pairloom.errors import PairloomError
from pairloom.learning import optimisation
from pairloom.learning.allocator import keep_freed_memory
from pairloom.learning.events import Event, Finished, Note, Sample, Saved, Step, Validation
from pairloom.learning.feeding import Feed
from pairloom.learning.loss import backward_in_chunks, loss_and_exact
from pairloom.learning.schedule import learning_rate, update_average
from pairloom.learning.settings import TrainingSettings
from pairloom.models.protocol import Model

REPORT_EVERY = 20
"""Updates between two `Step` events."""

SKIPPED_IN_A_ROW = 20
"""Updates without a finite gradient after which a run gives up."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands: every counter that decides what comes next."""

    step: int = 0
    epoch: int = 0
    batch: int = 0  # the next one within the epoch
    validations: int = 0
    since_best: int = 0  # validations without a better score
    skipped: int = 0  # updates in a row without a finite gradient
    best_step: int = 0
    best_loss: float = float("inf")
    best_exact: float = 0.0
    seconds: float = 0.0  # of all sittings
    reserve: float = 2.0  # seconds that the last validation and its writing will take


class Trainer:
    """One run of training."""

    def __init__(
        self,
        model: Model,
        feed: Feed,
        settings: TrainingSettings,
        *,
        checkpoints: Path,
        sample: Callable[[Model], tuple[Sample, ...]] = lambda model: (),
        stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        spent: float = 0.0,
    ) -> None:
        """`stop` is asked after every update; `sample` gives worked examples at validations; `spent` is the time, in
        seconds, that the preparation of the data has already taken from a budget in minutes."""
        self.model, self.feed, self.settings = model, feed, settings
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.best = {name: tensor.clone() for name, tensor in self.average.state_dict().items()}
        self.optimizer = optimisation.build(model, settings)
        self.progress = Progress(seconds=spent)
        self._checkpoints, self._sample, self._stop, self._clock = checkpoints, sample, stop, clock
        self._started = clock()
        self._spent_before = spent
        self._saved_at = clock()

    # -- the loop ------------------------------------------------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Trains until the budget is spent, the score stops improving, or `stop` says so; `best` then has weights."""
        keep_freed_memory()
        torch.set_flush_denormal(True)  # gradients near zero must not slow the processor down
        self.model.train()
        reason = ""
        while not reason:
            yield from self._report()
            reason = self._reason_to_end()
            if reason == "asked":
                break
            if reason or self._validation_due():
                yield from self._validate()
                reason = reason or self._reason_to_end()
                if not reason and self._clock() - self._saved_at >= self.settings.save_seconds:
                    yield self.save()
        if reason == "asked":
            yield self.save()
        yield self._finished(reason)

    def _report(self) -> Iterator[Event]:
        """A few updates, and the event that sums them up."""
        began, loss, tokens, target = self._clock(), 0.0, 0, self.progress.step + REPORT_EVERY
        target -= target % REPORT_EVERY
        while self.progress.step < target and not self._reason_to_end() and not self._validation_due():
            batch_loss, batch_tokens = self._update()
            if batch_tokens:
                loss, tokens = loss + batch_loss, tokens + batch_tokens
            else:
                yield Note(self.progress.step, "an update was skipped: its gradient was not a finite number")
        elapsed = self._clock() - began
        if tokens:
            p = self.progress
            rate = self._learning_rate()
            yield Step(
                p.step, p.epoch + 1, loss / tokens, tokens / max(elapsed, 1e-9), rate, self._share_spent(), p.seconds
            )

    def _update(self) -> tuple[float, int]:
        """One batch: summed loss and number of target tokens; no tokens if the gradient was not finite."""
        batch = self.feed.batch(self.progress.epoch, self.progress.batch)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            memory = self.model.encode(batch.source, batch.source_mask)
            hidden = self.model.decode(batch.target_in, memory, self.model.start(memory)).hidden[batch.target_mask]
            targets = batch.target_out[batch.target_mask]
            summed = backward_in_chunks(
                hidden, targets, self.model.logits, self.settings.label_smoothing, divisor=len(targets)
            )
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        finite = bool(torch.isfinite(norm) & torch.isfinite(summed))
        if finite:
            self.optimizer.step()
        self._advance(finite)
        if finite:
            update_average(self.average.parameters(), self.model.parameters(), self.progress.step)
        return float(summed), len(targets) if finite else 0

    def _advance(self, finite: bool) -> None:
        p = self.progress
        at_end = p.batch + 1 >= self.feed.batches(p.epoch)
        self.progress = replace(
            p,
            step=p.step + 1,
            epoch=p.epoch + at_end,
            batch=0 if at_end else p.batch + 1,
            skipped=0 if finite else p.skipped + 1,
            seconds=self._seconds(),
        )
        if self.progress.skipped >= SKIPPED_IN_A_ROW:
            raise PairloomError(
                f"{SKIPPED_IN_A_ROW} updates in a row had no finite gradient: lower the learning rate "
                f"(--set training.learning_rate={self.settings.learning_rate / 4:g}) or use --precision float32"
            )

    # -- when to do what -----------------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        return self._spent_before + self._clock() - self._started

    def _share_spent(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        s, p = self.settings, self.progress
        passes = p.epoch + p.batch / self.feed.batches(p.epoch)
        if s.minutes is not None:
            in_time = self._seconds() / max(1.0, s.minutes * 60 - p.reserve)
            return min(1.0, max(in_time, passes / s.most_epochs if s.most_epochs else 0.0))
        if s.epochs is not None:
            return min(1.0, passes / s.epochs)
        assert s.steps is not None
        return min(1.0, p.step / s.steps)

    def _learning_rate(self) -> float:
        s = self.settings
        return learning_rate(s.learning_rate, self.progress.step + 1, s.warmup, self._share_spent())

    def _validation_due(self) -> bool:
        return self._share_spent() * self.settings.validations >= self.progress.validations + 1

    def _reason_to_end(self) -> str:
        if self._stop():
            return "asked"
        if self._share_spent() >= 1.0:
            return "budget"
        return "patience" if self.progress.since_best >= self.settings.patience else ""

    # -- the development set -------------------------------------------------------------------------------------------

    def _validate(self) -> Iterator[Event]:
        began = self._clock()
        loss, exact = self.validate(self.average)
        samples = self._sample(self.average)
        p = self.progress
        better = exact > p.best_exact if self.settings.select == "exact" else loss < p.best_loss
        if self.settings.select == "exact" and exact == p.best_exact:
            better = loss < p.best_loss
        if better:
            self.best = {name: tensor.clone() for name, tensor in self.average.state_dict().items()}
            p = replace(p, best_step=p.step, best_loss=loss, best_exact=exact)
        # Several validations may have come due at once when the budget is tiny: count them all as made.
        made = max(p.validations + 1, int(self._share_spent() * self.settings.validations))
        took = self._clock() - began
        self.progress = replace(
            p,
            validations=made,
            since_best=0 if better else p.since_best + 1,
            seconds=self._seconds(),
            reserve=max(p.reserve, 1.5 * took + 1.0),
        )
        share, seconds = self._share_spent(), self.progress.seconds
        yield Validation(p.step, p.epoch + 1, loss, exact, better, share, seconds, samples)

    @torch.no_grad()
    def validate(self, model: Model) -> tuple[float, float]:
        """Mean loss a token (not smoothed) and the share of targets wholly right, on the development set."""
        loss, tokens, right, pairs = 0.0, 0, 0, 0
        for batch in self.feed.development():
            with self._autocast():
                memory = model.encode(batch.source, batch.source_mask)
                hidden = model.decode(batch.target_in, memory, model.start(memory)).hidden
                summed, exact = loss_and_exact(hidden, batch.target_mask, batch.target_out, model.logits)
            loss, tokens = loss + summed, tokens + int(batch.target_mask.sum())
            right, pairs = right + exact, pairs + len(batch.target_mask)
        return loss / max(tokens, 1), right / max(pairs, 1)

    def _autocast(self) -> torch.autocast:
        device = next(self.model.parameters()).device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.settings.precision == "bfloat16")

    def _finished(self, reason: str) -> Finished:
        p = self.progress
        return Finished(p.step, reason, p.best_step, p.best_loss, p.best_exact, self._seconds())

    # -- going on after an end -----------------------------------------------------------------------------------------

    def save(self) -> Saved:
        """Writes a checkpoint."""
        tensors: dict[str, dict[str, Tensor]] = {
            "weights": dict(self.model.state_dict()),
            "average": dict(self.average.state_dict()),
            "best": self.best,
            "optimizer": optimisation.state_tensors(self.optimizer, self.model),
            "random": {"torch": torch.get_rng_state()},
        }
        self.progress = replace(self.progress, seconds=self._seconds())
        path = save_checkpoint(self._checkpoints, Checkpoint(self.progress.step, tensors, asdict(self.progress)))
        self._saved_at = self._clock()
        return Saved(self.progress.step, path)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to where `checkpoint` was saved."""
        state: dict[str, Any] = dict(checkpoint.state)
        self.model.load_state_dict(dict(checkpoint.tensors["weights"]))
        self.average.load_state_dict(dict(checkpoint.tensors["average"]))
        self.best = {name: tensor.clone() for name, tensor in checkpoint.tensors["best"].items()}
        optimisation.restore(self.optimizer, self.model, checkpoint.tensors["optimizer"])
        torch.set_rng_state(checkpoint.tensors["random"]["torch"])
        self.progress = Progress(**state)
        self._spent_before += self.progress.seconds
        self._started = self._clock()
