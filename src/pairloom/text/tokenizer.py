"""Text to ids and back: one small class over Hugging Face `tokenizers`, the same for all seven units.

    tokenizer = train_tokenizer(texts, "bpe", size=8000)
    ids = tokenizer.encode("ein Hund")          # no <s>, no </s>: those belong to the batch
    tokenizer.decode(ids) == "ein Hund"         # exact; which texts that covers is said at `Tokenizer`

The text of a special token is only text: no input, not even "</s>", is ever encoded to an id below 4 other than <unk>.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import tokenizers
from tokenizers import normalizers, trainers

from pairloom.errors import FolderError, UsageError
from pairloom.storage import write_file
from pairloom.text.components import (
    BOS,
    EOS,
    ESCAPE,
    MARK,
    MAX_PIECES,
    PAD,
    SPECIALS,
    UNITS,
    UNK,
    Json,
    Unit,
    check_document,
    document,
    read_document,
    reserved,
)
from pairloom.text.unigram import train_unigram

__all__ = ["BOS", "EOS", "PAD", "SPECIALS", "UNITS", "UNK", "Tokenizer", "Unit", "train_tokenizer"]

REPLACEMENT = "\ufffd"
_SURROGATES = re.compile("[\ud800-\udfff]")
_ENDLESS = re.compile("[^ ]{256}")
_MARKED_UNITS = frozenset({"word", "bpe", "unigram"})

Span = tuple[int, int]
"""Start and end (exclusive) in characters of the original text."""


class Tokenizer:
    """A trained tokenizer; immutable, safe to share between threads.

    `decode(encode(text)) == text` holds for every NFC text with bpe, unigram and byte; with character, jamo and word
    when its characters or words are known; with space when, besides, symbols are apart by single spaces and there is
    none at either end (other spaces are not kept). A lone surrogate is no character and is read as U+FFFD.
    """

    def __init__(self, unit: Unit, built: Json) -> None:
        """`built` is the JSON made by `components.document`, or checked by `components.check_document`."""
        self.unit: Unit = unit
        self._document = built
        self._backend = _construct(built)
        vocabulary = built["model"]["vocab"]
        self.pieces: tuple[str, ...] = tuple(p for p, _ in vocabulary) if unit == "unigram" else tuple(vocabulary)

    def __eq__(self, other: object) -> bool:
        """Whether both make the same ids of every text: same unit, same pieces in the same places, same merges."""
        return isinstance(other, Tokenizer) and self._document == other._document

    def __hash__(self) -> int:
        return hash((self.unit, self.pieces))

    @property
    def size(self) -> int:
        """Number of ids, the four special ones included."""
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """The ids of the text, without `<s>` and `</s>`."""
        return _guarded(self._backend.encode(_whole(text), add_special_tokens=False).ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for many texts at once, several times faster."""
        encodings = self._backend.encode_batch_fast([_whole(text) for text in texts], add_special_tokens=False)
        return [_guarded(encoding.ids) for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids. `<pad> <s> </s>` have none; `<unk>` and bytes that are no UTF-8 read as U+FFFD."""
        unknown = MARK + REPLACEMENT if self.unit == "word" else REPLACEMENT
        tokens = [unknown if i == UNK else self.pieces[i] for i in ids if i not in (PAD, BOS, EOS)]
        if self._backend.decoder is None:
            return " ".join(tokens)
        text: str = self._backend.decoder.decode(tokens)
        return _compose(text) if self.unit == "jamo" else text

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """A readable name for each id, for pictures and tables: pieces that start a word begin with "▁"."""
        names = (self.pieces[i] for i in ids)
        return [name.replace(ESCAPE + "1", MARK).replace(ESCAPE + "0", ESCAPE) for name in names]

    def offsets(self, text: str) -> list[Span]:
        """For each id of `encode(text)` the characters of `text` that it stands for, without the space before a word.

        Ids that spell one character together (jamo, bytes) share its span. A "▁" that stands alone for the start of
        the text covers nothing: (0, 0).
        """
        encoding = self._backend.encode(_whole(text), add_special_tokens=False)
        spans: list[Span] = encoding.offsets
        if self.unit not in _MARKED_UNITS:
            return spans
        # A space can only be the first character of a longer span: pieces never cross from one word to the next.
        trimmed = [(start + (end - start > 1 and text[start] == " "), end) for start, end in spans]
        if encoding.tokens[:1] == [MARK]:
            trimmed[0] = (0, 0)
        return trimmed

    def spans(self, text: str) -> list[Span]:
        """For each id the span of what a picture labels: the word around it for word, bpe and unigram (a word being
        what is between two spaces), else its own characters. Ids with equal spans belong under one label.
        """
        own = self.offsets(text)
        if self.unit not in _MARKED_UNITS:
            return own
        words = [match.span() for match in re.finditer("[^ ]+", text)]
        result: list[Span] = []
        position = 0
        for start, end in own:
            # A lone "▁" covers the space before a word, or nothing at the start: it goes with the word that follows.
            at = start if text[start:end].strip(" ") else end
            while position < len(words) and words[position][1] <= at:
                position += 1
            inside = position < len(words) and words[position][0] <= at
            result.append(words[position] if inside else (start, end))
        return result

    def save(self, path: str | Path) -> None:
        """One JSON file, which the stock `tokenizers.Tokenizer.from_file` opens too. Same tokenizer, same bytes.

        Whole or not at all. Raises StorageError.
        """
        write_file(Path(path), (json.dumps(self._document, ensure_ascii=False, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path, unit: Unit | None = None, size: int = MAX_PIECES) -> Tokenizer:
        """A tokenizer from its file; `unit`, if given, must be the file's. Raises FolderError for anything unknown, and
        for a file that would take more memory than one of `size` pieces does."""
        path = Path(path)
        built = read_document(path, size)
        found = check_document(built, path)
        if unit not in (None, found):
            raise FolderError(f"{path}: this is a tokenizer of unit {found}, but the configuration says {unit}")
        if isinstance(built["model"]["vocab"], dict):
            built["model"]["vocab"] = dict(sorted(built["model"]["vocab"].items(), key=lambda item: item[1]))
        return cls(found, built)


def train_tokenizer(texts: Iterable[str], unit: Unit, size: int = 8000) -> Tokenizer:
    """Learn a tokenizer of at most `size` ids, the special ones (and bytes) included, from texts.

    One for both sides is made by handing in the texts of both. Deterministic: the same texts in any order give the
    same file. Texts that can be iterated only once are held in memory. character, jamo, word and space keep the most
    frequent units. Raises UsageError if the unit is unknown or `size` leaves no room.
    """
    if unit not in UNITS:
        raise UsageError(f"no unit is called {unit!r}; there are: {', '.join(UNITS)}")
    room = size - len(reserved(unit))
    least = {"byte": 0, "character": 1, "jamo": 1, "space": 1}.get(unit, 2)  # the others always have the piece "▁"
    if room < least:
        smallest = len(reserved(unit)) + least
        raise UsageError(f"a vocabulary of {size} is too small for unit {unit}: it needs at least {smallest}")
    if unit == "byte":
        return Tokenizer(unit, document(unit, []))
    if unit in ("character", "jamo"):
        counts = _characters(texts, decompose=unit == "jamo")
        return Tokenizer(unit, document(unit, _most_frequent(counts, room)))
    if unit in ("word", "space"):
        model = _train(texts, unit, trainers.WordLevelTrainer(vocab_size=size, min_frequency=0, show_progress=False))
        pieces = [piece for piece in _by_id(model["vocab"]) if piece not in (*SPECIALS, MARK)]
        marks = [MARK] if unit == "word" else []
        return Tokenizer(unit, document(unit, [*marks, *pieces][:room]))
    return _train_subwords(texts, unit, room)


_LONGEST_SUBWORD = 16  # characters, as in SentencePiece
_SEED = 3  # candidates of the unigram model for each piece that it may keep


def _train_subwords(texts: Iterable[str], unit: Unit, room: int) -> Tokenizer:
    """BPE (Sennrich et al. 2016, section 3.2) or the unigram language model (Kudo 2018, section 3.2)."""
    kept = texts if iter(texts) is not texts else list(texts)
    # Half of the room at most is for single characters; rarer ones are spelt in bytes (matters for Chinese).
    counts = _characters(kept, decompose=False)
    for character in (" ", MARK, ESCAPE):
        counts.pop(character, None)
    alphabet = set(_most_frequent(counts, room // 2))
    if not alphabet:
        return Tokenizer(unit, document(unit, [MARK], scores=[-1.0]))
    rare = {ord(character): " " for character in (*counts, MARK, ESCAPE) if character not in alphabet}

    def cleaned() -> Iterator[str]:
        # Words without end are cut: the trainer's time is quadratic in the length of a word.
        return (_ENDLESS.sub(r"\g<0> ", _whole(text).translate(rare)) for text in kept)

    trainer = trainers.BpeTrainer(
        vocab_size=room if unit == "bpe" else room * _SEED,
        initial_alphabet=[MARK],
        max_token_length=_LONGEST_SUBWORD,
        show_progress=False,
    )
    model = _train(cleaned(), "bpe", trainer)
    if unit == "bpe":
        return Tokenizer(unit, document(unit, _by_id(model["vocab"]), merges=[(a, b) for a, b in model["merges"]]))
    scores = train_unigram(_counted_words(cleaned()), [MARK, *model["vocab"]], room)
    return Tokenizer(unit, document(unit, list(scores), scores=list(scores.values())))


def _counted_words(texts: Iterable[str]) -> Counter[str]:
    """What the pre-tokenizer of bpe and unigram makes of the texts, as it sees them ("▁Hund", ","), and how often."""
    backend = _construct(document("unigram", []))
    result: Counter[str] = Counter({MARK: 1})
    for word, count in Counter(word for text in texts for word in text.split(" ") if word).items():
        for part, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(word)):
            result[part] += count
    return Counter(dict(sorted(result.items())))


def _train(texts: Iterable[str], unit: Unit, trainer: trainers.Trainer) -> Json:
    """The model that the library's trainer makes, as JSON; its vocabulary has none of our reserved pieces."""
    empty = _construct(document(unit, []))
    empty.train_from_iterator((_whole(text) for text in texts), trainer)
    model: Json = json.loads(empty.to_str())["model"]
    return model


def _by_id(vocabulary: dict[str, int]) -> list[str]:
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _characters(texts: Iterable[str], *, decompose: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_decompose(_whole(text)) if decompose else _whole(text))
    return counts


def _decompose(text: str) -> str:
    # Not unicodedata: its time is quadratic in the length of a run of combining marks.
    result: str = normalizers.NFD().normalize_str(text)
    return result


def _compose(text: str) -> str:
    result: str = normalizers.NFC().normalize_str(text)
    return result


def _most_frequent(counts: Counter[str], limit: int) -> list[str]:
    return sorted(counts, key=lambda unit: (-counts[unit], unit))[:limit]


def _whole(text: str) -> str:
    """The text without lone surrogates, which no Rust string can hold."""
    return _SURROGATES.sub(REPLACEMENT, text)


def _guarded(ids: list[int]) -> list[int]:
    return [i if i > EOS else UNK for i in ids]


def _construct(built: Json) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(built, ensure_ascii=False))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a Rust panic is no Exception
        raise FolderError(f"the library refuses this tokenizer: {error}") from None
