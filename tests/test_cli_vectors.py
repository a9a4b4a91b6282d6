"""`pairloom vectors`, and `show --near`: which words lie near a word, in a file of vectors and in a model."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pairloom
from pairloom.text.vectors import read_vectors
from pairloom.weights import load_folder
from pairloom.workflow.start import embedding_table, token_names

FRUIT, METAL = ("apple", "pear", "plum", "cherry"), ("iron", "copper", "zinc", "silver")
LEARNING = ("--size", "16", "--epochs", "15", "--sample", "0", "--rate", "0.005", "--threads", "1")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines with the words of one group only, in the second of two columns; and a word that is rare."""
    dice = random.Random(1)
    lines = [f"{n}\t{' '.join(dice.choices(group, k=8))}" for group in (FRUIT, METAL) for n in range(300)]
    dice.shuffle(lines)
    path = tmp_path_factory.mktemp("texts") / "texts.tsv"
    path.write_text("\n".join([*lines, "x\tgold silver gold", "no column"]) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def words(texts: Path) -> Path:
    """Their vectors."""
    path = texts.with_name("words.vec")
    pairloom.vectors(texts, out=path, column=2, size=16, epochs=15, sample=0.0, rate=0.005, threads=1)
    return path


def sides(lines: list[str], word: str) -> dict[str, list[tuple[float, str]]]:
    """What `show --near` has printed: heading → cosines and words."""
    found: dict[str, list[tuple[float, str]]] = {}
    for line in lines:
        if not line.startswith("  "):
            side, _, rest = line.partition(": ")
            assert rest == f"closest to {word}, by cosine"
            found[side] = []
        else:
            cosine, name = line.split(maxsplit=1)
            found[side].append((float(cosine), name))
    return found


# -- vectors -----------------------------------------------------------------------------------------------------------


def test_vectors_are_learned_written_and_announced(ask: Any, texts: Path, words: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "words.vec"
    answer = ask("vectors", texts, "--column", "2", "--out", out, *LEARNING)
    assert answer.code == 0
    assert out.read_bytes() == words.read_bytes()
    assert answer.lines[0] == f"vectors: {out}, 8 of 16 numbers"  # without the rare word
    assert answer.lines[1].startswith("look: ")
    assert answer.lines[1].endswith(("--near cherry", "--near copper", "--near silver"))  # the longest of them
    assert f"skipped: 1 line without column 2 ({texts}:602: 1 column, --column 2 asks for another)" in answer.err
    assert "vectors: 8 of 16 numbers, for what occurs 5 times or more: 100.0% of the text" in answer.err
    assert " 90%  loss" in answer.err


def test_vectors_as_json_of_standard_input(ask: Any, tmp_path: Path) -> None:
    out = tmp_path / "two.vec"
    given = ("--out", out, "--size", "4", "--epochs", "1", "--min-count", "2", "--threads", "1", "--json")
    answer = ask("vectors", "-", *given, stdin=b"one two one two three\n")
    assert answer.code == 0
    assert answer.json == [{"schema": 1, "file": str(out), "words": 2, "size": 4}]
    assert sorted(read_vectors(out).words) == ["one", "two"]


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (("{texts}",), 2, "the following arguments are required: --out"),
        (("{texts}", "--out", "{dir}"), 2, "{dir} is a directory: name a file, such as {dir}/words.vec"),
        (("{dir}/none", "--out", "{out}"), 3, "{dir}/none"),
        (("{empty}", "--out", "{out}"), 3, "no text in {empty}: it is empty"),
        (("{texts}", "--column", "3", "--out", "{out}"), 3, "no line has that column"),
        (("{texts}", "--min-count", "999999", "--out", "{out}"), 3, "0 words of it are found 999999 times or more"),
        (("{texts}", "--size", "0", "--out", "{out}"), 2, "size: Input should be greater than or equal to 1"),
        (("{texts}", "--column", "0", "--out", "{out}"), 2, "argument --column: 0 is less than 1"),
        (("{texts}", "--tokenizer", "{dir}", "--out", "{out}"), 4, "{dir}"),
    ],
)
def test_vectors_that_cannot_be_are_refused_and_nothing_is_written(
    ask: Any, texts: Path, tmp_path: Path, given: tuple[str, ...], code: int, said: str
) -> None:
    empty, out = tmp_path / "empty.txt", tmp_path / "out.vec"
    empty.write_text("\n \n", "utf-8")
    names = {"texts": texts, "dir": tmp_path, "out": out, "empty": empty}
    answer = ask("vectors", *[word.format(**names) for word in given])
    assert answer.code == code
    assert answer.out == ""
    assert said.format(**names) in answer.err
    assert not out.exists()


# -- show --near -------------------------------------------------------------------------------------------------------


def test_the_neighbours_in_a_file_of_vectors(ask: Any, words: Path) -> None:
    answer = ask("show", words, "--near", "zinc", "--count", "3")
    assert answer.code == 0
    (found,) = sides(answer.lines, "zinc").items()
    assert found[0] == "vectors"
    assert {name for _, name in found[1]} == set(METAL) - {"zinc"}
    table = read_vectors(words)
    for cosine, name in found[1]:
        one, other = table["zinc"], table[name]
        exact = float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
        assert cosine == pytest.approx(exact, abs=6e-4)
    cosines = [cosine for cosine, _ in found[1]]
    assert cosines == sorted(cosines, reverse=True)
    every = ask("show", words, "--near", "zinc", "--count", "99").lines
    assert every[:4] == answer.lines
    assert len(every) == 1 + 7  # all but itself


def test_the_neighbours_as_json(ask: Any, words: Path) -> None:
    (found,) = ask("show", words, "--near", "plum", "--count", "2", "--json").json
    assert (found["schema"], found["word"], list(found["near"])) == (1, "plum", ["vectors"])
    assert [set(one) for one in found["near"]["vectors"]] == [{"word", "similarity"}] * 2
    assert {one["word"] for one in found["near"]["vectors"]} < set(FRUIT)


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_so_many_neighbours_there_cannot_be(ask: Any, words: Path, count: str) -> None:
    answer = ask("show", words, "--near", "zinc", "--count", count)
    assert (answer.code, answer.out) == (2, "")
    assert "argument --count: " in answer.err
    assert ("is less than 1" in answer.err) == (count != "many")


def test_a_word_that_nobody_knows_is_told_what_is_like_it(ask: Any, words: Path, tiny_model_dir: Path) -> None:
    answer = ask("show", words, "--near", "silber")
    assert (answer.code, answer.out) == (2, "")
    assert "there is no vector for 'silber'; did you mean silver?" in answer.err
    answer = ask("show", tiny_model_dir, "--near", "zinc")
    assert (answer.code, answer.out) == (2, "")
    assert f"{tiny_model_dir}: no token of this model is 'zinc'" in answer.err


def test_what_is_neither_a_model_nor_vectors(ask: Any, tmp_path: Path, texts: Path) -> None:
    assert ask("show", tmp_path, "--near", "zinc").code == 4
    answer = ask("show", texts, "--near", "zinc")
    assert answer.code == 3
    assert f"{texts}:1: a .vec file begins with the number of words" in answer.err


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Models of words that have one vocabulary, or two of which only `both` is in either."""
    folder = tmp_path_factory.mktemp("models")
    pairs = folder / "pairs.tsv"
    lines = [f"{a} {b} both\t{b.upper()} both {a.upper()}" for a in FRUIT for b in (*FRUIT, *METAL)]
    pairs.write_text("\n".join(lines) + "\n", "utf-8")
    sizes = {"embedding": 8, "encoder_hidden": 8, "hidden": 8}
    units: dict[str, Any] = {"source_unit": "word", "target_unit": "word", "precision": "float32", "threads": 1}
    for joint in (True, False):
        pairloom.train(pairs, out=folder / str(joint), joint=joint, steps=2, model=sizes, **units)
    return {joint: folder / str(joint) for joint in (True, False)}


def test_the_neighbours_in_a_model_of_one_vocabulary(ask: Any, models: dict[bool, Path]) -> None:
    for word in ("plum", "PLUM"):
        answer = ask("show", models[True], "--near", word, "--count", "3")
        assert answer.code == 0
        assert [(side, len(near)) for side, near in sides(answer.lines, word).items()] == [("both", 3)]
    folder = load_folder(models[True])
    names, table = token_names(folder.target), embedding_table(folder.model, "target").double()
    row = names.index("▁PLUM")
    exact = (table @ table[row] / table.norm(dim=1) / table[row].norm()).tolist()
    shown = sides(answer.lines, "PLUM")["both"]
    assert [cosine for cosine, _ in shown] == [pytest.approx(exact[names.index(name)], abs=6e-4) for _, name in shown]
    others = [value for name, value in zip(names, exact, strict=True) if name and name != "▁PLUM"]
    assert shown[0][0] == pytest.approx(max(others), abs=6e-4)


def test_the_neighbours_in_a_model_of_two_vocabularies(ask: Any, models: dict[bool, Path]) -> None:
    known = {word: [side] for word, side in [("plum", "source"), ("PLUM", "target")]}
    for word, expected in {**known, "both": ["source", "target"]}.items():
        answer = ask("show", models[False], "--near", word, "--count", "2")
        assert answer.code == 0
        assert list(sides(answer.lines, word)) == expected
        (found,) = ask("show", models[False], "--near", word, "--count", "2", "--json").json
        assert list(found["near"]) == expected
        assert all(len(near) == 2 and word not in {one["word"] for one in near} for near in found["near"].values())
    answer = ask("show", models[False], "--near", "Plum")
    assert answer.code == 2
    assert "no token of this model is 'Plum'; did you mean plum?" in answer.err
