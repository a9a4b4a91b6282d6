"""A text cut into what a model can answer: its sentences, with all that stands between them kept as it is.

Models learn from pairs of sentences. A page of text in one piece would be cut at the longest source that the model has
ever read, and half of it would be lost; so it goes in sentence by sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

_SPACE = re.compile(r"\s+")
_BREAK = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_END = re.compile(
    r"""(?: (?<=[.!?…]) | (?<=[.!?…]["'”’»)\]]) ) \s+ (?= ["'“‘«(\[¿¡]? [^\W_a-z] ) | (?<=[。！？]) \s*""", re.VERBOSE
)
_ABBREVIATION = re.compile(
    r"""(?: ^ | [\s("“„«\[] )
    (?: [^\W\d_] | \d+ | (?:[^\W\d_]+\.)+[^\W\d_]+  # J.   3.   z.B.
      | Dr | Prof | Mr | Mrs | Ms | St | Nr | No | Jr | Sr | Hr | Fr | vs | etc | ca | bzw | vgl | usw | evtl | inkl
    ) \. $""",
    re.VERBOSE | re.IGNORECASE,
)
"""A full stop after one of these ends no sentence, most of the time."""
_LONGEST = 64
"""Characters before a full stop in which one is looked for: a search in all of a line would be made at each of its full
stops again."""


class Cut(NamedTuple):
    """A text in pieces."""

    pieces: list[str]  # to be answered
    between: list[str]  # what stands before the first piece, after each, and so one more

    def joined(self, answers: Sequence[str]) -> str:
        """The answers with what stood between the pieces."""
        parts = [self.between[0]]
        for answer, after in zip(answers, self.between[1:], strict=True):
            parts += [answer, after]
        return "".join(parts)


def cut(text: str, fits: Callable[[str], bool], *, sentences: bool = True) -> Cut:
    """The pieces of a text. `fits` says whether a model reads the whole of a piece."""
    pieces, between = [], [""]
    for part in _lines(text):
        body = part.strip()
        if not body:
            between[-1] += part
            continue
        before, after = part[: part.index(body)], part[part.index(body) + len(body) :]
        between[-1] += before
        for piece, gap in _sentences(body) if sentences else [(body, "")]:
            for smaller, space in _fitting(piece, fits):
                pieces.append(smaller)
                between.append(space)
            between[-1] += gap
        between[-1] += after
    return Cut(pieces, between)


def _lines(text: str) -> list[str]:
    """The lines and the breaks between them: white space with a line's end in it."""
    found, begin = [], 0
    for space in _SPACE.finditer(text):
        if _BREAK.search(space.group()):
            found += [text[begin : space.start()], space.group()]
            begin = space.end()
    return [*found, text[begin:]]


def _sentences(line: str) -> list[tuple[str, str]]:
    """(sentence, the white space after it), not cut after `Dr.`, `z. B.` or `3.`"""
    found, begin = [], 0
    for match in _END.finditer(line):
        if match.start() == begin or match.end() == len(line) or _abbreviates(line, begin, match.start()):
            continue
        found.append((line[begin : match.start()], match.group()))
        begin = match.end()
    return [*found, (line[begin:], "")]


def _abbreviates(line: str, begin: int, end: int) -> bool:
    """Whether what stands in `line` from `begin` to `end` ends with an abbreviation."""
    if end - begin <= _LONGEST:
        return _ABBREVIATION.search(line[begin:end]) is not None
    return _ABBREVIATION.search("\0" + line[end - _LONGEST : end]) is not None  # \0: there no word begins


def _fitting(piece: str, fits: Callable[[str], bool]) -> list[tuple[str, str]]:
    """The piece, or where it is too long, halves of it at a space (or anywhere, if there is none)."""
    if len(piece) < 2 or fits(piece):
        return [(piece, "")]
    middle = len(piece) // 2
    spaces = [match.span() for match in re.finditer(r"\s+", piece)]
    begin, end = min(spaces, key=lambda span: abs(span[0] - middle), default=(middle, middle))
    first, second = _fitting(piece[:begin], fits), _fitting(piece[end:], fits)
    return [*first[:-1], (first[-1][0], piece[begin:end]), *second]
