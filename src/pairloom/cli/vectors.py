"""`pairloom vectors`: word vectors from plain text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pairloom.cli.output import command, duration, is_terminal, one_line, say, show, show_json
from pairloom.cli.parser import Command, Parser, add_json, natural
from pairloom.cli.training import UNITS

if TYPE_CHECKING:
    from pairloom.workflow.vectors import VectorsEvent

OPTIONS: tuple[tuple[str, Callable[[str], Any], str, str], ...] = (
    ("--size", int, "N", "numbers in a vector (100)"),
    ("--window", int, "N", "words to each side, at most (5)"),
    ("--negative", int, "N", "noise words for each pair (5)"),
    ("--sample", float, "T", "words more frequent than this share are thinned (0.001)"),
    ("--epochs", int, "N", "passes over the text (5)"),
    ("--rate", float, "R", "learning rate at the start (0.025)"),
    ("--min-count", int, "N", "rarer words get no vector (5; tokens that are no words: 1)"),
    ("--seed", int, "N", "of everything random (1)"),
)


def add_vectors(parser: Parser) -> None:
    """The arguments."""
    text = "one text a line (also .gz, .zst, or - for standard input); tabs part several, as in a file of pairs"
    parser.add_argument("texts", nargs="+", metavar="TEXT", help=text)
    parser.rest = "texts"
    parser.add_argument("--out", required=True, metavar="FILE", help="the file of vectors, in word2vec's text format")
    add_json(parser)
    group = parser.add_argument_group("texts")
    text = "only this column of lines with tabs, from 1"
    group.add_argument("--column", type=natural, metavar="N", dest="settings.column", help=text)
    text = f"what gets a vector: {', '.join(UNITS)} (word)"
    group.add_argument("--unit", choices=UNITS, metavar="UNIT", dest="settings.unit", help=text)
    text = "the tokens of this model instead, so that the vectors fit `train` with the same pairs"
    group.add_argument("--tokenizer", metavar="DIR", dest="settings.tokenizer", help=text)
    text = "which tokenizer of that model (source)"
    group.add_argument("--side", choices=("source", "target"), dest="settings.side", help=text)
    text = "words, at most (1,000,000)"
    group.add_argument("--vocabulary", type=int, metavar="N", dest="settings.vocabulary", help=text)
    forms = ("NFC", "NFD", "NFKC", "NFKD", "none")
    text = f"of Unicode: {', '.join(forms)} (NFC)"
    group.add_argument("--normal-form", choices=forms, metavar="FORM", dest="settings.normal_form", help=text)
    group = parser.add_argument_group("learning (Mikolov et al. 2013)")
    for name, kind, metavar, text in OPTIONS:
        dest = "settings." + name.removeprefix("--").replace("-", "_")
        group.add_argument(name, type=kind, metavar=metavar, dest=dest, help=text)
    text = "threads of the processor"
    group.add_argument("--threads", type=natural, metavar="N", dest="settings.threads", help=text)


def vectors(*, texts: Sequence[str], out: str, settings: dict[str, Any], as_json: bool) -> int:
    """Learns, writes, and says what to try."""
    import pairloom

    with listener() as on_event:
        learned = pairloom.vectors(texts, out=out, on_event=on_event, **settings)
    if as_json:
        show_json({"file": out, "words": len(learned), "size": learned.size})
        return 0
    show(f"vectors: {out}, {len(learned):,} of {learned.size} numbers")
    word = max(learned.words[:200], key=len)  # a longer one of the frequent ones is likely to mean something
    show(f"look: {command('show', out, '--near', one_line(word, 60))}")
    return 0


@contextmanager
def listener() -> Iterator[Callable[[VectorsEvent], None]]:
    """What the work tells, on standard error: a bar at a terminal, ten lines elsewhere."""
    if not is_terminal(sys.stderr):
        yield Plain(say)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True, highlight=False)
    columns = (BarColumn(bar_width=28), TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as progress:
        task = progress.add_task("vectors", total=1.0, text="reading the texts")

        def on_event(event: VectorsEvent) -> None:
            if lines := remarks(event):
                for line in lines:
                    console.print(line, markup=False, soft_wrap=True)
            else:
                progress.update(task, completed=event.progress, text=state(event))  # type: ignore[union-attr]

        yield on_event


class Plain:
    """A line for every tenth of the work."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._next = 0.1

    def __call__(self, event: VectorsEvent) -> None:
        """Takes one event."""
        for line in remarks(event):
            self._write(line)
        progress = getattr(event, "progress", 0.0)
        if progress >= self._next:
            self._next = progress + 0.099
            self._write(f"{progress:4.0%}  {state(event)}")


def remarks(event: VectorsEvent) -> tuple[str, ...]:
    """What was found in the texts."""
    lines: tuple[str, ...] = getattr(event, "lines", ())
    return lines


def state(event: Any) -> str:
    """How far it is."""
    left = duration(event.seconds / event.progress * (1 - event.progress)) if event.progress else "?"
    return f"loss {event.loss:.3f} a pair  {event.words_per_second:,.0f} words/s  {left} left"


VECTORS = Command(
    "vectors",
    "TEXT... --out FILE [options]",
    "learn word vectors from plain text",
    (
        "pairloom vectors text.txt --out words.vec",
        "pairloom vectors train.de train.en more.de.gz --out both.vec --size 256 --epochs 10",
        "pairloom vectors pairs.tsv --column 1 --tokenizer runs/mine --out pieces.vec",
    ),
    add_vectors,
    vectors,
)
