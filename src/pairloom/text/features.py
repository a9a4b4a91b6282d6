"""A tokenizer of sources with features: `text<TAB>V;PST` → one id for each feature, then the ids of the text.

    tokenizer = FeatureTokenizer(Tokenizer.load(path), ("V", "PST", "SG"))
    tokenizer.tokens(tokenizer.encode("gehen\\tV;PST")) == ["[V]", "[PST]", "g", "e", "h", "e", "n"]

The ids of features follow those of the text, whose tokenizer stays a file of its own; the features stand in
config.json. They come first, so that a long text that is cut loses none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pairloom.text.columns import TAB, split_features, text_part
from pairloom.text.tokenizer import UNK, Span, Tokenizer

MOST = 10_000
"""Different features, at most; rarer ones become `<unk>`."""
LONGEST = 100
"""Characters of a feature, at most; longer ones become `<unk>`."""
UNKNOWN = "\ufffd"


def learn_features(sources: Iterable[str]) -> tuple[str, ...]:
    """The features of the sources, the most frequent first; the order of the sources does not matter."""
    counts = Counter(feature for source in sources for feature in split_features(source.partition(TAB)[2]))
    known = [feature for feature in counts if len(feature) <= LONGEST]
    return tuple(sorted(known, key=lambda feature: (-counts[feature], feature))[:MOST])


class FeatureTokenizer(Tokenizer):
    """Reads the features of a source as tokens of their own; everything else is as the tokenizer of its text has it.

    `decode(encode(source)) == source` for a source whose text the tokenizer of the text gives back and whose features
    are known and written as `columns.with_features` writes them. With `reads=False` it is the other side of a joint
    vocabulary: of the same size, but a tab is text there and no feature is ever read or said.
    """

    def __init__(self, text: Tokenizer, features: Sequence[str], *, reads: bool = True) -> None:
        super().__init__(text.unit, text._document)
        self.features, self._reads = tuple(features), reads
        self._first = len(self.pieces)  # id of the first feature
        self.pieces = (*self.pieces, *(f"[{feature}]" for feature in features))
        self._ids = {feature: self._first + place for place, feature in enumerate(features)}

    def encode(self, text: str) -> list[int]:
        """The ids of the features, then those of the text."""
        return [*self._marks(text), *super().encode(self._plain(text))]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for many sources at once."""
        plain = super().encode_all([self._plain(text) for text in texts])
        return [[*self._marks(text), *ids] for text, ids in zip(texts, plain, strict=True)]

    def decode(self, ids: Iterable[int]) -> str:
        """The source. `<unk>` before a feature is a feature that was not known, and reads as U+FFFD."""
        every = list(ids)
        last = max((place for place, i in enumerate(every) if i >= self._first), default=-1)
        marks = [i for i in every[: last + 1] if i >= self._first or (self._reads and i == UNK)]
        rest = [i for i in every if i < self._first]
        if not self._reads:
            return super().decode(rest)
        text = super().decode(rest[sum(i == UNK for i in marks) :])
        names = [UNKNOWN if i == UNK else self.features[i - self._first] for i in marks]
        return text + TAB + ";".join(names) if names else text

    def offsets(self, text: str) -> list[Span]:
        """Those of features lie behind the tab, those of the text before it."""
        return [*self._places(text), *super().offsets(self._plain(text))]

    def spans(self, text: str) -> list[Span]:
        """As `offsets`, with the words of the text."""
        # Called on the text alone; `Tokenizer.spans` asks for offsets, and finds no feature there.
        return [*self._places(text), *super().spans(self._plain(text))]

    def _plain(self, source: str) -> str:
        return text_part(source) if self._reads else source

    def _marks(self, source: str) -> list[int]:
        if not self._reads or TAB not in source:
            return []
        return [self._ids.get(feature, UNK) for feature in split_features(source.partition(TAB)[2])]

    def _places(self, source: str) -> list[Span]:
        if not self._reads or TAB not in source:
            return []
        places, end = [], source.index(TAB)
        for feature in split_features(source[end:]):
            start = source.index(feature, end)
            end = start + len(feature)
            places.append((start, end))
        return places
