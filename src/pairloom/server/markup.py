"""HTML and XML: the text between the tags is answered, the tags stay as they are, to the letter.

A scanner of one pass (a hostile document costs no more than a friendly one), after the tokenization of the HTML
standard (section 13.2.5) as far as telling text from tags needs it: what is never closed goes on to the end.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

TEXT, OTHER = "#text", "#other"


@dataclass(frozen=True)
class Dialect:
    """What a tag looks like, and the elements that are special."""

    begins: re.Pattern[str]  # the beginning of a tag
    tag: re.Pattern[str]  # a whole tag; the group is its name
    raw: frozenset[str] = frozenset()  # elements in which a `<` opens no tag
    silent: frozenset[str] = frozenset()  # elements whose content is no language
    void: frozenset[str] = frozenset()  # elements without content, and so without end


def _dialect(first: str, raw: str = "", silent: str = "", void: str = "") -> Dialect:
    """`first`: a pattern for the letter that a name begins with."""
    # `*+` gives nothing back: what does not end is found out in one pass, however long it is.
    rest = r"""[^\s/>]*+)[^>"']*+(?:(?:"[^"]*"|'[^']*')[^>"']*+)*+>"""
    begins, tag = re.compile(f"</?{first}"), re.compile(f"</?({first}{rest}")
    return Dialect(begins, tag, frozenset(raw.split()), frozenset(silent.split()), frozenset(void.split()))


HTML = _dialect(
    "[A-Za-z]",
    raw="script style textarea",
    silent="script style textarea code pre kbd samp var svg math template",
    void="area base br col embed hr img input link meta source track wbr",
)
XML = _dialect(r"[^\W\d]")
"""No element is special by its name, and a name may begin with any letter or `_` (XML 1.0, section 2.3)."""

_NOT_FOR_TRANSLATION = re.compile(r"""\s(?:translate\s*=\s*["']?no\b|class\s*=\s*["'][^"']*\bnotranslate\b)""", re.I)


class Marked:
    """A document as a list of parts; those at `texts` are text, unescaped."""

    def __init__(self, document: str, dialect: Dialect = HTML) -> None:
        self.parts: list[str] = []
        self.texts: list[int] = []  # places in `parts`
        silent, depth = "", 0  # the element whose content is kept, and how many of that name are open
        for kind, part in _scan(document, dialect):
            if kind == TEXT and not silent and (text := html.unescape(part)).strip():
                self.texts.append(len(self.parts))
                self.parts.append(text)
                continue
            self.parts.append(part)
            if kind in (TEXT, OTHER):
                continue
            if silent:
                if kind == silent:
                    depth += -1 if part.startswith("</") else _opens(part, kind, dialect)
                    silent = silent if depth else ""
            elif _opens(part, kind, dialect) and (kind in dialect.silent or _NOT_FOR_TRANSLATION.search(part)):
                silent, depth = kind, 1

    @classmethod
    def plain(cls, text: str) -> Marked:
        """A text without any tags."""
        one = cls("")
        one.parts, one.texts = [text], [0]
        return one

    def joined(self, answers: Mapping[int, str]) -> str:
        """The document with the texts replaced: place → answer."""
        return "".join(
            html.escape(answers[place], quote=False) if place in answers else part
            for place, part in enumerate(self.parts)
        )


def _opens(tag: str, name: str, dialect: Dialect) -> bool:
    return not tag.startswith("</") and not tag.endswith("/>") and name not in dialect.void


def _scan(document: str, dialect: Dialect) -> Iterator[tuple[str, str]]:
    """(TEXT, OTHER or the name of a tag; its part of the document), of the whole document."""
    begin = place = 0  # where the text that has not been given yet begins; where the next `<` is looked for
    while (place := document.find("<", place)) >= 0:
        kind, end = _markup_at(document, place, dialect)
        if not kind:  # a `<` that opens nothing
            place += 1
            continue
        if begin < place:
            yield TEXT, document[begin:place]
        tag = document[place:end]
        yield kind, tag
        begin = place = end
        if kind in dialect.raw and _opens(tag, kind, dialect):
            closing = re.compile(f"</{re.escape(kind)}[\\s/>]", re.I).search(document, end)
            begin = place = closing.start() if closing else len(document)
            yield OTHER, document[end:begin]
    if begin < len(document):
        yield TEXT, document[begin:]


def _markup_at(document: str, place: int, dialect: Dialect) -> tuple[str, int]:
    """What the `<` at `place` opens, and where that ends; nothing if it is a mere `<`."""
    for opening, closing in (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<!", ">"), ("<?", ">")):
        if document.startswith(opening, place):
            end = document.find(closing, place + len(opening))
            return OTHER, end + len(closing) if end >= 0 else len(document)
    if not dialect.begins.match(document, place):
        return "", place
    tag = dialect.tag.match(document, place)
    return (tag[1].lower(), tag.end()) if tag else (OTHER, len(document))
