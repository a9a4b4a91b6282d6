"""Pairs as ids on disk: encoded once, then mapped into memory, so that a corpus may be larger than the memory.

A corpus is a folder:

    source.tokens   target.tokens    all ids of one side, one sentence after the other (uint16, or uint32 if needed)
    source.offsets  target.offsets   int64 [N + 1]: sentence i is tokens[offsets[i]:offsets[i + 1]]
    corpus.json                      counts, type of the ids, how many sentences were cut, the fingerprint
    MANIFEST.sha256                  hashes of these, so that a flipped bit is found when a run goes on

`<s>` and `</s>` are not stored: they belong to the batch. All numbers are little-endian.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pairloom.errors import FolderError, StorageError, UsageError
from pairloom.storage import MANIFEST, check_manifest, flush_directory, read_manifest, write_manifest

SCHEMA = 1
BLOCK = 8192  # pairs encoded at once
SIDES = ("source", "target")
_FILES = {"corpus.json", *(f"{side}.{kind}" for side in SIDES for kind in ("tokens", "offsets"))}

Ids = npt.NDArray[np.unsignedinteger[Any]]
Lengths = npt.NDArray[np.int64]


class Encoder(Protocol):
    """What the corpus needs of a tokenizer."""

    @property
    def size(self) -> int:
        """Number of ids."""
        ...

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text."""
        ...


class Side(NamedTuple):
    """All sentences of one side."""

    tokens: Ids  # all ids, mapped from the file
    offsets: Lengths  # [N + 1]

    def lengths(self) -> Lengths:
        """[N] tokens of each sentence, without `<s>` and `</s>`."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Corpus:
    """N encoded pairs, read-only. `cut_source` and `cut_target` say how many sentences were longer than allowed."""

    directory: Path
    fingerprint: str
    source_side: Side
    target_side: Side
    source_lengths: Lengths  # [N] tokens, without `</s>`
    target_lengths: Lengths  # [N] tokens, without `<s>` and `</s>`
    cut_source: int
    cut_target: int

    def __len__(self) -> int:
        return len(self.source_lengths)

    @property
    def source_tokens(self) -> int:
        """Tokens of all sources together."""
        return int(self.source_side.offsets[-1])

    @property
    def target_tokens(self) -> int:
        """Tokens of all targets together."""
        return int(self.target_side.offsets[-1])

    def source(self, i: int) -> Ids:
        """The ids of source i, 0 ≤ i < N."""
        return self.source_side.tokens[self.source_side.offsets[i] : self.source_side.offsets[i + 1]]

    def target(self, i: int) -> Ids:
        """The ids of target i, 0 ≤ i < N."""
        return self.target_side.tokens[self.target_side.offsets[i] : self.target_side.offsets[i + 1]]


def build_corpus(
    directory: str | Path,
    pairs: Iterable[Sequence[Any]],
    source_tokenizer: Encoder,
    target_tokenizer: Encoder,
    max_source: int,
    max_target: int,
    fingerprint: str,
) -> Corpus:
    """Encode pairs (first item source, second target) into `directory`, replacing a corpus that is there.

    Sentences of more than `max_source` or `max_target` tokens (without `<s>` and `</s>`) are cut there and counted.
    `fingerprint` names what the corpus was made from: data, tokenizers, lengths. The folder appears only when it is
    complete; whatever happens before leaves the old one (or none) in place. One build of a folder at a time.
    Raises StorageError if the disk fails, UsageError if `directory` holds something else.
    """
    directory = Path(directory).absolute()
    if max_source < 1 or max_target < 1:
        raise UsageError(f"the longest source ({max_source}) and target ({max_target}) must be at least 1 token")
    if directory.exists() and not _is_replaceable(directory):
        raise UsageError(f"{directory} holds something that is not a corpus: name another folder, or empty this one")
    temporary = directory.with_name(f".{directory.name}.building-{os.getpid()}")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        for stale in directory.parent.glob(f".{_literal(directory.name)}.building-*"):
            shutil.rmtree(stale)
        temporary.mkdir()
        writers = [
            _Writer(temporary, "source", source_tokenizer, max_source),
            _Writer(temporary, "target", target_tokenizer, max_target),
        ]
        count = _write_pairs(pairs, writers)
        facts = {"schema": SCHEMA, "fingerprint": fingerprint, "pairs": count}
        for writer in writers:
            facts[writer.name] = {"dtype": writer.dtype.str, "tokens": writer.total, "cut": writer.cut}
        _write_durably(temporary / "corpus.json", json.dumps(facts, indent=1).encode())
        write_manifest(temporary)
        _put_in_place(temporary, directory)
    except OSError as error:
        raise StorageError(f"cannot write the encoded pairs to {directory}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    corpus = open_corpus(directory, fingerprint)
    if corpus is None:
        raise StorageError(f"the encoded pairs in {directory} are not what was just written: check the disk")
    return corpus


def open_corpus(directory: str | Path, fingerprint: str) -> Corpus | None:
    """The corpus in `directory`; None if there is none, it is damaged, or it was made from something else."""
    directory = Path(directory).absolute()
    try:
        facts = json.loads((directory / "corpus.json").read_bytes())
        if facts["schema"] != SCHEMA or facts["fingerprint"] != fingerprint:
            return None
        source, target = (_open_side(directory, name, facts[name], int(facts["pairs"])) for name in SIDES)
        cut_source, cut_target = (int(facts[name]["cut"]) for name in SIDES)
        if not read_manifest(directory).keys() >= _FILES or check_manifest(directory):
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, FolderError):
        return None
    return Corpus(
        directory=directory,
        fingerprint=fingerprint,
        source_side=source,
        target_side=target,
        source_lengths=source.lengths(),
        target_lengths=target.lengths(),
        cut_source=cut_source,
        cut_target=cut_target,
    )


class _Writer:
    """One side of a corpus being built: cuts, counts, appends."""

    def __init__(self, directory: Path, name: str, tokenizer: Encoder, longest: int) -> None:
        self.name = name
        self.tokens_path = directory / f"{name}.tokens"
        self.offsets_path = directory / f"{name}.offsets"
        self.tokenizer = tokenizer
        self.longest = longest
        self.dtype = np.dtype("<u2" if tokenizer.size <= 1 << 16 else "<u4")
        self.total = 0
        self.cut = 0

    def append(self, texts: Sequence[str], tokens: BinaryIO, offsets: BinaryIO) -> None:
        sentences = self.tokenizer.encode_all(texts)
        lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
        too_long = int((lengths > self.longest).sum())
        if too_long:
            self.cut += too_long
            sentences = [ids[: self.longest] for ids in sentences]
            lengths = np.minimum(lengths, self.longest)
        ids = np.fromiter(chain.from_iterable(sentences), dtype=self.dtype, count=int(lengths.sum()))
        tokens.write(ids.tobytes())
        offsets.write((self.total + np.cumsum(lengths)).astype("<i8").tobytes())
        self.total += len(ids)


def _write_pairs(pairs: Iterable[Sequence[Any]], writers: Sequence[_Writer]) -> int:
    """Write all pairs through both writers, in blocks; how many there were."""
    source, target = writers
    count = 0
    with (
        source.tokens_path.open("wb") as source_tokens,
        source.offsets_path.open("wb") as source_offsets,
        target.tokens_path.open("wb") as target_tokens,
        target.offsets_path.open("wb") as target_offsets,
    ):
        zero = np.zeros(1, dtype="<i8").tobytes()
        source_offsets.write(zero)
        target_offsets.write(zero)
        for block in _blocks(pairs):
            source.append([pair[0] for pair in block], source_tokens, source_offsets)
            target.append([pair[1] for pair in block], target_tokens, target_offsets)
            count += len(block)
        for file in (source_tokens, source_offsets, target_tokens, target_offsets):
            file.flush()
            os.fsync(file.fileno())
    return count


def _blocks(pairs: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    iterator = iter(pairs)
    while block := list(islice(iterator, BLOCK)):
        yield block


def _open_side(directory: Path, name: str, facts: dict[str, Any], pairs: int) -> Side:
    """Raises ValueError if the files are not as long as the counts say."""
    dtype = np.dtype({"<u2": "<u2", "<u4": "<u4"}[facts["dtype"]])
    tokens = _map(directory / f"{name}.tokens", dtype, int(facts["tokens"]))
    offsets = _map(directory / f"{name}.offsets", np.dtype("<i8"), pairs + 1)
    if offsets[0] != 0 or offsets[-1] != len(tokens):
        raise ValueError("the offsets do not fit the tokens")
    return Side(tokens, offsets)


def _map(path: Path, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    if path.stat().st_size != count * dtype.itemsize:
        raise ValueError(f"{path} is truncated")
    if count == 0:
        return np.zeros(0, dtype=dtype)  # an empty file cannot be mapped
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=(count,)))


def _is_replaceable(directory: Path) -> bool:
    """A corpus, or what is left of one, or an empty folder: anything else is not ours to delete."""
    return directory.is_dir() and {path.name for path in directory.iterdir()} <= {*_FILES, MANIFEST}


def _put_in_place(temporary: Path, directory: Path) -> None:
    """Rename the finished folder to its name. A folder cannot be renamed over a full one, so the old goes first:
    a crash in between leaves no corpus, never half of one.
    """
    flush_directory(temporary)
    if directory.exists():
        shutil.rmtree(directory)
    temporary.rename(directory)
    flush_directory(directory.parent)


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _literal(name: str) -> str:
    """The name with the characters that `glob` would read as patterns made harmless."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)
