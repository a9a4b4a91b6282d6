"""What is freed at the end of an update is asked for again at the next: the kernel must not clear it each time."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Lets glibc's malloc keep what is freed for the next update; says whether it did (it is there on Linux only).

    The logits of a chunk are 16 MB: above the threshold from which malloc returns memory at once.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 2**25) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
