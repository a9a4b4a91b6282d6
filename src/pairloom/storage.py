"""Writing so that a crash at any moment leaves the old state or the new one, and never half of either.

A directory is written beside its final place, every file is flushed to the disk, the manifest of hashes comes last,
and a rename puts it in place. A directory is whole when its manifest says so; nothing else is ever believed.
What is under way has a hidden name that ends in `.writing`: whoever finds one after a crash may remove it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from pairloom.errors import FolderError, StorageError, UsageError

MANIFEST = "MANIFEST.sha256"
LARGEST_MANIFEST = 100_000  # bytes
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
    beside = _beside(path)
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
    """`with new_directory(p) as d:` write files into d; when the block ends without an error, d becomes p, whole.

    There must be no p yet: nothing is ever replaced, so no moment is without the old or the new.
    """
    beside = _beside(path)
    with disk_errors(path):
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
    try:
        with disk_errors(path):
            yield beside
            for file in beside.iterdir():
                flush_file(file)
            write_manifest(beside)
            flush_directory(beside)
            beside.rename(path)
            flush_directory(path.parent)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def remove_directory(path: Path) -> None:
    """Takes a whole directory away at once, under a hidden name first: a crash leaves no half of it to be met."""
    hidden = _beside(path)
    shutil.rmtree(hidden, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def remove_unfinished(directory: Path) -> None:
    """What a crash has left of files and directories that were being written or removed."""
    for path in directory.glob(".*.writing"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.writing")


def write_manifest(directory: Path, names: Collection[str] | None = None) -> None:
    """Hashes of the files of `directory` (of those `names` that there are; or of all that are visible), written last
    and atomically."""
    files = sorted(
        file for file in directory.iterdir()
        if file.is_file() and file.name != MANIFEST
        and (not file.name.startswith(".") if names is None else file.name in names)
    )  # fmt: skip
    _write_lines(directory, [(file.name, file_hash(file)) for file in files])


def replace_files(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Replaces files of a directory that has a manifest, which holds at every moment of it.

    Everything is written beside first, where a full disk shows itself; then the manifest knows the old and the new
    content of each file, then the files change one by one, then only the new is known.
    """
    before = {name: hashes for name, hashes in read_manifest(directory).items() if name not in contents}
    changing = [(name, file_hash(directory / name)) for name in contents if (directory / name).is_file()]
    new = [(name, hashlib.sha256(content).hexdigest()) for name, content in contents.items()]
    kept = [(name, one) for name, hashes in before.items() for one in sorted(hashes)]
    places = {name: _beside(directory / name) for name in contents}
    try:
        with disk_errors(directory):
            for name, content in contents.items():
                places[name].write_bytes(content)
                flush_file(places[name])
            _write_lines(directory, sorted({*kept, *changing, *new}))
            for name, place in places.items():
                place.replace(directory / name)
            flush_directory(directory)
            _write_lines(directory, sorted({*kept, *new}))
    except BaseException:
        for place in places.values():
            with contextlib.suppress(OSError):
                place.unlink(missing_ok=True)
        raise


def _write_lines(directory: Path, hashes: Iterable[tuple[str, str]]) -> None:
    write_file(directory / MANIFEST, "".join(f"{one}  {name}\n" for name, one in hashes).encode())


def read_manifest(directory: Path) -> dict[str, set[str]]:
    """Name → the hashes that its content may have. Raises FolderError if there is no manifest, or it is damaged."""
    path = directory / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise FolderError(f"{directory} has no {MANIFEST}: it is not a finished model, or its writing was interrupted")
    if path.stat().st_size > LARGEST_MANIFEST:
        raise FolderError(f"{path} is too large to be a manifest")
    found: dict[str, set[str]] = {}
    for number, line in enumerate(path.read_text("utf-8", errors="replace").split("\n"), start=1):
        match = _LINE.fullmatch(line)
        if match is not None:
            found.setdefault(match[2], set()).add(match[1])
        elif line:
            raise FolderError(f"{directory} is damaged:", [f"{path}:{number}: not a line of a manifest"])
    return found


def check_manifest(directory: Path, names: Collection[str] | None = None) -> list[str]:
    """What differs from the manifest, one line a finding; an empty list means whole. Raises FolderError without one.

    With `names`, only these are looked at.
    """
    findings = []
    for name, hashes in read_manifest(directory).items():
        if names is not None and name not in names:
            continue
        file = directory / name
        if file.is_symlink() or not file.is_file():
            findings.append(f"{name} is missing")
            continue
        with reading(file):
            if file_hash(file) not in hashes:
                findings.append(f"{name} is damaged: its content is not what was written")
    return findings


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns a file that cannot be read into a `FolderError` that names it."""
    try:
        yield
    except OSError as error:
        raise FolderError(f"{path} cannot be read: {error.strerror or error}") from None


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_file(path: Path) -> None:
    """Content of one file to the disk."""
    with path.open("r+b") as file:  # Windows flushes only what could be written to
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
    from filelock import FileLock, Timeout  # here: who only reads does not wait for its import

    with disk_errors(directory):
        file = next((place for place in (directory, *directory.parents) if place.is_file()), None)
        if file is not None:
            raise UsageError(f"{directory} cannot be a folder: {file} is a file; name another one")
        directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"another process is training in {directory}; wait for it, or choose another --out") from None
    except OSError as error:
        raise StorageError(f"cannot write in {directory}: {error.strerror or error}") from error
    except NotImplementedError:
        raise StorageError(
            f"{directory} is on a disk that knows no locks, so two runs could write over each other: choose a folder "
            "on a disk of this machine"
        ) from None
    try:
        yield
    finally:
        lock.release()
