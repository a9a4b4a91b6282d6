"""The command line, a thin twin of the library: parse, call, print, exit code.

Results go to standard output, everything else to standard error. Whatever goes wrong is one message and an exit code
(see errors.py); only PAIRLOOM_DEBUG=1 shows a traceback. torch is imported inside the functions that need it.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from pairloom.cli import (
    asking,
    attending,
    chatting,
    exporting,
    judging,
    quickstart,
    serving,
    showing,
    training,
    vectors,
)
from pairloom.cli.parser import Command, build, grouped, known_command
from pairloom.errors import InterruptedRunError, PairloomError, is_out_of_memory
from pairloom.text.findings import printable

COMMANDS: tuple[tuple[str, tuple[Command, ...]], ...] = (
    ("begin", (quickstart.QUICKSTART, training.TRAIN, vectors.VECTORS)),
    ("use a model", (asking.GENERATE, asking.SCORE, attending.ATTEND, chatting.CHAT, serving.SERVE)),
    ("judge", (judging.CHECK, judging.EVALUATE)),
    ("look", (showing.SHOW, showing.DOCTOR, exporting.EXPORT)),
)
"""Every command, in the order of the help."""

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM}
BROKEN_PIPE = 141
"""What a program that dies of SIGPIPE leaves with: 128 + 13."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; never raises."""
    gc.set_threshold(50_000, 20, 20)  # imports make objects that live: looking for dead ones is an eighth of the start
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # none is used, and looking for them takes 25 ms
    _prepare_streams()
    try:
        code = run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()  # here, where a full disk can still be reported
        return code
    except Exception as error:
        return _report(error)
    except KeyboardInterrupt as error:
        return _fail("interrupted", error.args[0] if error.args else 130)


def run(words: list[str]) -> int:
    """Parses, calls the command's function with explicit arguments, and gives its exit code."""
    known_command(words, [command.name for _, group in COMMANDS for command in group])
    parser = build(COMMANDS)
    if not words:
        print(parser.format_help(), file=sys.stderr, end="")
        return 2
    try:
        arguments = grouped(vars(parser.parse_args(words)))
    except SystemExit:  # --help and --version have been printed
        return 0
    command: Command = arguments.pop("command")
    return command.run(**arguments)


def _report(error: Exception) -> int:
    """The message and the exit code of an error."""
    if isinstance(error, BrokenPipeError):  # whoever read the results has had enough: no reason for noise
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit fails again
        return BROKEN_PIPE
    if _debugging():
        traceback.print_exception(error)
    if isinstance(error, InterruptedRunError):  # as it was asked to: no error
        return _fail(str(error), error.exit_code)
    if isinstance(error, PairloomError):
        return _fail(f"error: {error}", error.exit_code)
    if is_out_of_memory(error):
        return _fail("error: out of memory; smaller batches need less (--batch N, --set training.batch_tokens=N)", 5)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"error: {place}{error.strerror or error}", 5 if error.errno in FULL else 1)
    hint = "" if _debugging() else "; with PAIRLOOM_DEBUG=1 the same command shows where"
    return _fail(f"error: this is a bug in pairloom ({type(error).__name__}: {error}){hint}", 1)


def _debugging() -> bool:
    return os.environ.get("PAIRLOOM_DEBUG", "") not in ("", "0")


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError, ValueError):  # standard error may be closed: then nobody can be told
        with contextlib.suppress(OSError):
            sys.stdout.flush()  # what was found before the error comes before its message
        print(printable(f"pairloom: {message}"), file=sys.stderr)
    return code


def _prepare_streams() -> None:
    """UTF-8 whatever the locale, as the files are; what no encoding can hold becomes an escape instead of a failure."""
    streams: tuple[Any, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
