"""Training as somebody at a terminal sees it (a bar, and worked examples), and as a log file does (plain lines)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pairloom.cli.output import duration, is_terminal, one_line, say
from pairloom.text.findings import printable
from pairloom.workflow import events as ev

if TYPE_CHECKING:
    from rich.progress import Progress

Listener = Callable[[ev.Event], None]


@contextmanager
def listener() -> Iterator[Listener]:
    """What a run tells, on standard error: with a bar at a terminal, one line per validation elsewhere."""
    if not is_terminal(sys.stderr):
        yield Plain(say)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True, highlight=False)
    columns = (BarColumn(bar_width=28), TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as progress:
        yield Bar(progress)


class Plain:
    """One line for whatever changes the picture."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._speed = 0.0

    def __call__(self, event: ev.Event) -> None:
        """Takes one event."""
        if isinstance(event, ev.Step):
            self._speed = event.tokens_per_second
        elif isinstance(event, ev.Validation):
            self._write(f"{event.progress:4.0%}  {judged(event)}  {self._speed:,.0f} tokens/s  {left(event)}".rstrip())
            for name, text in sampled(event):
                self._write(f"      {name}: {one_line(text, 100)}")
        else:
            for line in remarks(event):
                self._write(line)


class Bar:
    """A bar that moves with every report; what should stay is printed above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("training", total=1.0, text="reading the pairs")

    def __call__(self, event: ev.Event) -> None:
        """Takes one event."""
        if isinstance(event, ev.Step):
            text = f"loss {event.loss:.2f}  {event.tokens_per_second:,.0f} tokens/s  {left(event)}"
            self._progress.update(self._task, completed=event.progress, text=text)
        elif isinstance(event, ev.Validation):
            self._print(judged(event), "bold" if event.best else "")
            for name, text in sampled(event):
                self._print(f"    {name}: {self._cut(text)}", "" if name == "output" else "dim")
        else:
            if isinstance(event, ev.Finished):
                text = "saving" if event.reason == "asked" else "writing the model and judging it"
                self._progress.update(self._task, text=text)
            for line in remarks(event):
                self._print(line)

    def _cut(self, text: str) -> str:
        return one_line(text, max(20, self._progress.console.width - 14))

    def _print(self, line: str, style: str = "") -> None:
        self._progress.console.print(printable(line), style=style or None, markup=False, soft_wrap=True)


def sampled(event: ev.Validation) -> list[tuple[str, str]]:
    """The worked examples of a validation: what was asked, what is right, what the model says."""
    return [(name, getattr(sample, name)) for sample in event.samples for name in ("source", "target", "output")]


def judged(event: ev.Validation) -> str:
    """What a validation found."""
    best = "  best so far" if event.best else ""
    return f"step {event.step:,}: development loss {event.loss:.3f}, wholly right {event.exact:.1%}{best}"


def left(event: ev.Step | ev.Validation) -> str:
    """The time that the rest of the budget will take at the pace so far."""
    if not 0 < event.progress < 1:
        return ""
    return f"{duration(event.seconds / event.progress * (1 - event.progress))} left"


def remarks(event: ev.Event) -> list[str]:
    """Lines for the events that are no figures."""
    if isinstance(event, ev.Prepared):
        return [*event.lines, *([f"goes on after update {event.resumed_at:,}"] if event.resumed_at else [])]
    if isinstance(event, ev.Note):
        return [f"step {event.step:,}: {event.message}"]
    if isinstance(event, ev.Evaluated) and event.engine:
        return [f"engine: {event.engine}"]
    if isinstance(event, ev.Finished) and event.reason == "patience":
        return [f"stopped early after {event.step:,} updates: the development score no longer improves"]
    return []
