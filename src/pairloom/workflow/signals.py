"""Ctrl-C, SIGTERM and a closing terminal as a wish to stop, asked for between two updates; a second leaves at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether somebody has asked to stop; called, it says so."""

    def __init__(self) -> None:
        self.signal = 0

    def __call__(self) -> bool:
        return self.signal != 0

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, 129 after the terminal has closed."""
        return 128 + (self.signal or signal.SIGINT)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Notes the first signal; the second one is a KeyboardInterrupt that carries the exit code. What has been saved
        is whole either way."""
        if self.signal:
            raise KeyboardInterrupt(128 + number)
        self.signal = number


@contextmanager
def stopping() -> Iterator[Stop]:
    """Catches SIGINT, SIGTERM and SIGHUP within the block, but no SIGHUP that is ignored (`nohup`). Only a main thread
    can; elsewhere nothing is caught."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    heard = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # there is none on Windows
        heard.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop.handle) for number in heard}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
