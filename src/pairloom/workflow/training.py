"""The face of training in Python: `training`, a run as events, and `train`, a run to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pairloom.errors import InterruptedRunError
from pairloom.workflow import events as ev
from pairloom.workflow.choices import choose
from pairloom.workflow.model import Model, Paths, load, path_names
from pairloom.workflow.run import run
from pairloom.workflow.signals import stopping


def training(
    pairs: Paths,
    *,
    out: str | Path,
    dev: Paths = (),
    fresh: bool = False,
    stop: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> Iterator[ev.Event]:
    """A run as a generator of events, to drive from anywhere. Settings: see `RunSettings`: the words
    of the command, but `kind` for --model, and `model`, `training`, `generation` as dictionaries for --set."""
    chosen = choose(pairs=tuple(path_names(pairs)), dev=tuple(path_names(dev)), **settings)
    return run(chosen, out, fresh=fresh, stop=stop)


def train(
    pairs: Paths, *, out: str | Path, on_event: Callable[[ev.Event], None] | None = None, **settings: Any
) -> Model:
    """Trains to the end (or goes on with what is there) and gives the model.

    Ctrl-C, SIGTERM and a terminal that closes save the state and raise InterruptedRunError; the same call then goes on.
    """
    with stopping() as stop:
        for event in training(pairs, out=out, stop=stop, **settings):
            if on_event is not None:
                on_event(event)
            if isinstance(event, ev.Interrupted):
                raise InterruptedRunError(event.message, stop.exit_code)
    return load(out)
