"""The parts that tokenizer files are made of, one fixed recipe for each unit, and the check of a file against them.

A tokenizer is saved as the JSON of Hugging Face `tokenizers`, so that the stock library opens it too. Everything in
such a file except the pieces (vocabulary, merges, scores) is the recipe of its unit, written here as plain JSON; a file
that differs from the recipe in any other place is refused before the library sees it. This is stricter than a list of
forbidden things: a `Split` with a regular expression, for one, can make the library panic or run for ever.

Ids: 0-3 are `<pad> <unk> <s> </s>`; for bpe, unigram and byte 4-259 are the bytes `<0x00>` to `<0xFF>`; then the rest.
The four are no "added tokens" of the library: those would be looked for in the text, where `</s>` is only text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pairloom.errors import FolderError
from pairloom.text.bounded import read_table

Unit = Literal["character", "jamo", "word", "space", "bpe", "unigram", "byte"]
"""What one id stands for: a character; a letter of decomposed text (Hangul as jamo, é as e and its accent); a word or
punctuation mark; what is between two spaces; a piece of a word (Sennrich et al. 2016; Kudo 2018); a byte of UTF-8."""
UNITS: tuple[Unit, ...] = get_args(Unit)

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
BYTE_UNITS = frozenset({"bpe", "unigram", "byte"})
"""Units that know every text, because what they do not know they spell in bytes."""

MARK = "▁"
"""U+2581, stands for a space (and for the start of the text) inside pieces, as in SentencePiece."""
ESCAPE = "\ue581"
"""A private-use character. A text's own "▁" becomes ESCAPE 1, a text's own ESCAPE becomes ESCAPE 0: exact both ways."""

MAX_PIECES = 1_000_000
MAX_PIECE_LENGTH = 256  # characters
MAX_FILE_BYTES = 64 * 2**20
PARTS_OF_A_PIECE = 8
"""Brackets and commas that a piece, its merge and its score take in the file, and some to spare."""

Json = dict[str, Any]


def _replace(old: str, new: str) -> Json:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def _split(text: str, behavior: str) -> Json:
    return {"type": "Split", "pattern": {"String": text}, "behavior": behavior, "invert": False}


def _spaces_as_marks() -> Json:
    steps = [_replace(ESCAPE, ESCAPE + "0"), _replace(MARK, ESCAPE + "1"), {"type": "Prepend", "prepend": MARK}]
    return {"type": "Sequence", "normalizers": [*steps, _replace(" ", MARK)]}


def _marks_as_spaces() -> Json:
    # Spaces come back before bytes are joined, the escapes after: a "▁" of the text cannot be taken for a space.
    steps = [_replace(MARK, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    unescape = [_replace(ESCAPE + "1", MARK), _replace(ESCAPE + "0", ESCAPE)]
    return {"type": "Sequence", "decoders": [*steps, strip, *unescape]}


def _words(punctuation: str) -> Json:
    # "<" stands alone, so no piece longer than it can ever spell `</s>` or `<0x41>`, in training or afterwards.
    steps = [_split(MARK, "MergedWithNext"), _split("<", "Isolated"), {"type": "Punctuation", "behavior": punctuation}]
    return {"type": "Sequence", "pretokenizers": steps}


def _bpe_model(byte_fallback: bool) -> Json:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": SPECIALS[UNK],
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": byte_fallback,
        "ignore_merges": False,
    }


def recipe(unit: Unit) -> Json:
    """The whole JSON of a tokenizer of this unit, with no pieces in its model yet."""
    normalizer: Json | None = None
    pre_tokenizer: Json | None = None
    decoder: Json | None = {"type": "Fuse"}
    if unit in ("character", "jamo", "byte"):
        model = _bpe_model(byte_fallback=unit == "byte")
        if unit == "jamo":
            normalizer = {"type": "NFD"}
        if unit == "byte":
            decoder = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    elif unit == "space":
        model = {"type": "WordLevel", "unk_token": SPECIALS[UNK]}
        pre_tokenizer, decoder = _split(" ", "Removed"), None  # without a decoder the library joins with spaces
    else:
        normalizer, decoder = _spaces_as_marks(), _marks_as_spaces()
        pre_tokenizer = _words("Isolated" if unit == "word" else "Contiguous")
        if unit == "word":
            model = {"type": "WordLevel", "unk_token": SPECIALS[UNK]}
        elif unit == "bpe":
            model = _bpe_model(byte_fallback=True)
        else:
            model = {"type": "Unigram", "unk_id": UNK, "byte_fallback": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }


def reserved(unit: Unit) -> tuple[str, ...]:
    """The pieces whose ids are fixed, in the order of the ids."""
    return SPECIALS + BYTES if unit in BYTE_UNITS else SPECIALS


def document(
    unit: Unit,
    pieces: Sequence[str],
    merges: Sequence[tuple[str, str]] = (),
    scores: Sequence[float] = (),
) -> Json:
    """A tokenizer as JSON: the recipe of `unit` and the pieces learnt, which get the ids after the reserved ones.

    `merges` are for bpe, `scores` (natural logarithms of probabilities, one a piece) for unigram. Pieces that spell a
    reserved one are left out, and with them the merges that need them.
    """
    fixed = reserved(unit)
    learnt = [i for i, piece in enumerate(pieces) if piece not in fixed and len(piece) <= MAX_PIECE_LENGTH]
    whole = [*fixed, *(pieces[i] for i in learnt)]
    result = recipe(unit)
    model = result["model"]
    if unit == "unigram":
        values = [0.0] * len(fixed) + [float(scores[i]) for i in learnt]
        model["vocab"] = [[piece, value] for piece, value in zip(whole, values, strict=True)]
        return result
    model["vocab"] = {piece: i for i, piece in enumerate(whole)}
    if model["type"] == "BPE":
        known = set(whole[len(fixed) :])
        model["merges"] = [[a, b] for a, b in merges if a in known and b in known and a + b in known]
    return result


def read_document(path: Path, pieces: int = MAX_PIECES) -> Json:
    """The JSON of a tokenizer file of about so many pieces, not yet checked. Raises FolderError."""
    return read_table(path, MAX_FILE_BYTES, PARTS_OF_A_PIECE * pieces + 10_000)


def check_document(found: Json, path: Path) -> Unit:
    """The unit whose recipe the file follows. Raises FolderError if it holds anything else, or broken pieces."""
    model = found.get("model")
    if not isinstance(model, dict):
        raise FolderError(f"{path}: not a tokenizer file: it has no model")
    bare = {**found, "model": {key: value for key, value in model.items() if key not in ("vocab", "merges")}}
    unit = next((unit for unit in UNITS if _same(recipe(unit), bare)), None)
    if unit is None:
        parts = ", ".join(_differences(found))
        raise FolderError(
            f"{path}: holds parts that no tokenizer of pairloom has ({parts}); for safety such files are not opened. "
            "Use the file that `pairloom train` wrote."
        )
    problems = _vocabulary_problems(unit, model)
    if problems:
        raise FolderError(f"{path}: the pieces of the tokenizer are damaged", problems)
    return unit


def _same(expected: object, found: object) -> bool:
    """Equality of JSON that does not take 1 for True; never deeper than `expected`."""
    if type(expected) is not type(found):
        return False
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(_same(expected[key], found[key]) for key in expected)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_same, expected, found))
    return expected == found


def _differences(found: Json) -> list[str]:
    """Names of the top-level parts that fit no recipe together with the file's kind of model; at least one."""
    candidates = [recipe(unit) for unit in UNITS]
    names = [
        name
        for name in sorted({*found, *candidates[0]} - {"model"})
        if name not in found or not any(name in one and _same(one[name], found[name]) for one in candidates)
    ]
    return [str(name)[:40] for name in names[:8]] or ["model"]


def _vocabulary_problems(unit: Unit, model: Json) -> list[str]:
    vocabulary = model.get("vocab")
    if unit == "unigram":
        problems, pieces = _scored_pieces(vocabulary)
    else:
        problems, pieces = _numbered_pieces(vocabulary)
    if problems:
        return problems
    fixed = reserved(unit)
    if tuple(pieces[: len(fixed)]) != fixed:
        problems.append(f"the first {len(fixed)} pieces must be {fixed[0]} ... {fixed[-1]}")
    longest = 1 if unit in ("character", "jamo") else MAX_PIECE_LENGTH
    wrong = [p for p in pieces[len(fixed) :] if not 1 <= len(p) <= longest or not _encodable(p)]
    if wrong:
        problems.append(f"{len(wrong)} pieces are empty, longer than {longest} or no Unicode: {wrong[0][:40]!a}")
    if model["type"] == "BPE":
        problems += _merge_problems(unit, model.get("merges"), set(pieces[len(fixed) :]))
    elif "merges" in model:
        problems.append("only bpe has merges")
    return problems


def _numbered_pieces(vocabulary: object) -> tuple[list[str], list[str]]:
    if not isinstance(vocabulary, dict) or len(vocabulary) > MAX_PIECES:
        return [f"the vocabulary must be an object of at most {MAX_PIECES:,} pieces"], []
    size = len(vocabulary)
    pieces: list[str | None] = [None] * size
    for piece, index in vocabulary.items():
        if type(index) is not int or not 0 <= index < size or pieces[index] is not None:
            return [f"ids must be 0 to {size - 1}, each once; {piece[:40]!a} has {str(index)[:40]}"], []
        pieces[index] = piece
    return [], [piece for piece in pieces if piece is not None]


def _scored_pieces(vocabulary: object) -> tuple[list[str], list[str]]:
    if not isinstance(vocabulary, list) or len(vocabulary) > MAX_PIECES:
        return [f"the vocabulary must be a list of at most {MAX_PIECES:,} pieces"], []
    for entry in vocabulary:
        if not isinstance(entry, list) or [type(value) for value in entry] != [str, float]:
            return ["each piece of unigram must be a text and a number"], []
        if not math.isfinite(entry[1]) or abs(entry[1]) > 1000:
            return [f"the score of {entry[0][:40]!a} is out of range"], []
    pieces = [entry[0] for entry in vocabulary]
    return (["a piece occurs twice"], []) if len(set(pieces)) != len(pieces) else ([], pieces)


def _merge_problems(unit: Unit, merges: object, known: set[str]) -> list[str]:
    if not isinstance(merges, list) or len(merges) > MAX_PIECES or (merges and unit != "bpe"):
        return [f"merges must be a list of at most {MAX_PIECES:,}, empty for {unit}"]
    for merge in merges:
        if not isinstance(merge, list) or [type(part) for part in merge] != [str, str]:
            return ["each merge must be two pieces"]
        if merge[0] not in known or merge[1] not in known or merge[0] + merge[1] not in known:
            return [f"the merge {merge[0][:40]!a} + {merge[1][:40]!a} needs a piece that is missing"]
    return []


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
