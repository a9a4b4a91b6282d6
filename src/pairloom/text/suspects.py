"""Characters that should not be there: damage, invisible ones, look-alikes, wrongly decoded text, and rare ones.

The exact counts of the first pass say which of them can occur at all; only those are searched for in the second.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from pairloom.text.findings import Finding, Seen, Severity, characters, counted
from pairloom.text.survey import Numbers, Search

_MANY = 20_000  # characters in a side from which one that occurs once is rare
_CYRILLIC = range(0x0400, 0x0500)
# What the bytes 80-BF become when UTF-8 is read as Latin-1 or Windows-1252.
_TAIL = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
# One two-byte sequence under  or Ã; the other leads are letters of real words, so two sequences in a row are asked for.
_MOJIBAKE = re.compile(
    rf"[ÂÃ]{_TAIL}|â€|ï»¿|(?:[\u00c4-\u00df]{_TAIL}){{2}}|(?:[\u00e0-\u00ef]{_TAIL}{_TAIL}){{2}}|ðŸ{_TAIL}"
)
_LOOKALIKE = re.compile("[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]")
_INVISIBLE = {0x00AD, 0x034F, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF}
_INVISIBLE |= {*range(0x202A, 0x202F), *range(0x2060, 0x2070)}  # not the joiners, which some scripts need


@dataclass(frozen=True)
class Suspect:
    """Something to look for, and what to say if it is found."""

    kind: str
    severity: Severity
    message: Callable[[int], str]  # from the number of places
    advice: str
    search: Search
    count: int | None = None  # known already; otherwise what the search counts


def suspect_searches(name: str, counts: tuple[Numbers, Numbers]) -> list[Suspect]:
    """What to look for in the second pass over the file `name`, by the counts of code points of both sides."""
    present = {int(code) for code in np.flatnonzero(counts[0] + counts[1])}
    return [
        *_of_category(name, present),
        *_patterns(name, present),
        *_rare(name, "source", counts[0], 0),
        *_rare(name, "target", counts[1], 1),
    ]


def suspect_findings(suspects: Iterable[Suspect]) -> list[Finding]:
    """After the second pass: one finding for each suspect that was met."""
    findings = []
    for suspect in suspects:
        count = suspect.search.seen.count if suspect.count is None else suspect.count
        if suspect.search.seen.count:
            examples = tuple(suspect.search.seen.examples)
            findings.append(
                Finding(suspect.kind, suspect.severity, count, suspect.message(count), suspect.advice, examples)
            )
    return findings


def _of_category(name: str, present: set[int]) -> list[Suspect]:
    """Single characters that are suspicious wherever they stand."""
    category = {code: unicodedata.category(chr(code)) for code in present}
    table: list[tuple[str, Severity, set[int], str, str]] = [
        (
            "replacement-character",
            "warning",
            {0xFFFD} & present,
            "a replacement character, the trace of a wrong decoding:",
            "Go back to the file before it was converted; what was there cannot be recovered from this one.",
        ),
        (
            "control-characters",
            "warning",
            {code for code in present if category[code] == "Cc"},
            "control characters (line breaks and tabs within a side among them):",
            "Remove them or replace them by a space; an output with a line break is no longer one line.",
        ),
        (
            "invisible-characters",
            "warning",
            present & _INVISIBLE,
            "characters that cannot be seen (zero width, direction marks, soft hyphens):",
            "Remove them unless the script needs them; two texts that look equal are not.",
        ),
        (
            "private-characters",
            "warning",
            {code for code in present if category[code] in ("Co", "Cn")},
            "characters that no script has (private use or unassigned):",
            "Replace them by real ones; they mean something only in the font or program they come from.",
        ),
    ]
    return [
        Suspect(
            kind, severity, _pairs_with(f"{text} {characters(sorted(codes))}"), advice, _search(name, _charset(codes))
        )
        for kind, severity, codes, text, advice in table
        if codes
    ]


def _patterns(name: str, present: set[int]) -> list[Suspect]:
    suspects = []
    if any(code in present for code in (0xC2, 0xC3, 0xE2, 0xEF, 0xF0)) or len(present & set(range(0xC4, 0xF0))) > 1:
        message = _pairs_with("what looks like UTF-8 read as Latin-1 (mojibake, as Ã¤ for ä)")
        advice = "Convert the file again from its origin as UTF-8; the package ftfy can repair much of it."
        suspects.append(Suspect("mojibake", "warning", message, advice, _search(name, _MOJIBAKE)))
    latin = any(chr(code).isalpha() for code in present if code < 128)
    if latin and any(code in present for code in _CYRILLIC):
        message = _pairs_with("Latin and Cyrillic letters within one word; some look alike (a and а, c and с)")
        advice = "Write each word in one script; to a model the look-alikes are different letters."
        suspects.append(Suspect("mixed-scripts", "note", message, advice, _search(name, _LOOKALIKE)))
    return suspects


def _rare(name: str, label: str, counts: Numbers, side: int) -> list[Suspect]:
    """Characters that occur once in a side that has many."""
    once = [int(code) for code in np.flatnonzero(counts == 1)]
    if int(counts.sum()) < _MANY or not once:
        return []

    def message(count: int) -> str:
        text = f"{counted(count, 'character')} on the {label} side"
        return f"{text} {'occurs' if count == 1 else 'occur'} only once: {characters(once)}"

    advice = "Nothing can be learnt from one place: if they are slips, correct them; otherwise they may become <unk>."
    search = Search(_charset(once), side, Seen(name), count_all=False)
    return [Suspect(f"rare-{label}-characters", "note", message, advice, search, len(once))]


def _pairs_with(text: str) -> Callable[[int], str]:
    return lambda count: f"{counted(count, 'pair')} with {text}"


def _search(name: str, pattern: re.Pattern[str]) -> Search:
    return Search(pattern, None, Seen(name))


def _charset(codes: Iterable[int]) -> re.Pattern[str]:
    return re.compile("[" + "".join(re.escape(chr(code)) for code in sorted(codes)) + "]")
