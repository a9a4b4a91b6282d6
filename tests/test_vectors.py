"""Word vectors: the gradient of the paper's objective, what they find, their file, and models that start from them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pairloom
from pairloom.errors import DataError, PairloomError, UsageError
from pairloom.learning.word2vec import gradients, kept_shares, loss
from pairloom.text.vectors import WordVectors, read_vectors
from pairloom.weights import load_folder

FRUIT, METAL = ("apple", "pear", "plum", "cherry"), ("iron", "copper", "zinc", "silver")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 lines, each with the words of one group only."""
    dice = random.Random(1)
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    lines = [" ".join(dice.choices(group, k=8)) for group in (FRUIT, METAL) for _ in range(300)]
    dice.shuffle(lines)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def learn(texts: Path, out: Path, **changes: Any) -> WordVectors:
    settings: dict[str, Any] = {"size": 16, "epochs": 15, "sample": 0.0, "rate": 0.005, "threads": 1, **changes}
    learned = pairloom.vectors(texts, out=out, **settings)
    assert isinstance(learned, WordVectors)
    return learned


def test_the_gradient_is_that_of_the_objective() -> None:
    torch.manual_seed(0)
    inputs, outputs = (torch.randn(2, rows, 4, dtype=torch.float64, requires_grad=True) for rows in (3, 7))
    pairs = (torch.rand(2, 3, 5) < 0.5).double()
    pairs[0, 0, 0] = 1
    scores = inputs @ outputs.transpose(1, 2)
    near = -(torch.nn.functional.logsigmoid(scores[:, :, :5]) * pairs).sum()
    noise = -(torch.nn.functional.logsigmoid(-scores[:, :, 5:]) * pairs.sum(2, keepdim=True) * (6 / 2)).sum()
    torch.autograd.backward(near + noise)
    found = gradients(inputs.detach(), outputs.detach(), pairs, negative=6)
    torch.testing.assert_close(found.centres, inputs.grad)
    torch.testing.assert_close(found.columns, outputs.grad)
    expected = float((near + noise).detach() / pairs.sum())
    assert loss(inputs.detach(), outputs.detach(), pairs, 6) == pytest.approx(expected)


def test_frequent_words_are_thinned_and_rare_ones_kept() -> None:
    kept = kept_shares(np.array([9_000, 900, 1]), 1e-3)
    assert kept[0] < kept[1] < kept[2] == 1.0
    assert kept_shares(np.array([5, 1]), 0.0).tolist() == [1.0, 1.0]


def test_words_of_one_company_lie_together(texts: Path, tmp_path: Path) -> None:
    learned = learn(texts, tmp_path / "words.vec")
    assert sorted(learned.words) == sorted(FRUIT + METAL)
    for group in (FRUIT, METAL):
        for word in group:
            assert {near.word for near in learned.near(word, 3)} == set(group) - {word}


def test_a_seed_gives_the_same_vectors_and_the_file_gives_them_back(texts: Path, tmp_path: Path) -> None:
    once, again = (learn(texts, tmp_path / f"{n}.vec", epochs=1) for n in (1, 2))
    other = learn(texts, tmp_path / "3.vec", epochs=1, seed=2)
    assert (tmp_path / "1.vec").read_bytes() == (tmp_path / "2.vec").read_bytes()
    assert (tmp_path / "1.vec").read_bytes() != (tmp_path / "3.vec").read_bytes()
    back = read_vectors(tmp_path / "1.vec")
    assert list(back.words) == list(once.words) == list(again.words)
    assert set(other.words) == set(once.words)
    for word in once.words:
        np.testing.assert_allclose(back[word], once[word], atol=1e-5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "words.vec"),
        ("a 1 2\n", "words.vec:1"),
        ("2 2\na 1 2\nb 1\n", "words.vec:3"),
        ("2 2\na 1 2\na 3 4\n", "words.vec:3"),
        ("2 2\na 1 nan\nb 1 2\n", "words.vec:2"),
        ("1 2\na 1 x\n", "words.vec:2"),
    ],
)
def test_a_file_that_is_none_is_refused_by_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "words.vec"
    path.write_text(content, "utf-8")
    with pytest.raises(DataError) as caught:
        read_vectors(path)
    assert said in "\n".join(map(str, (caught.value, *caught.value.args)))


def test_vectors_that_run_away_are_not_written(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(PairloomError, match=r"run away .* lower --rate, which is 0\.5"):
        learn(texts, tmp_path / "words.vec", rate=0.5)
    assert not (tmp_path / "words.vec").exists()


def test_a_word_without_a_vector_is_named(texts: Path, tmp_path: Path) -> None:
    learned = learn(texts, tmp_path / "words.vec", epochs=1)
    with pytest.raises(UsageError, match="there is no vector for 'aple'"):
        learned.near("aple")


def test_training_starts_from_the_vectors(tmp_path: Path) -> None:
    words = [f"{a}{b}" for a in "abcdef" for b in "klmnop"]
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{a} {b}\t{b} {a}\n" for a in words[:12] for b in words), "utf-8")
    table = WordVectors(words, np.random.default_rng(0).normal(size=(len(words), 12)).astype(np.float32))
    table.save(tmp_path / "words.vec")
    common: dict[str, Any] = {
        "steps": 1, "threads": 1, "precision": "float32", "source_unit": "word", "target_unit": "word", "joint": True,
        "model": {"hidden": 8, "encoder_hidden": 8}, "training": {"learning_rate": 1e-9},
    }  # fmt: skip
    pairloom.train(pairs, out=tmp_path / "run", vectors=(str(tmp_path / "words.vec"),), **common)
    folder = load_folder(tmp_path / "run")
    weights = dict(folder.model.named_parameters())["target_embedding.weight"].float()
    assert weights.shape[1] == 12  # the model takes the size of the vectors
    given = torch.from_numpy(np.stack([table[word] for word in words]))
    names = {folder.source.tokens([row])[0].strip("▁"): row for row in range(4, folder.source.size)}
    placed = torch.stack([weights[names[word]] for word in words])
    cosines = torch.nn.functional.cosine_similarity(placed, given)
    assert cosines.min() > 0.9  # the table is centred; weights that start at random have about 0
    (tmp_path / "words.vec").write_text("1 12\naa " + " ".join(["1"] * 12) + "\n", "utf-8")
    with pytest.raises(UsageError, match="with other settings"):
        pairloom.train(pairs, out=tmp_path / "run", vectors=(str(tmp_path / "words.vec"),), **common)
