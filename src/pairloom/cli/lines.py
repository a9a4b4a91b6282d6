"""Lines in, as they arrive: a file in large windows, a slow pipe or a terminal line by line.

Sentences of one window are sorted by length and decoded together, so large windows are fast; but whoever types a line
wants its answer before the next. Therefore standard input is read by a thread, and a window is whatever has arrived by
the time that the model is free: one line from a person, thousands from a file.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from queue import Empty, Queue

from pairloom.errors import DataError, UsageError
from pairloom.text.files import STDIN, Lines, read_lines, split_lines

CHUNK = 1 << 18  # bytes


def open_lines(path: str) -> Lines:
    """The lines of a file, or of standard input (`-`). Raises DataError for a file that cannot be read."""
    return Lines(split_lines(_standard_input())) if path == STDIN else read_lines(path)


def _standard_input() -> Iterator[bytes]:
    if sys.stdin is None:
        raise UsageError("standard input is closed; name a file instead of -")
    # The raw stream gives what is there, and a thread that waits in it holds no lock when the program ends.
    source = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    try:
        with contextlib.suppress(io.UnsupportedOperation):  # no file of the system: a test's
            os.set_blocking(source.fileno(), True)  # else "nothing there yet" would be read as the end
        while chunk := source.read(CHUNK):
            yield chunk
    except OSError as error:
        raise DataError(f"<stdin>: cannot be read ({error.strerror or error})") from None


def windows(lines: Iterator[str], most: int) -> Iterator[list[str]]:
    """The lines, `most` at a time."""
    while window := list(islice(lines, most)):
        yield window


def arriving(lines: Iterator[str], most: int) -> Iterator[list[str]]:
    """The lines that have arrived whenever the caller asks, from 1 to `most` of them."""
    waiting: Queue[str | Exception | None] = Queue(maxsize=most)

    def read() -> None:
        try:
            for line in lines:
                waiting.put(line)
            waiting.put(None)
        except Exception as error:  # raised again in the thread that asks
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    while True:
        window: list[str] = []
        item = waiting.get()
        while isinstance(item, str):
            window.append(item)
            if len(window) == most:
                break
            try:
                item = waiting.get_nowait()
            except Empty:
                break
        if window:
            yield window
        if isinstance(item, Exception):
            raise item
        if item is None:
            return
