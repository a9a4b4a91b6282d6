"""Writing so that a crash at any moment leaves the old state or the new one, and never half of either.

A directory is written beside its final place, every file is flushed to the disk, the manifest of hashes comes last,
and a rename puts it in place. A directory is whole when its manifest says so; nothing else is ever believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pairloom.errors import FolderError, StorageError, UsageError

MANIFEST = "MANIFEST.sha256"
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._-]{1,100})")


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns a failing disk into a `StorageError` that names the place."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; what was there before is kept") from error


def write_file(path: Path, content: bytes) -> None:
    """Replaces one file atomically: written beside, flushed, renamed."""
    write_pieces(path, [content])


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """The same for a file that is made piece by piece; if that fails or is interrupted, nothing of it stays."""
    beside = path.with_name(f".{path.name}.writing")
    try:
        with disk_errors(path):
            with beside.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            flush_directory(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """`with new_directory(p) as d:` write files into d; when the block ends without an error, d becomes p, whole."""
    beside = path.with_name(f".{path.name}.writing")
    with disk_errors(path):
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
    try:
        with disk_errors(path):
            yield beside
            for file in beside.iterdir():
                flush_file(file)
            write_manifest(beside)
            flush_directory(beside)
            if path.exists():
                shutil.rmtree(path)
            beside.rename(path)
            flush_directory(path.parent)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def write_manifest(directory: Path, leave_out: frozenset[str] = frozenset()) -> None:
    """Hashes of every visible file of `directory` (not of its sub-directories), written last and atomically."""
    files = sorted(
        file for file in directory.iterdir()
        if file.is_file() and not file.name.startswith(".") and file.name not in leave_out | {MANIFEST}
    )  # fmt: skip
    lines = [f"{file_hash(file)}  {file.name}\n" for file in files]
    write_file(directory / MANIFEST, "".join(lines).encode())


def check_manifest(directory: Path) -> list[str]:
    """What differs from the manifest, one line a finding; an empty list means whole. Raises FolderError without one."""
    path = directory / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise FolderError(f"{directory} has no {MANIFEST}: it is not a finished model, or its writing was interrupted")
    if path.stat().st_size > 100_000:
        raise FolderError(f"{path} is too large to be a manifest")
    findings = []
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            findings.append(f"{path}:{number}: not a line of a manifest")
            continue
        expected, name = match.groups()
        file = directory / name
        if file.is_symlink() or not file.is_file():
            findings.append(f"{name} is missing")
        elif file_hash(file) != expected:
            findings.append(f"{name} is damaged: its content is not what was written")
    return findings


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_file(path: Path) -> None:
    """Content of one file to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_directory(path: Path) -> None:
    """The names in a directory to the disk (Windows keeps them by itself)."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps a second process out of the folder for as long as the block runs; the system frees it with the process."""
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"another process is training in {directory}; wait for it, or choose another --out") from None
    except OSError as error:
        raise StorageError(f"cannot write in {directory}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
