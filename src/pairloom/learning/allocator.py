"""What is freed at the end of an update is asked for again at the next: the kernel must not clear it each time.

But batches differ in size, and what is kept falls into ever smaller pieces: a run would hold more and more memory. So
now and then the kernel gets back what lies idle.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's malloc.h."""

SECONDS = 30.0
"""Between two times at which idle memory is given back."""


def keep_freed_memory() -> bool:
    """Lets glibc's malloc keep what is freed for the next update; says whether it did (it is there on Linux only).

    The logits of a chunk are 16 MB: above the threshold from which malloc returns memory at once.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 2**25) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


class IdleMemory:
    """What malloc holds and nobody uses."""

    def __init__(self) -> None:
        self._given_back = 0.0  # when, in seconds of the run

    def give_back(self, seconds: float) -> bool:
        """Returns it to the kernel if that was not done within the last `SECONDS`; takes some 50 ms for a gigabyte."""
        if seconds - self._given_back < SECONDS:
            return False
        self._given_back = seconds
        malloc_trim = _of_glibc("malloc_trim")
        if malloc_trim is None:
            return False
        malloc_trim(0)
        return True


def _of_glibc(name: str) -> Callable[..., int] | None:
    """One of its functions; None where there is another library, or another system."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None  # musl has neither
