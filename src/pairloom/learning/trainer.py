"""The training loop: a generator of events that prints nothing, draws nothing and decodes nothing.

    for event in Trainer(model, data, settings, ...).events(): ...

Every update: a batch → `decode` on the whole target, fed as `forcing` says → cross-entropy in chunks → clipped
gradient → `guard` → AdamW → the average of the weights. Every so often the average is scored on the development set,
under teacher forcing whatever the training; the best is kept.

All that changes lives in `Progress`, the weights, the optimiser and torch's random state, and goes into a checkpoint;
so a run that was killed and started again is the same run to the bit (with a budget in minutes: the time already
spent counts).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import Tensor

from pairloom.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint
from pairloom.errors import FolderError, PairloomError, StorageError
from pairloom.learning import guard, optimisation
from pairloom.learning.allocator import IdleMemory, keep_freed_memory
from pairloom.learning.events import Event, Finished, Note, Sample, Saved, Step, Validation
from pairloom.learning.feeding import Feed
from pairloom.learning.forcing import share_of_truth
from pairloom.learning.progress import Progress
from pairloom.learning.schedule import inverse_square_root, learning_rate, update_average
from pairloom.learning.settings import TrainingSettings
from pairloom.learning.update import Feeding, add_gradients
from pairloom.learning.validation import validate
from pairloom.models.protocol import Model

REPORT_EVERY = 20
"""Updates between two `Step` events: they come at its multiples, and where the budget ends."""

SAVING_SHARE = 0.01
"""Of the time that saving may take, at most: a large model is saved less often than `save_seconds` says."""

_PROGRESS = TypeAdapter(Progress)


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
        files: Callable[[], Mapping[str, bytes]] = dict,
    ) -> None:
        """`stop` is asked after every update; `sample` gives worked examples at validations; `spent` is the time, in
        seconds, that the preparation of the data has already taken from a budget in minutes; `files`, what else belongs
        into a checkpoint."""
        self.model, self.feed, self.settings = model, feed, settings
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.best = {name: tensor.clone() for name, tensor in self.average.state_dict().items()}
        self.optimizer = optimisation.build(model, settings)
        self.progress = Progress(seconds=spent)
        self._checkpoints, self._sample, self._stop, self._clock = checkpoints, sample, stop, clock
        self._files = files
        self._started = clock()
        self._spent_before = spent
        self._saved_at, self._saving_took = clock(), 0.0
        self._idle_memory = IdleMemory()
        self._on_disk = False  # a state to which the run could go back
        self._start: Checkpoint | None = None  # that state, until there is one on the disk

    # -- the loop ------------------------------------------------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Trains until the budget is spent, the score stops improving, or `stop` says so; `best` then has weights."""
        keep_freed_memory()
        torch.set_flush_denormal(True)  # gradients near zero must not slow the processor down
        self.model.train()
        if not self._on_disk:
            self._start = self._state(copied=True)
        reason = self._reason_to_end()
        while True:
            if reason != "asked":
                yield from self._look_back(reason == "budget")
                reason = self._reason_to_end()
            if reason:
                break
            yield from self._update()
            reason = self._reason_to_end()
        if reason == "asked":
            yield self.save()
        yield self._finished(reason)

    def _look_back(self, at_end: bool) -> Iterator[Event]:
        """What is due between two updates: the sum of the last ones, a validation, a checkpoint."""
        if self.progress.step % REPORT_EVERY == 0 or at_end:
            yield from self._report()
            self._idle_memory.give_back(self.progress.seconds)
        validated = self._validation_due()
        if validated:
            yield from self._validate()
        if (validated or self.progress.step % REPORT_EVERY == 0) and self._save_due():
            yield self._save_or_go_on()

    def _report(self) -> Iterator[Event]:
        """The event that sums up the updates since the last one; none if all of them were skipped."""
        p = self.progress
        if p.window_tokens:
            loss, speed = p.window_loss / p.window_tokens, self.speed
            yield Step(p.step, p.epoch + 1, loss, speed, self._learning_rate(), self._share_spent(), p.seconds)
        self.progress = replace(p, window_loss=0.0, window_tokens=0, window_seconds=0.0)

    @property
    def speed(self) -> float:
        """Target tokens a second since the last `Step` event."""
        return self.progress.window_tokens / max(self.progress.window_seconds, 1e-9)

    def _update(self) -> Iterator[Event]:
        """One batch. Says what went wrong, if something did."""
        began = self._clock()
        s, p = self.settings, self.progress
        batch = self.feed.batch(p.epoch, p.batch)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        feeding = Feeding(share_of_truth(s, self._share_spent()), s.own == "sample", s.label_smoothing)
        found = add_gradients(self.model, batch, feeding, p.largest, self._autocast)
        norm = optimisation.clip_gradient(self.model.parameters(), s.clip)
        wrong = guard.objection(p, s, found.loss / found.tokens, norm)
        if not wrong:
            self.optimizer.step()
            p = guard.accepted(p, found.loss / found.tokens)
            p = replace(p, window_loss=p.window_loss + found.loss, window_tokens=p.window_tokens + found.tokens)
        else:
            p = replace(p, skipped=p.skipped + 1)
        at_end = p.batch + 1 >= self.feed.batches(p.epoch)
        self.progress = p = replace(
            p,
            step=p.step + 1,
            epoch=p.epoch + at_end,
            batch=0 if at_end else p.batch + 1,
            largest=found.largest,
            seconds=self._seconds(),
            window_seconds=p.window_seconds + self._clock() - began,
        )
        if not wrong:
            update_average(self.average.parameters(), self.model.parameters(), p.step)
        if found.cut:
            yield Note(
                p.step,
                f"memory gave out: batches are taken in pieces of at most {p.largest:,} padded tokens, "
                "their gradients added up, so that what is learned stays the same",
            )
        if wrong:
            yield Note(p.step, f"an update was skipped: {wrong}")
        if p.skipped >= guard.IN_A_ROW:
            yield self._go_back()

    def _go_back(self) -> Note:
        """To the last state that was saved, or the start, with half the learning rate."""
        before = self.progress
        good = self._start or newest_checkpoint(self._checkpoints, lambda finding: None)
        if good is None:
            raise PairloomError(
                f"{guard.IN_A_ROW} updates in a row were skipped, and there is no whole checkpoint left"
            )
        self._load(good)
        self.progress = replace(guard.slower(before, self.progress, self.settings), seconds=self._seconds())
        return Note(
            self.progress.step,
            f"{guard.IN_A_ROW} updates in a row were skipped: back from update {before.step:,} to {good.step:,}, "
            f"with {self.progress.rate_factor:g} of the learning rate",
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
        s, peak, step = self.settings, self.settings.learning_rate * self.progress.rate_factor, self.progress.step + 1
        if s.schedule == "inverse_sqrt":
            return inverse_square_root(peak, step, s.warmup)
        return learning_rate(peak, step, s.warmup, self._share_spent())

    def _validation_due(self) -> bool:
        return self._share_spent() * self.settings.validations >= self.progress.validations + 1

    def _save_due(self) -> bool:
        """Long enough after the last save, with nothing in doubt, and not where the end saves anyway."""
        wanted = self.settings.save_seconds
        least = max(wanted, self._saving_took / SAVING_SHARE) if wanted else 0.0
        late = self._clock() - self._saved_at >= least
        return late and self.progress.step > 0 and not self.progress.skipped and not self._reason_to_end()

    def _reason_to_end(self) -> str:
        if self._stop():
            return "asked"
        if self._share_spent() >= 1.0:
            return "budget"
        return "patience" if self.progress.since_best >= self.settings.patience else ""

    # -- the development set -------------------------------------------------------------------------------------------

    def _validate(self) -> Iterator[Event]:
        began = self._clock()
        loss, exact = validate(self.average, self.feed.development(), self._autocast)
        samples = self._sample(self.average)
        p = self.progress
        better = exact > p.best_exact if self.settings.select == "exact" else loss < p.best_loss
        if self.settings.select == "exact" and exact == p.best_exact:
            better = loss < p.best_loss
        better = better and math.isfinite(loss)
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

    def _autocast(self) -> torch.autocast:
        device = next(self.model.parameters()).device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.settings.precision == "bfloat16")

    def _finished(self, reason: str) -> Finished:
        p = self.progress
        return Finished(p.step, reason, p.best_step, p.best_loss, p.best_exact, self._seconds())

    # -- going on after an end -----------------------------------------------------------------------------------------

    def save(self) -> Saved | Note:
        """Writes a checkpoint; where a number is not finite, none, and says so. StorageError: the disk gave out."""
        self.progress = replace(self.progress, seconds=self._seconds())
        began, state = self._clock(), self._state()
        numbers = (t for group in ("weights", "average", "optimizer") for t in state.tensors[group].values())
        if not guard.all_finite(numbers):
            return Note(self.progress.step, "not saved: weights are not finite numbers; what was saved before is kept")
        path = save_checkpoint(self._checkpoints, replace(state, files=self._files()))
        self._saved_at, self._on_disk, self._start = self._clock(), True, None
        self._saving_took = self._saved_at - began
        return Saved(self.progress.step, path)

    def _save_or_go_on(self) -> Saved | Note:
        """Amid a run a full disk is no reason to stop: there may be room by the next time."""
        try:
            return self.save()
        except (StorageError, MemoryError) as error:
            self._saved_at = self._clock()
            reason = str(error) or "memory gave out"
            return Note(self.progress.step, f"not saved: {reason}; training goes on, and saving is tried again")

    def _state(self, copied: bool = False) -> Checkpoint:
        """All that changes; `copied`: apart from what changes on."""
        tensors: dict[str, dict[str, Tensor]] = {
            "weights": dict(self.model.state_dict()),
            "average": dict(self.average.state_dict()),
            "best": self.best,
            "optimizer": optimisation.state_tensors(self.optimizer, self.model),
            "random": self._dice(),
        }
        if copied:
            tensors = {group: {name: t.clone() for name, t in named.items()} for group, named in tensors.items()}
        return Checkpoint(self.progress.step, tensors, asdict(self.progress))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on where `checkpoint` was saved, in an earlier sitting."""
        self._load(checkpoint)
        self._on_disk = True
        self._spent_before += self.progress.seconds
        self._started = self._clock()

    def _load(self, checkpoint: Checkpoint) -> None:
        """Raises FolderError where the checkpoint is one of another model, or of a version that counts otherwise."""
        try:
            self.model.load_state_dict(dict(checkpoint.tensors["weights"]))
            self.average.load_state_dict(dict(checkpoint.tensors["average"]))
            kept = {name: tensor.clone() for name, tensor in checkpoint.tensors["best"].items()}
            copy.deepcopy(self.average).load_state_dict(kept)  # fits?
            optimisation.restore(self.optimizer, self.model, checkpoint.tensors["optimizer"])
            for name, state in checkpoint.tensors["random"].items():
                self._set_dice(name, state)
            self.progress, self.best = _PROGRESS.validate_python(dict(checkpoint.state)), kept
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FolderError(
                f"{self._checkpoints}: the checkpoint of update {checkpoint.step:,} does not fit this run "
                f"({str(error).splitlines()[0]:.200}); go on with the version of pairloom that wrote it, or begin anew "
                "with --fresh"
            ) from None

    def _dice(self) -> dict[str, Tensor]:
        """Every random state: the processor's, and that of the device on which the model is."""
        device = next(self.model.parameters()).device
        states = {"torch": torch.get_rng_state()}
        if device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(device)
        if device.type == "mps":
            states["mps"] = torch.mps.get_rng_state()
        return states

    def _set_dice(self, name: str, state: Tensor) -> None:
        device = next(self.model.parameters()).device
        if name == "torch":
            torch.set_rng_state(state)
        elif name == "cuda" == device.type:
            torch.cuda.set_rng_state(state, device)
        elif name == "mps" == device.type:
            torch.mps.set_rng_state(state)
