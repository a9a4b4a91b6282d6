"""Bytes and lines: plain, gzip or zstandard files and standard input, streamed, whatever is in them.

Nothing here knows what a pair is. A line ends at `\\n` and nowhere else (a U+2028 inside a sentence is text); one
`\\r` before it is dropped. Whatever is wrong with a file as a whole becomes a `DataError` that says what to do.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import weakref
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pairloom.errors import DataError, MissingExtraError, StorageError, UsageError

STDIN = "-"
LONGEST_LINE = 1_000_000
"""Characters; a longer line is no sentence but a file in another format."""
LONGEST_LINE_BYTES = 4 * LONGEST_LINE + 8
"""No character takes more than 4 bytes, so what is cut off here was too long anyway."""

_CHUNK = 1 << 18  # bytes
_ZSTD_SLICE = 1 << 10  # bytes; 1 KiB of zstandard can stand for 32 MiB of zeros, so it is fed in small spoons
_BOM = b"\xef\xbb\xbf"
_FOREIGN = {
    b"\x1f\x8b": "is compressed with gzip: give it a name that ends in .gz (from a pipe: gzip -dc)",
    b"\x28\xb5\x2f\xfd": "is compressed with zstandard: give it a name that ends in .zst (from a pipe: zstd -dc)",
    b"PK\x03\x04": "is a zip archive or an office document: unpack it, or save the sheet as tab-separated text",
    b"PAR1": "is a Parquet file: give it a name that ends in .parquet",
    b"\xff\xfe": "is UTF-16, pairloom reads UTF-8: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "is UTF-16, pairloom reads UTF-8: iconv -f UTF-16 -t UTF-8",
}


class InputFile:
    """One file (or standard input, or a pipe) that can be read from its beginning as often as needed.

    What cannot be read twice is copied once to a temporary file, removed with this object. `name` is what messages
    call it, `path` where the bytes are, `suffix` the ending without .gz or .zst, in lower case ("" for a pipe).
    """

    def __init__(self, path: str) -> None:
        self.name = "<stdin>" if path == STDIN else path
        self.spooled = path == STDIN or not _is_regular(path)
        self.path = Path(path)
        endings = [] if self.spooled else [suffix.lower() for suffix in self.path.suffixes]
        self.compression = endings.pop() if endings and endings[-1] in (".gz", ".zst") else ""
        self.suffix = endings[-1] if endings else ""
        if self.spooled:
            self.path = _spool(path, self.name)
            weakref.finalize(self, _remove, self.path)

    def chunks(self) -> Iterator[bytes]:
        """The bytes after decompression, a piece at a time. Raises DataError if they cannot be read."""
        return _guarded(self.name, _decompressed(self.path, self.compression))

    def lines(self) -> Iterator[bytes]:
        """The raw lines, as `split_lines`."""
        return split_lines(self.chunks())

    def head(self) -> bytes:
        """The first piece of the bytes. Raises DataError for a file that is visibly of another kind."""
        head = next(self.chunks(), b"")
        for magic, advice in _FOREIGN.items():
            if head.startswith(magic) and self.suffix != ".parquet":
                raise DataError(f"{self.name} {advice}")
        return head

    def count_lines(self) -> int:
        """The number of lines; a last one without `\\n` counts."""
        count, last = 0, b"\n"
        for chunk in self.chunks():
            count += chunk.count(b"\n")
            last = chunk[-1:]
        return count + (last != b"\n")

    def add_to(self, digest: Any) -> None:
        """Update a hashlib object with the bytes as they are stored."""
        for chunk in _guarded(self.name, _decompressed(self.path, "")):
            digest.update(chunk)


def sha256_of(files: Iterable[InputFile]) -> str:
    """sha256 (hex) over the stored bytes of the files, one after the other, as `cat FILES | sha256sum`."""
    digest = hashlib.sha256()
    for file in files:
        file.add_to(digest)
    return digest.hexdigest()


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of a stream → its lines, without `\\n`, the closing `\\r` and the byte order mark of the first.

    A line is yielded as soon as it is complete. One longer than LONGEST_LINE_BYTES is cut to that; its rest is dropped.
    """
    held = bytearray()
    pending, first = False, True
    for chunk in chunks:
        pieces = chunk.split(b"\n")
        rest = pieces.pop()
        for raw in pieces:
            line = raw
            if pending:
                held += raw[: LONGEST_LINE_BYTES - len(held)]
                line = bytes(held)
                held.clear()
                pending = False
            if first:
                line, first = line.removeprefix(_BOM), False
            yield line[:-1] if line.endswith(b"\r") else line
        if rest:
            held += rest[: LONGEST_LINE_BYTES - len(held)]
            pending = True
    if pending:
        line = bytes(held)
        if first:
            line = line.removeprefix(_BOM)
            if not line:
                return
        yield line[:-1] if line.endswith(b"\r") else line


class Lines(Iterator[str]):
    """The lines of `read_lines`: exactly one str for each line, in order.

    `replaced` counts the lines in which bytes that are not UTF-8 became U+FFFD, `cut` the lines cut to LONGEST_LINE
    characters; both are complete once the iterator is exhausted.
    """

    def __init__(self, raw: Iterator[bytes]) -> None:
        self.replaced = 0
        self.cut = 0
        self._raw = raw

    def __next__(self) -> str:
        raw = next(self._raw)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode(errors="replace")
            self.replaced += 1
        if len(text) > LONGEST_LINE:
            self.cut += 1
            return text[:LONGEST_LINE]
        return text


def read_lines(path: str) -> Lines:
    """The lines of a file (also .gz, .zst) or of standard input (`-`), for which each is available as it arrives.

    Raises DataError if the file cannot be read, and while iterating if it breaks off.
    """
    if path == STDIN:
        return Lines(split_lines(_guarded("<stdin>", _stdin_chunks())))
    _is_regular(path)
    suffix = Path(path).suffix.lower()
    return Lines(split_lines(_guarded(path, _decompressed(Path(path), suffix))))


def _stdin_chunks() -> Iterator[bytes]:
    if sys.stdin is None:
        raise UsageError("standard input is closed; name a file instead of -")
    read = getattr(sys.stdin.buffer, "read1", sys.stdin.buffer.read)  # read1 gives what is there and does not wait
    while chunk := read(_CHUNK):
        yield chunk


def _is_regular(path: str) -> bool:
    """Whether it is an ordinary file; raises DataError if it is none at all."""
    try:
        mode = Path(path).stat().st_mode
        if not stat.S_ISDIR(mode) and not os.access(path, os.R_OK):
            raise DataError(f"{path}: no permission to read it; change its rights (chmod +r) or copy it")
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file; check the name, seen from {Path.cwd()}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{path!r}: {error}") from None
    if stat.S_ISDIR(mode):
        raise DataError(f"{path} is a directory; name a file in it")
    return stat.S_ISREG(mode)


def _spool(path: str, name: str) -> Path:
    """Copy what can be read only once to a temporary file."""
    chunks = _stdin_chunks() if path == STDIN else _decompressed(Path(path), "")
    return _to_temporary(_guarded(name, chunks), name)


def _to_temporary(chunks: Iterator[bytes], name: str) -> Path:
    handle, copy = tempfile.mkstemp(prefix="pairloom-")
    try:
        with os.fdopen(handle, "wb") as out:
            for chunk in chunks:
                out.write(chunk)
    except BaseException as error:
        _remove(Path(copy))
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = shutil.disk_usage(tempfile.gettempdir()).free
            message = f"no room for a temporary copy of {name}: {free:,} bytes free in {tempfile.gettempdir()}"
            raise StorageError(f"{message}; set TMPDIR to a larger disk") from None
        raise
    return Path(copy)


@contextlib.contextmanager
def seekable(file: InputFile) -> Iterator[BinaryIO]:
    """A stream with `seek` over the bytes after decompression (Parquet begins at its end)."""
    if not file.compression:
        with file.path.open("rb") as stream:
            yield stream
        return
    copy = _to_temporary(file.chunks(), file.name)
    try:
        with copy.open("rb") as stream:
            yield stream
    finally:
        _remove(copy)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _guarded(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes; whatever goes wrong while reading them becomes a DataError with the name of the file."""
    try:
        yield from chunks
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name}: damaged or not a gzip file ({error}); fetch or pack it again") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror or error})") from None


def _decompressed(path: Path, compression: str) -> Iterator[bytes]:
    if compression == ".zst":
        yield from _zstandard(path)
    elif compression == ".gz":
        with gzip.open(path) as packed:
            while chunk := packed.read1(_CHUNK):
                yield chunk
    else:
        with path.open("rb", buffering=0) as plain:  # unbuffered, so that a pipe gives what it has
            while chunk := plain.read(_CHUNK):
                yield chunk


def _zstandard(path: Path) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError("reading .zst files", "data") from None
    frame = None  # zstandard's own reader takes a file that breaks off for one that ends, hence frame by frame
    with path.open("rb") as packed:
        while piece := packed.read(_ZSTD_SLICE):
            data = piece
            while data:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                try:
                    chunk = frame.decompress(data)
                except (zstandard.ZstdError, MemoryError) as error:
                    message = f"{path}: damaged or not a zstandard file ({error}); fetch or pack it again"
                    raise DataError(message) from None
                if chunk:
                    yield chunk
                data = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
    if frame is not None:
        raise DataError(f"{path}: damaged zstandard file (it breaks off); fetch or pack it again")
