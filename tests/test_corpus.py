"""The encoded corpus: what is stored comes back, cuts are counted, and an interrupted build leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from pairloom.errors import StorageError, UsageError
from pairloom.text.corpus import BLOCK, Corpus, build_corpus, open_corpus
from pairloom.text.tokenizer import train_tokenizer

PAIRS = [("ein Hund", "a dog"), ("", "nothing"), ("eine Frau liest", ""), ("한국어", "Korean ▁ text")]
SOURCE = train_tokenizer([source for source, _ in PAIRS], "character")
TARGET = train_tokenizer([target for _, target in PAIRS], "bpe", 300)


def build(directory: Path, pairs: object = PAIRS, fingerprint: str = "one", longest: int = 100) -> Corpus:
    return build_corpus(directory, pairs, SOURCE, TARGET, longest, longest, fingerprint)  # type: ignore[arg-type]


class Large:
    """A tokenizer with more ids than 16 bits hold."""

    size = 100_000

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        return [[99_999] * len(text) for text in texts]


def test_pairs_come_back_as_their_ids(tmp_path: Path) -> None:
    built = build(tmp_path / "corpus")
    opened = open_corpus(tmp_path / "corpus", "one")
    assert opened is not None
    for corpus in (built, opened):
        assert len(corpus) == len(PAIRS)
        for i, (source, target) in enumerate(PAIRS):
            assert corpus.source(i).tolist() == SOURCE.encode(source)
            assert corpus.target(i).tolist() == TARGET.encode(target)
            assert corpus.source_lengths[i] == len(SOURCE.encode(source))
            assert corpus.target_lengths[i] == len(TARGET.encode(target))
        assert corpus.source_tokens == sum(len(source) for source, _ in PAIRS)
        assert corpus.target_tokens == int(corpus.target_lengths.sum())
        assert (corpus.cut_source, corpus.cut_target) == (0, 0)
        assert corpus.source_side.tokens.dtype == np.uint16


def test_long_sentences_are_cut_and_counted_for_each_side(tmp_path: Path) -> None:
    pairs = [("ein Hund", "a dog"), ("ein", "a"), ("Frau", "a dog")]
    corpus = build_corpus(tmp_path / "corpus", pairs, SOURCE, SOURCE, 3, 4, "one")
    assert [corpus.source(i).tolist() for i in range(3)] == [SOURCE.encode(text[:3]) for text, _ in pairs]
    assert corpus.target_lengths.tolist() == [4, 1, 4]
    assert (corpus.cut_source, corpus.cut_target) == (2, 2)
    reopened = open_corpus(tmp_path / "corpus", "one")
    assert reopened is not None
    assert (reopened.cut_source, reopened.cut_target) == (2, 2)


def test_more_than_a_block_and_a_large_vocabulary(tmp_path: Path) -> None:
    pairs = (("ab" * (i % 3), "c") for i in range(BLOCK * 2 + 5))
    corpus = build_corpus(tmp_path / "corpus", pairs, Large(), TARGET, 100, 100, "one")
    assert len(corpus) == BLOCK * 2 + 5
    assert corpus.source_side.tokens.dtype == np.uint32
    assert corpus.source_lengths[:4].tolist() == [0, 2, 4, 0]
    assert corpus.source(BLOCK * 2 + 3).tolist() == [99_999] * (2 * ((BLOCK * 2 + 3) % 3))


def test_no_pairs_make_an_empty_corpus(tmp_path: Path) -> None:
    assert len(build(tmp_path / "corpus", [])) == 0
    assert open_corpus(tmp_path / "corpus", "one") is not None


def test_another_fingerprint_is_no_corpus_and_a_new_build_replaces_it(tmp_path: Path) -> None:
    assert open_corpus(tmp_path / "corpus", "one") is None
    build(tmp_path / "corpus")
    assert open_corpus(tmp_path / "corpus", "two") is None
    assert len(build(tmp_path / "corpus", PAIRS[:2], "two")) == 2
    assert open_corpus(tmp_path / "corpus", "one") is None
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


@pytest.mark.parametrize("error", [ValueError("a bad line"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [0, 3, BLOCK + 10])
def test_an_interrupted_build_leaves_nothing(error: BaseException, before: int, tmp_path: Path) -> None:
    def interrupted() -> Iterator[tuple[str, str]]:
        for i in range(before):
            yield PAIRS[i % len(PAIRS)]
        raise error

    with pytest.raises(type(error)):
        build(tmp_path / "corpus", interrupted())
    assert list(tmp_path.iterdir()) == []
    build(tmp_path / "corpus")
    with pytest.raises(type(error)):
        build(tmp_path / "corpus", interrupted(), "two")
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]
    old = open_corpus(tmp_path / "corpus", "one")
    assert old is not None
    assert len(old) == len(PAIRS)


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".corpus[1].building-999").mkdir()
    (tmp_path / ".corpus[1].building-999" / "source.tokens").write_bytes(b"half")
    (tmp_path / ".other.building-1").mkdir()
    build(tmp_path / "corpus[1]")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.building-1", "corpus[1]"]


@pytest.mark.parametrize("name", ["source.tokens", "target.offsets", "corpus.json"])
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_corpus_is_none(name: str, damage: str, tmp_path: Path) -> None:
    build(tmp_path / "corpus")
    path = tmp_path / "corpus" / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-3])
    assert open_corpus(tmp_path / "corpus", "one") is None


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "important.txt").write_text("keep")
    with pytest.raises(UsageError, match="holds something that is not a corpus"):
        build(tmp_path / "notes")
    assert (tmp_path / "notes" / "important.txt").read_text() == "keep"
    (tmp_path / "empty").mkdir()
    assert len(build(tmp_path / "empty")) == len(PAIRS)


def test_no_room_for_the_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot write the encoded pairs"):
        build(tmp_path / "file" / "corpus")


def test_lengths_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1 token"):
        build(tmp_path / "corpus", longest=0)
