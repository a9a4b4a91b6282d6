"""Which model turns which language into which, and which of the languages read here a text is in."""

from __future__ import annotations

from typing import NamedTuple

from babel import Locale, UnknownLocaleError

from pairloom.server.problems import bad
from pairloom.server.shelf import Served, Shelf
from pairloom.text.components import UNK


class Detected(NamedTuple):
    """A language that a text may be in."""

    language: str
    confidence: float  # 0 to 100


def base(code: str) -> str:
    """`EN-US` → `en`"""
    return code.partition("-")[0].lower()


def name_of(code: str) -> str:
    """The language's name in English; the code itself for one that has none."""
    try:
        return Locale.parse(code.replace("-", "_")).get_display_name("en") or code
    except (ValueError, UnknownLocaleError):
        return code


def translators(shelf: Shelf) -> list[Served]:
    """The models that turn one language into another. Raises ProblemError 400 if there are none."""
    found = [one for one in shelf.models.values() if one.source]
    if not found:
        raise bad("no model here has languages; start with `pairloom serve DIR --languages de:en`", code="no_languages")
    return found


def pair_for(shelf: Shelf, source: str, target: str) -> Served:
    """The model from `source` to `target`; `EN-US` is `en` where nothing nearer is there. ProblemError 400 if none."""
    there = translators(shelf)
    for alike in (str.lower, base):
        for one in there:
            if (alike(one.source), alike(one.target)) == (alike(source), alike(target)):
                return one
    pairs = ", ".join(f"{one.source} to {one.target}" for one in there)
    raise bad(f"{source:.40} to {target:.40} is not supported; there is: {pairs}", code="no_pair")


def detect(shelf: Shelf, text: str, target: str = "") -> list[Detected]:
    """The languages that models here read (those that they turn into `target`), the likeliest first.

    A tokenizer that has learnt a language needs few tokens for a text of it and knows them all: that is compared. So it
    is a choice among a handful, and no detection of any language of the world.
    """
    weights: dict[str, float] = {}
    known: dict[str, float] = {}
    for one in translators(shelf):
        if not target or base(one.target) == base(target):
            known[one.source], weights[one.source] = max(
                (known.get(one.source, 0.0), weights.get(one.source, 0.0)), _fit(one, text)
            )
    total = sum(weights.values()) or 1.0
    found = [Detected(code, round(100 * known[code] * weight / total, 1)) for code, weight in weights.items()]
    return sorted(found, key=lambda one: one.confidence, reverse=True)


def _fit(served: Served, text: str) -> tuple[float, float]:
    """The share of tokens that the model knows; and characters for each token, squared so that a difference shows."""
    start = text[:1000].strip()
    ids = served.model.folder.source.encode(start)
    if not ids:
        return 0.0, 0.0
    known = 1 - ids.count(UNK) / len(ids)
    return known, known * (len(start) / len(ids)) ** 2


def codes(shelf: Shelf) -> dict[str, list[str]]:
    """Every language that is read here → those that it can be turned into."""
    found: dict[str, list[str]] = {}
    for one in shelf.models.values():
        if one.source:
            found.setdefault(one.source, []).append(one.target)
    return found
