"""Batches: a pure function of (seed, epoch), complete, within the budget, hardly padded, filled as by a plain loop."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pairloom.text.batches import Batch, BatchSettings, epoch_batches, make_batch, padding
from pairloom.text.corpus import Corpus, Lengths, build_corpus
from pairloom.text.tokenizer import BOS, EOS, PAD, train_tokenizer


def alike(count: int, seed: int = 0) -> tuple[Lengths, Lengths]:
    """Lengths of sentences and translations as real ones are: about 14 and 13 tokens, correlated."""
    generator = np.random.default_rng(seed)
    source = np.clip(generator.lognormal(2.6, 0.35, count), 2, 80).astype(np.int64)
    target = np.maximum(1, (source * generator.normal(0.95, 0.15, count)).round()).astype(np.int64)
    return source, target


@given(
    lengths=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=80),
    tokens=st.integers(1, 200),
    most=st.integers(1, 20),
    pool=st.integers(1, 100),
    epoch=st.integers(0, 3),
)
@settings(max_examples=200, deadline=None)
def test_every_sentence_once_and_no_batch_over_the_budget(
    lengths: list[tuple[int, int]], tokens: int, most: int, pool: int, epoch: int
) -> None:
    source = np.array([s for s, _ in lengths], dtype=np.int64)
    target = np.array([t for _, t in lengths], dtype=np.int64)
    chosen = BatchSettings(tokens=tokens, max_sentences=most, pool=pool)
    batches = epoch_batches(source, target, chosen, seed=5, epoch=epoch)
    assert sorted(int(row) for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        longest = max(int(source[rows].max()), int(target[rows].max())) + 1
        assert 1 <= len(rows) <= most
        assert len(rows) == 1 or longest * len(rows) <= tokens


def test_the_order_is_a_pure_function_of_seed_and_epoch() -> None:
    source, target = alike(3000)

    def order(seed: int, epoch: int) -> list[list[int]]:
        return [rows.tolist() for rows in epoch_batches(source, target, BatchSettings(pool=1000), seed, epoch)]

    first = order(1, 2)
    np.random.default_rng().random()  # other randomness does not matter
    assert order(1, 2) == first
    assert order(1, 3) != first
    assert order(2, 2) != first
    assert order(2, 1) != first
    # The batches themselves differ from epoch to epoch, not only their order.
    assert len({tuple(sorted(rows)) for rows in first} & {tuple(sorted(rows)) for rows in order(1, 3)}) < 10


def test_lengths_are_mixed_over_the_epoch() -> None:
    source, target = alike(20_000)
    means = [float(target[rows].mean()) for rows in epoch_batches(source, target, BatchSettings(), 0, 0)]
    half = len(means) // 2
    assert abs(np.mean(means[:half]) - np.mean(means[half:])) < 2
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3


def test_padding_is_small() -> None:
    source, target = alike(29_000)
    batches = epoch_batches(source, target, BatchSettings(), seed=0, epoch=0)
    assert 1.0 <= padding(batches, source, target) < 1.1
    assert padding([np.arange(29_000)], source, target) > 2
    assert padding([], source, target) == 1.0
    two = np.array([1, 3], dtype=np.int64)  # 2 and 4 tokens with </s>, padded to 8, on both sides
    assert padding([np.array([0, 1])], two, two) == pytest.approx(16 / 12)


def test_a_million_pairs_take_seconds() -> None:
    source, target = alike(1_000_000)
    started = time.process_time()
    batches = epoch_batches(source, target, BatchSettings(), 0, 0)
    assert time.process_time() - started < 6  # about 0.7 where nothing else runs
    assert sum(map(len, batches)) == 1_000_000


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError):
        BatchSettings(tokens=0)
    with pytest.raises(ValidationError):
        BatchSettings(token=5)  # type: ignore[call-arg]


TEXTS = [("abc", "ba"), ("", "c"), ("a", ""), ("cabca", "abcabc"), ("bb", "aa")]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    tokenizer = train_tokenizer(["abc"], "character")
    return build_corpus(tmp_path_factory.mktemp("made") / "corpus", TEXTS, tokenizer, tokenizer, 50, 50, "")


def naive(corpus: Corpus, rows: list[int]) -> Batch:
    sources = [[*corpus.source(i).tolist(), EOS] for i in rows]
    inputs = [[BOS, *corpus.target(i).tolist()] for i in rows]
    outputs = [[*corpus.target(i).tolist(), EOS] for i in rows]

    def padded(sentences: list[list[int]]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        longest = max(map(len, sentences))
        return np.array([ids + [PAD] * (longest - len(ids)) for ids in sentences], dtype=np.int64)

    source, target_in, target_out = padded(sources), padded(inputs), padded(outputs)
    return Batch(source, source != PAD, target_in, target_out, target_out != PAD)


@given(rows=st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=7))
@settings(max_examples=150, deadline=None)
def test_a_batch_is_what_a_plain_loop_makes(corpus: Corpus, rows: list[int]) -> None:
    made, expected = make_batch(corpus, np.array(rows, dtype=np.int64)), naive(corpus, rows)
    for name in Batch._fields:
        array = getattr(made, name)
        np.testing.assert_array_equal(array, getattr(expected, name), err_msg=name)
        assert array.dtype == (np.bool_ if name.endswith("mask") else np.int64)
    assert (made.target_in != PAD).sum() == made.target_mask.sum()


def test_an_empty_source_still_has_one_token(corpus: Corpus) -> None:
    made = make_batch(corpus, np.array([1], dtype=np.int64))
    assert made.source.tolist() == [[EOS]]
    assert made.source_mask.tolist() == [[True]]


def test_the_corpus_on_disk_is_not_written_through_a_batch(corpus: Corpus, tmp_path: Path) -> None:
    made = make_batch(corpus, np.array([0], dtype=np.int64))
    made.source[:] = 9
    assert corpus.source(0).tolist() != [9, 9, 9]
    with pytest.raises(ValueError, match="read-only"):
        corpus.source(0)[0] = 1
