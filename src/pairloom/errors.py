"""The errors that a user can meet: each says what is wrong, where, and what to do, and carries its exit code.

    0  success            3  bad data                      129  terminal closed      141  pipe closed
    1  failure at work    4  model folder refused          130  interrupted          143  terminated
    2  wrong use          5  disk or memory

The command line prints `str(error)` and leaves with `error.exit_code`; nobody sees a traceback for bad input.
"""

from __future__ import annotations

from collections.abc import Sequence


class PairloomError(Exception):
    """Anything that pairloom itself reports; the work could not be done."""

    exit_code = 1


class UsageError(PairloomError):
    """The call itself is wrong: an unknown name, two settings that exclude each other, a missing extra."""

    exit_code = 2


class DataError(PairloomError):
    """The data cannot be used as it is. `problems` lists every finding, each as `file:line: reason`."""

    exit_code = 3

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *(f"  {problem}" for problem in problems)]))
        self.problems = tuple(problems)


class FolderError(PairloomError):
    """A folder is not a model, is damaged, or holds something that is not allowed there."""

    exit_code = 4

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *(f"  {problem}" for problem in problems)]))
        self.problems = tuple(problems)


class StorageError(PairloomError):
    """The disk or the memory gave out."""

    exit_code = 5


class MissingExtraError(UsageError):
    """A feature needs a package that is not installed; names the extra that brings it."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra `{extra}`: pip install 'pairloom[{extra}]'")


class InterruptedRunError(PairloomError):
    """A run was stopped by a signal after its state was saved; the message says how to go on."""

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "bad_alloc",
    "failed to allocate memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory gave out: Python's, CUDA's, that of torch's allocator or of ONNX Runtime."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _NO_MEMORY)
