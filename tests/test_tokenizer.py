"""Tokenizers: exact round trips, offsets, special tokens as text, files, determinism, and the choice of units."""

from __future__ import annotations

import json
import random
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.errors import FolderError, UsageError
from pairloom.text.components import UNITS, Unit, recipe
from pairloom.text.tokenizer import BOS, EOS, PAD, SPECIALS, UNK, Tokenizer, train_tokenizer
from pairloom.text.units import choose_units

TEXTS = [
    "ein kleiner Hund läuft (schnell) über die Wiese.",
    "eine Frau liest ein Buch, und der Hund schläft",
    "한국어 문장을 쓰고 읽는 작은 강아지",
    "der Wert ▁ ist </s> und <s> oder <0x41> <pad> <unk>",
    "αβγ Ελλάδα 12 34 e\u0323\u0302",
]
TEXTS = [unicodedata.normalize("NFC", text) for text in TEXTS]
KNOWN = {unit: train_tokenizer(TEXTS, unit, 700) for unit in UNITS}
EVERYTHING: tuple[Unit, ...] = ("bpe", "unigram", "byte")

nfc_texts = st.text(st.characters(exclude_categories=["Cs"])).map(lambda text: unicodedata.normalize("NFC", text))
known_texts = st.text(sorted(set("".join(TEXTS)))).map(lambda text: unicodedata.normalize("NFC", text))
known_words = st.lists(st.sampled_from(["", "ein", "Hund", "▁", "Frau", "Buch", ","])).map(" ".join)


@pytest.mark.parametrize("unit", EVERYTHING)
@given(text=nfc_texts | known_texts)
@settings(max_examples=150, deadline=None)
def test_every_text_comes_back_exactly(unit: Unit, text: str) -> None:
    tokenizer = KNOWN[unit]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(EOS < i < tokenizer.size for i in ids)


@pytest.mark.parametrize("unit", ["character", "jamo"])
@given(text=known_texts)
@settings(max_examples=150, deadline=None)
def test_text_of_known_characters_comes_back_exactly(unit: Unit, text: str) -> None:
    # A composition of known characters may be a new one: jamo knows it by its parts, character does not.
    expected = text if unit == "jamo" else "".join(c if c in "".join(TEXTS) else "\ufffd" for c in text)
    assert KNOWN[unit].decode(KNOWN[unit].encode(text)) == expected


@given(text=known_words)
@settings(max_examples=100, deadline=None)
def test_text_of_known_words_comes_back_exactly(text: str) -> None:
    assert KNOWN["word"].decode(KNOWN["word"].encode(text)) == text


def test_symbols_apart_by_spaces_come_back_exactly() -> None:
    tokenizer = train_tokenizer(["T W OW", "HH IH G"], "space")
    assert tokenizer.decode(tokenizer.encode("T HH W")) == "T HH W"
    assert tokenizer.decode(tokenizer.encode("  T  W ")) == "T W"
    assert tokenizer.size == 4 + 6


def test_jamo_spell_syllables_that_were_never_seen() -> None:
    tokenizer = train_tokenizer(["가나", "독"], "jamo")
    assert tokenizer.decode(tokenizer.encode("낙도")) == "낙도"
    assert [tokenizer.tokens([i])[0] for i in tokenizer.encode("독")] == ["ᄃ", "ᅩ", "ᆨ"]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("text", ["</s>", "<s> <pad> </s> <unk>", "Hund</s>", "<0x41>", "<0x14> </s>"])
def test_the_text_of_a_special_token_is_only_text(unit: Unit, text: str) -> None:
    tokenizer = KNOWN[unit]  # trained on such texts too
    assert not set(tokenizer.encode(text)) & {PAD, BOS, EOS}
    assert not set(tokenizer.encode_all([text])[0]) & {PAD, BOS, EOS}
    if unit not in ("space", "word"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("unit", UNITS)
def test_the_four_come_first_and_every_id_has_one_piece(unit: Unit) -> None:
    tokenizer = KNOWN[unit]
    assert tokenizer.pieces[:4] == SPECIALS == ("<pad>", "<unk>", "<s>", "</s>")
    assert len(set(tokenizer.pieces)) == tokenizer.size <= 700
    assert not any("</s>" in piece or "<0x" in piece for piece in tokenizer.pieces[260:])


def test_special_ids_have_no_text_and_unknown_is_shown() -> None:
    assert KNOWN["character"].decode([BOS, *KNOWN["character"].encode("Hund"), EOS, PAD]) == "Hund"
    assert KNOWN["character"].decode([UNK]) == "\ufffd"
    assert KNOWN["word"].decode([UNK, *KNOWN["word"].encode("Hund"), UNK]) == "\ufffd Hund \ufffd"


@pytest.mark.parametrize("unit", UNITS)
def test_lone_surrogates_are_read_as_the_replacement_character(unit: Unit) -> None:
    tokenizer = KNOWN[unit]
    assert tokenizer.encode("a\ud800b") == tokenizer.encode("a\ufffdb")
    assert len(tokenizer.offsets("a\ud800b")) == len(tokenizer.encode("a\ud800b"))
    assert train_tokenizer(["a\udfff"], unit).size >= 4


@pytest.mark.parametrize("unit", UNITS)
@given(text=nfc_texts | known_texts)
@settings(max_examples=60, deadline=None)
def test_offsets_lie_in_the_text_in_order_and_miss_nothing_but_spaces(unit: Unit, text: str) -> None:
    tokenizer = KNOWN[unit]
    offsets, spans = tokenizer.offsets(text), tokenizer.spans(text)
    assert len(offsets) == len(spans) == len(tokenizer.encode(text))
    assert all(0 <= start <= end <= len(text) for start, end in [*offsets, *spans])
    assert offsets == sorted(offsets)
    covered = {i for start, end in offsets for i in range(start, end)}
    assert all(text[i] == " " for i in set(range(len(text))) - covered)


def test_offsets_of_pieces_jamo_and_bytes() -> None:
    assert KNOWN["jamo"].offsets("작은") == [(0, 1), (0, 1), (0, 1), (1, 2), (1, 2), (1, 2)]
    assert KNOWN["byte"].offsets("aü한") == [(0, 1), (1, 2), (1, 2), (2, 3), (2, 3), (2, 3)]
    assert KNOWN["word"].offsets("ein Hund, nie") == [(0, 3), (4, 8), (8, 9), (10, 13)]
    assert KNOWN["word"].offsets(" (ein") == [(0, 0), (0, 1), (1, 2), (2, 5)]
    text = "ein Xylophon, ja"
    assert {text[start:end] for start, end in KNOWN["bpe"].spans(text)} == {"ein", "Xylophon,", "ja"}
    assert {text[start:end] for start, end in KNOWN["unigram"].spans(text)} == {"ein", "Xylophon,", "ja"}


@pytest.mark.parametrize("unit", UNITS)
def test_the_same_texts_make_the_same_file_in_any_order(unit: Unit, tmp_path: Path) -> None:
    random_texts = random.Random(1)
    texts = [" ".join("".join(random_texts.choices("abcdeöß", k=4)) for _ in range(5)) for _ in range(300)]
    for name, order in (("first", texts), ("second", texts[::-1])):
        train_tokenizer(iter(order), unit, 400).save(tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize("unit", UNITS)
def test_a_saved_file_loads_here_and_in_the_stock_library(unit: Unit, tmp_path: Path) -> None:
    KNOWN[unit].save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.unit == unit
    assert loaded.pieces == KNOWN[unit].pieces
    stock = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in [*TEXTS, "  nie gesehen "]:
        assert loaded.encode(text) == KNOWN[unit].encode(text) == KNOWN[unit].encode_all([text])[0]
        if unit != "space":  # where only the wrapper keeps "<s>" from being a symbol
            assert stock.encode(text).ids == loaded.encode(text)
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


def test_the_most_frequent_are_kept_and_ties_go_by_text() -> None:
    assert train_tokenizer(["ccc b a b"], "character", 4 + 3).pieces[4:] == (" ", "c", "b")
    assert train_tokenizer(["b a c", "c"], "space", 4 + 2).pieces[4:] == ("c", "a")
    assert train_tokenizer(["b a c", "c"], "word", 4 + 3).pieces[4:] == ("▁", "▁c", "▁a")


def test_wrong_use_is_refused() -> None:
    with pytest.raises(UsageError, match="there are: character, jamo, word, space, bpe, unigram, byte"):
        train_tokenizer(["a"], "letter")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="needs at least 262"):
        train_tokenizer(["a"], "bpe", 200)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("texts", [[], [""], [" "], ["<"], ["▁"], ["a"], ["\ue581"]])
def test_hardly_any_training_text_makes_a_whole_tokenizer(unit: Unit, texts: list[str]) -> None:
    for size in (262, 8000):
        tokenizer = train_tokenizer(texts, unit, size)
        assert tokenizer.size <= size
        if unit in EVERYTHING:
            assert tokenizer.decode(tokenizer.encode(" a▁ </s>(é ")) == " a▁ </s>(é "


@pytest.mark.parametrize("unit", UNITS)
def test_a_line_without_end_takes_no_quadratic_time(unit: Unit) -> None:
    for text in ("a" * 200_000, "\u0301\u0316" * 100_000):
        started = time.process_time()
        tokenizer = train_tokenizer([text], unit)
        tokenizer.decode(tokenizer.encode(text))
        KNOWN[unit].spans(text)
        assert time.process_time() - started < 8


def damaged(unit: Unit, change: str) -> Any:
    """The JSON of a good tokenizer with one thing wrong."""
    content: Any = json.loads(json.dumps(KNOWN[unit]._document))
    model = content["model"]
    match change:
        case "regex":
            content["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": "(a+)+$"}
        case "added token":
            content["added_tokens"] = [{"id": 3, "content": "</s>", "special": True}]
        case "extra part":
            content["post_processor"] = {"type": "ByteLevel"}
        case "extra key":
            content["plugin"] = "x"
        case "number for truth":
            model["fuse_unk"] = 0
        case "other model":
            model["type"] = "WordPiece"
        case "sparse ids":
            model["vocab"]["▁"] = 10**9
        case "double ids":
            model["vocab"]["▁"] = 5
        case "id is truth":
            model["vocab"]["<unk>"] = True
        case "no specials":
            model["vocab"] = {"a": 0, "b": 1}
        case "merge unknown":
            model["merges"].append(["never", "seen"])
        case "merge bytes":
            model["merges"].append(["<0x41>", "<0x42>"])
        case "long piece":
            model["vocab"]["x" * 5000] = len(model["vocab"])
        case "surrogate":
            model["vocab"]["\ud800"] = len(model["vocab"])
        case "no vocabulary":
            del model["vocab"]
        case "score":
            model["vocab"][300][1] = 1e300
        case "score text":
            model["vocab"][300][1] = "0"
        case "twice":
            model["vocab"].append(model["vocab"][-1])
        case _:
            raise AssertionError(change)
    return content


BPE_CHANGES = (
    "regex, added token, extra part, extra key, number for truth, other model, sparse ids, double ids, id is truth, "
    "no specials, merge unknown, merge bytes, long piece, surrogate, no vocabulary"
)
CHANGES: list[tuple[Unit, str]] = [("bpe", change) for change in BPE_CHANGES.split(", ")]
CHANGES += [("unigram", change) for change in ("score", "score text", "twice", "no vocabulary", "regex")]


@pytest.mark.parametrize(("unit", "change"), CHANGES)
def test_a_file_with_anything_unknown_is_refused(unit: Unit, change: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(damaged(unit, change)))
    with pytest.raises(FolderError, match=r"tokenizer\.json: "):
        Tokenizer.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[]", "is not a JSON table"),
        (b"{}", "it has no model"),
        (b'{"model": {"vocab": NaN}}', "holds parts that no tokenizer of pairloom has"),
        (b'{"model": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
        (b'{"model": {"vocab": {"a": ' + b"1" * 10_000 + b"}}}", "is not JSON"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(FolderError, match=message):
        Tokenizer.load(path)


def test_a_file_of_another_unit_or_none_is_refused(tmp_path: Path) -> None:
    KNOWN["bpe"].save(tmp_path / "tokenizer.json")
    with pytest.raises(FolderError, match="tokenizer of unit bpe, but the configuration says jamo"):
        Tokenizer.load(tmp_path / "tokenizer.json", "jamo")
    with pytest.raises(FolderError, match=r"none\.json is missing"):
        Tokenizer.load(tmp_path / "none.json")


@given(junk=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["model", "vocab", "type", "merges", "normalizer", "decoder"]) | st.text(), x)))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_no_json_at_all_gets_past_the_check(junk: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("junk") / "tokenizer.json"
    for content in (junk, {"model": junk}, {**recipe("bpe"), "model": {**recipe("bpe")["model"], "vocab": junk}}):
        path.write_text(json.dumps(content))
        with pytest.raises(FolderError):
            Tokenizer.load(path)


def words(count: int, length: int, letters: str, seed: int) -> list[str]:
    generator = random.Random(seed)
    return ["".join(generator.choices(letters, k=generator.randint(2, length))) for _ in range(count)]


LATIN, GREEK, SYLLABLES = (
    "abcdefghijklmnopqrstuvwxyz",
    "αβγδεζηθικλμνξοπρστυφχψω",
    "가나다라마바사아자차카타파하독국신문",
)


def sentences(count: int, letters: str, seed: int, word: int = 9) -> list[str]:
    flat = iter(words(count * 8, word, letters, seed))
    return [" ".join(next(flat) for _ in range(8)) for _ in range(count)]


def test_the_choice_for_sentences() -> None:
    same = choose_units(zip(sentences(300, LATIN, 1), sentences(300, LATIN, 2), strict=True), total=29_000)
    assert same[:4] == ("bpe", "bpe", True, 8000)
    assert "share an alphabet" in same.reason
    other = choose_units(zip(sentences(300, LATIN, 1), sentences(300, GREEK, 2), strict=True), total=10_000)
    assert other[:4] == ("bpe", "bpe", False, 4000)
    short = choose_units([("go home", "αβγδ " * 10), ("stop it now", "γδεζ " * 9)])
    assert short[:2] == ("bpe", "bpe")
    korean = choose_units(zip(sentences(300, SYLLABLES, 1, 4), sentences(300, SYLLABLES, 2, 4), strict=True))
    assert korean[:3] == ("bpe", "bpe", True)


def test_the_choice_for_short_texts() -> None:
    phonemes = [" ".join(word.upper()) for word in words(300, 9, LATIN, 1)]
    assert choose_units(zip(words(300, 9, LATIN, 1), phonemes, strict=True))[:3] == ("character", "space", False)
    assert choose_units(zip(words(300, 4, SYLLABLES, 1), phonemes, strict=True))[:2] == ("jamo", "space")
    dates = [("Thursday, 4 March 2021", "2021-03-04"), ("2021년 3월 4일 목요일", "2021-03-04")] * 20
    assert choose_units(dates)[:2] == ("character", "character")
    reason = choose_units(dates).reason
    assert reason.startswith("The source is short (")
    assert reason.endswith("The target is short (10 characters on average): unit character.")


def test_the_choice_looks_at_all_pairs_not_the_first() -> None:
    pairs = [("Go.", "Va !")] * 2000 + list(zip(sentences(20_000, LATIN, 1), sentences(20_000, LATIN, 2), strict=True))
    assert choose_units(pairs)[:2] == ("bpe", "bpe")
    assert choose_units(iter(pairs)) == choose_units(pairs)
    assert choose_units([])[:2] == ("character", "character")
