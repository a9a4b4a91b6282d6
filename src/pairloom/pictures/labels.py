"""Tokens as something that can be seen: spaces marked, jamo apart shown whole, invisible characters as their code."""

from __future__ import annotations

import unicodedata

from rich.cells import cell_len

SPACE = "␣"
"""Stands for a space and for the metaspace `▁` of SentencePiece-like tokenizers."""

_NAMED = {"▁": SPACE, "\n": "↵", "\t": "⇥"}
_BLANK = "\u115f\u1160\u3164\uffa0\u2800"  # fillers of Hangul and the empty Braille cell: letters that show nothing
_JOINERS = "\u200c\u200d"
_CONJOINING = ("HANGUL CHOSEONG ", "HANGUL JUNGSEONG ", "HANGUL JONGSEONG ")
_DOTTED_CIRCLE = "◌"


def code(character: str) -> str:
    """`U+XXXX`, for what cannot be shown."""
    return f"U+{ord(character):04X}"


def _jamo(character: str) -> str:
    """The compatibility jamo (U+3131...) of a conjoining one (U+1100...): only those look like letters on their own."""
    name = unicodedata.name(character, "")
    for prefix in _CONJOINING:
        if name.startswith(prefix):
            try:
                return unicodedata.lookup("HANGUL LETTER " + name.removeprefix(prefix))
            except KeyError:  # an old letter without a compatibility form
                return character
    return character


def _show(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    category = unicodedata.category(character)
    if category == "Zs":
        return SPACE
    if category in {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"} or character in _BLANK:
        return code(character)
    return _jamo(character)


def pieces(token: str) -> list[str]:
    """The token in pieces that must not be cut: a base with its marks, or the code of an invisible character.

    Composed first (NFC), so that jamo which make a syllable are shown as the syllable. No control character, no
    direction override and no lone surrogate is left, so that the result is safe to print and to write as UTF-8.
    """
    composed = unicodedata.normalize("NFC", token)
    if not composed.strip(_JOINERS):
        return [code(character) for character in composed] or ["∅"]
    out: list[str] = []
    for character in composed:
        if unicodedata.category(character).startswith("M") or character in _JOINERS:
            if out and not out[-1].startswith("U+"):
                out[-1] += character
            else:
                out.append(_DOTTED_CIRCLE + character)
        else:
            out.append(_show(character))
    return out


def visible(token: str, columns: int | None = None) -> str:
    """The token as a label that can be seen, at most `columns` terminal columns wide, its tail shortened to `…`."""
    parts = pieces(token)
    if columns is None or cell_len("".join(parts)) <= columns:
        return "".join(parts)
    kept, used = [], 1
    for part in parts:
        used += cell_len(part)
        if used > columns:
            break
        kept.append(part)
    return "".join(kept) + "…"


def heading(text: str, columns: int | None = None) -> str:
    """The same for a title or a sentence, where a space may be a space."""
    return visible(" ".join(text.split()), columns).replace(SPACE, " ")
