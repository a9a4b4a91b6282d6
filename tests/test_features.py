"""Columns of a table and features of the source: read, encoded, trained with, shown."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairloom
from conftest import TINY
from pairloom.cli import main
from pairloom.errors import DataError, FolderError, UsageError
from pairloom.folder import SideSettings
from pairloom.storage import write_manifest
from pairloom.text.columns import parse_columns, split_features, text_part, with_features
from pairloom.text.features import FeatureTokenizer, learn_features
from pairloom.text.pairs import PairsSettings, open_pairs
from pairloom.text.report import check
from pairloom.text.tokenizer import UNK, train_tokenizer
from pairloom.text.units import choose_units
from pairloom.weights import load_folder

THREE = parse_columns("source=1,target=2,features=3")
MARKS = ("V", "PST", "3", "SG", "PL", "V.PTCP")


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, str, str]]:
    """Words, each in the singular and the plural."""
    dice = random.Random(1)
    words = sorted({"".join(dice.choices("abcde", k=dice.randint(2, 4))) for _ in range(150)})
    return [(word, word + ending, marks) for word in words for marks, ending in (("N;SG", ""), ("N;PL", "s"))]


@pytest.fixture(scope="module")
def table(rows: list[tuple[str, str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("features") / "forms.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def model(table: Path, tmp_path_factory: pytest.TempPathFactory) -> pairloom.Model:
    out = tmp_path_factory.mktemp("run") / "model"
    return pairloom.train(table, out=out, task="inflect", **TINY)


# -- columns -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source=1", "target missing"),
        ("source=1,target", "'target' is not understood"),
        ("source=1,target=2,colour=3", "'colour=3' is not understood"),
        ("source=0,target=2", "source=0: columns are counted from 1"),
        ("source=2,target=2", "must be different columns"),
        ("source=1,target=phon", "cannot be mixed"),
    ],
)
def test_columns_that_say_nothing_are_told_what_would(text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_columns(text)
    assert said in str(raised.value)
    assert "source=1,target=2,features=3" in str(raised.value)


def test_columns_are_written_as_they_are_read() -> None:
    for text in ("source=1,target=2,features=3", "source=orth,target=phon"):
        assert str(parse_columns(text)) == text


def read(path: Path, columns: str) -> list[tuple[str, str]]:
    return [pair[:2] for pair in open_pairs([str(path)], PairsSettings(columns=parse_columns(columns)))]


def test_the_formats_agree(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [("went", "go", "V;PST"), ("cats", "cat", "N|PL"), ("sheep", "sheep", "")]
    wanted = [("go\tV;PST", "went"), ("cat\tN;PL", "cats"), ("sheep", "sheep")]
    (tmp_path / "a.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
    assert read(tmp_path / "a.tsv", "source=2,target=1,features=3") == wanted
    assert read(tmp_path / "a.tsv", "source=2,target=1") == [(text_part(source), target) for source, target in wanted]
    records = [dict(zip(("form", "lemma", "marks"), row, strict=True)) for row in rows]
    parquet.write_table(pyarrow.Table.from_pylist(records), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", "source=lemma,target=form,features=marks") == wanted
    listed: list[dict[str, Any]] = [{**record, "marks": split_features(record["marks"])} for record in records]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in [*records, *listed]), "utf-8")
    assert read(tmp_path / "a.jsonl", "source=lemma,target=form,features=marks") == wanted * 2


def test_a_tab_in_a_json_text_begins_no_features(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"s": "a\tb", "t": "c", "f": "X Y"}) + "\n", "utf-8")
    assert read(tmp_path / "a.jsonl", "source=s,target=t,features=f") == [("a b\tX;Y", "c")]


def test_lines_without_the_column_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("go\twent\tV\nbe\twas\n \twas\tV\n", "utf-8")
    opened = open_pairs([str(tmp_path / "a.tsv")], PairsSettings(columns=THREE))
    assert [pair[:2] for pair in opened] == [("go\tV", "went")]
    assert [str(problem).rpartition("a.tsv")[2] for problem in opened.problems] == [
        ":2: too few columns: 2, without features = column 3",
        ":3: the source is empty",
    ]


def test_columns_that_a_file_cannot_have_are_refused(tmp_path: Path) -> None:
    for name in ("a.tsv", "a.jsonl"):
        (tmp_path / name).write_text('{"s": "a"}\tb\n' if name == "a.tsv" else '{"s": "a"}\n', "utf-8")
    with pytest.raises(UsageError, match="is a TSV, whose columns are numbers from 1 on"):
        read(tmp_path / "a.tsv", "source=s,target=t")
    with pytest.raises(UsageError, match="has names, not numbers"):
        read(tmp_path / "a.jsonl", "source=1,target=2")
    with pytest.raises(DataError, match=r"without the field 't', the target"):
        read(tmp_path / "a.jsonl", "source=s,target=t")
    with pytest.raises(UsageError, match="two aligned files have no columns"):
        open_pairs([str(tmp_path / "a.tsv")] * 2, PairsSettings(columns=THREE))


# -- the tokenizer -----------------------------------------------------------------------------------------------------

TEXTS = ["abcab", "b c d", "gehen", "하늘 위", "ａé"]
TOKENIZERS = {
    unit: FeatureTokenizer(train_tokenizer(TEXTS * 3, unit, 300), MARKS)
    for unit in ("character", "jamo", "word", "bpe", "unigram", "byte")
}


@pytest.mark.parametrize("unit", TOKENIZERS)
@given(marks=st.lists(st.sampled_from(MARKS), max_size=4), text=st.sampled_from(TEXTS))
def test_a_source_comes_back_with_its_features(unit: str, marks: list[str], text: str) -> None:
    tokenizer = TOKENIZERS[unit]
    source = with_features(text, " ".join(marks))
    ids = tokenizer.encode(source)
    assert tokenizer.decode(ids) == source
    assert tokenizer.encode_all([source, "abcab"]) == [ids, tokenizer.encode("abcab")]
    assert tokenizer.tokens(ids)[: len(marks)] == [f"[{mark}]" for mark in marks]
    spans, words = tokenizer.offsets(source), tokenizer.spans(source)
    assert len(spans) == len(words) == len(ids)
    assert [source[a:b] for a, b in spans[: len(marks)]] == marks
    assert words[: len(marks)] == spans[: len(marks)]
    assert all(b <= len(text) for _, b in spans[len(marks) :])
    assert max(ids, default=0) < tokenizer.size


def test_unknown_features_are_unknown() -> None:
    tokenizer = TOKENIZERS["character"]
    assert tokenizer.encode("a\tV;XYZ;SG") == [*tokenizer.encode("\tV"), UNK, *tokenizer.encode("a\tSG")]
    assert tokenizer.decode(tokenizer.encode("a\tXYZ;SG")) == "a\t\ufffd;SG"


def test_the_other_side_of_a_joint_vocabulary_knows_no_features() -> None:
    text = train_tokenizer(["a\tV", "b"], "character", 30)
    silent = FeatureTokenizer(text, MARKS, reads=False)
    assert silent.size == FeatureTokenizer(text, MARKS).size == text.size + len(MARKS)
    assert silent.encode("a\tV") == text.encode("a\tV")
    assert silent.offsets("a\tV") == text.offsets("a\tV")
    assert silent.decode([*text.encode("ab"), text.size, text.size + 3]) == "ab"


def test_features_are_learned_the_frequent_ones_first() -> None:
    sources = ["a\tN;PL", "b\tN;SG", "c\tN;SG", "d", "e\t" + "x" * 200]
    assert learn_features(sources) == learn_features(reversed(sources)) == ("N", "SG", "PL")


def test_a_folder_holds_only_sound_features(model: pairloom.Model, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a feature occurs twice"):
        SideSettings(unit="character", size=9, max_tokens=9, features=("A", "A"))
    with pytest.raises(ValueError, match="holds what parts features"):
        SideSettings(unit="character", size=9, max_tokens=9, features=("A;B",))
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model.folder.path.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    config = json.loads((copy / "config.json").read_text("utf-8"))
    config["source"]["features"] = config["source"]["features"][:-1]
    (copy / "config.json").write_text(json.dumps(config), "utf-8")
    write_manifest(copy)
    with pytest.raises(FolderError, match=r"tokenizer\.source\.json has \d+ entries"):
        load_folder(copy)


# -- a model -----------------------------------------------------------------------------------------------------------


def test_features_reach_the_model_and_the_folder(model: pairloom.Model, table: Path) -> None:
    settings = model.folder.settings
    assert settings.source.features == ("N", "PL", "SG")
    assert settings.source.size == settings.target.size == model.folder.source.size == model.folder.target.size
    assert settings.columns == THREE
    assert settings.metrics == ("exact", "cer")
    both = model.score([("abc\tN;PL", "abcs"), ("abc\tN;SG", "abcs"), ("abc\tPL|N", "abcs")])
    assert len(set(both)) == 3  # they change what is probable, and so does their order
    assert model.evaluate(table).lines == len(table.read_text("utf-8").splitlines())
    outputs = model.generate(["abc\tN;PL", "", "abc", "abc\tN;UNHEARD"])
    assert outputs[1] == ""
    assert not any("\t" in output for output in outputs)


def test_a_picture_names_the_features(model: pairloom.Model) -> None:
    found = model.explain("abc\tN;PL", "abcs")
    assert found.source_tokens == ["[N]", "[PL]", "a", "b", "c", "</s>"]
    assert found.source_spans[:3] == [(4, 5), (6, 8), (0, 1)]
    assert found.by_words().source[:2] == ["N", "PL"]


def test_the_commands_read_features(
    model: pairloom.Model, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(model.folder.path)
    lines = tmp_path / "lines.txt"
    lines.write_text("abc\tN;PL\n\nabc\n", "utf-8")
    assert main(["generate", folder, str(lines)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    for columns in ([], ["--columns", "source=1,target=2,features=3"]):
        assert main(["score", folder, str(table), *columns]) == 0
        assert " N;PL\t" in capsys.readouterr().out.splitlines()[1]
        assert main(["evaluate", folder, str(table), *columns]) == 0
        assert "<TAB>N;" in capsys.readouterr().out
    assert main(["attend", folder, "abc\tN;PL", "--out", str(tmp_path / "a.png")]) == 0
    assert "[PL]" in capsys.readouterr().out
    assert main(["show", folder]) == 0
    said = capsys.readouterr().out
    assert "3 of them features" in said
    assert "task        inflect: kind attention" in said
    assert main(["train", str(table), "--out", folder, "--task", "spell", "--steps", "60"]) == 2
    assert "task: 'inflect' there, 'spell' now" in capsys.readouterr().err


def test_a_check_measures_texts_and_compares_wholes(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = open_pairs([str(table)], PairsSettings(columns=THREE))
    report = check(pairs)
    kinds = {finding.kind for finding in report.findings}
    assert report.source.longest == 4
    assert report.distinct_sources == report.pairs  # a word in two forms is two sources
    assert not kinds & {"several-targets", "equal-sides", "control-characters", "duplicate-pairs"}
    assert main(["check", str(table), "--columns", "source=1,target=2,features=3"]) == 0
    assert "training here: about" in capsys.readouterr().out


def test_a_check_seeks_rare_characters_in_texts(rows: list[tuple[str, str, str]], tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    many = (rows * 50)[: 20_000 // 3]  # of the rare ones nothing is said in fewer than 20,000 characters
    lines = [*("\t".join(row) for row in many), "aPb\tab\tN;PL"]
    path.write_text("".join(line + "\n" for line in lines), "utf-8")
    report = check(open_pairs([str(path)], PairsSettings(columns=THREE)))
    (found,) = [one for one in report.findings if "on the source side occur" in one.message]
    assert found.examples == (f"{path}:{len(lines)}: aPb",)


def test_units_are_chosen_from_the_text(rows: list[tuple[str, str, str]], table: Path, tmp_path: Path) -> None:
    events = pairloom.training(table, out=tmp_path / "m", columns=str(THREE), **{**TINY, "steps": 1})
    first = next(iter(events))
    chosen = choose_units([row[:2] for row in rows])
    said = "\n".join(getattr(first, "lines"))  # noqa: B009
    assert f"units: {chosen.source_unit} → {chosen.target_unit}" in said
    assert "features of the source: 3, each a token of its own" in said
