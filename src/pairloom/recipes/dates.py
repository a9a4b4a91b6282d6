"""Pairs for the first quickstart: dates as people write them in 17 languages → ISO 8601.

    Freitag, 4. März 2005       →  2005-03-04
    2005년 3월 4일 (금)          →  2005-03-04

The patterns and names are those of the CLDR, from the `babel` package, with a few that the CLDR does not list but
people write (`March 4th, 2005`, `1er mars 2005`), with and without commas, as they are and in lower case.

No text has two right answers. Years always have four digits. All-number dates with the year in front are year, month,
day everywhere, and with dots day, month, year; but 03/04/2005 is the 4th of March to some and the 3rd of April to
others, so dates with slashes or hyphens and the year at the end are used only where one reading is a date: 25/12/2005,
5/5/2005.
"""

from __future__ import annotations

import datetime
import hashlib
import random
import re
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

from babel import Locale
from babel.dates import get_day_names, get_month_names, parse_pattern

from pairloom.errors import UsageError

# fmt: off
LANGUAGES = (
    "en_US", "en_GB", "de", "fr", "es", "it", "pt", "nl", "sv", "pl", "ru", "tr", "ko", "ja", "zh", "vi", "id", "fi",
)
# fmt: on
FIRST_DAY = datetime.date(1900, 1, 1)
LAST_DAY = datetime.date(2099, 12, 31)
MOST = 1_000_000  # pairs; Chinese and Japanese, with the fewest forms, give out first

# the CLDR's letters for month and weekday inside a phrase and standing alone; how many of them ask for which width
CONTEXTS: tuple[tuple[Literal["format", "stand-alone"], str, str], ...] = (
    ("format", "M", "E"),
    ("stand-alone", "L", "c"),
)
WIDTHS: tuple[tuple[Literal["abbreviated", "wide"], int], ...] = (("abbreviated", 3), ("wide", 4))
STYLES = ("full", "long", "medium", "short")
SKELETONS = ("yMd", "yMEd", "yMMMd", "yMMMEd", "yMMMMd", "yMMMMEd", "yMMMEEEEd", "yMMMMEEEEd")

# What people write beside the CLDR's patterns, in its letters (y year, M month, d day, E weekday), and two more:
# %(th)s = 4th; %(first)s = the day, where the first of a month is written as an ordinal
EXTRA: dict[str, tuple[str, ...]] = {
    "en_US": ("%(MMMM)s %(th)s, %(y)s", "%(MMM)s %(th)s, %(y)s", "%(EEEE)s, %(MMMM)s %(th)s, %(y)s"),
    "en_GB": ("%(th)s %(MMMM)s %(y)s", "%(th)s of %(MMMM)s %(y)s", "%(EEEE)s, %(th)s %(MMMM)s %(y)s"),
    "fr": ("%(first)s %(MMMM)s %(y)s", "%(EEEE)s %(first)s %(MMMM)s %(y)s", "le %(first)s %(MMMM)s %(y)s"),
    "it": ("%(first)s %(MMMM)s %(y)s",),
    "pt": ("%(first)s de %(MMMM)s de %(y)s",),
    "ko": ("%(y)s년 %(M)s월 %(d)s일(%(E)s)", "%(y)s년%(M)s월%(d)s일", "%(y)s.%(M)s.%(d)s", "%(y)s.%(MM)s.%(dd)s."),
    "ja": ("%(y)s年%(MM)s月%(dd)s日", "%(y)s.%(M)s.%(d)s"),
    "zh": ("%(y)s年%(MM)s月%(dd)s日", "%(y)s.%(M)s.%(d)s"),
}
FIRST_OF_MONTH = {"fr": "1er", "it": "1º", "pt": "1º"}

BY_NUMBERS = re.compile(r"%\(d+\)s[/-]%\(M{1,2}\)s[/-]%\(y\)s|%\(M{1,2}\)s[/-]%\(d+\)s[/-]%\(y\)s")

DatePair = tuple[str, str]  # source, target


class DateSplit(NamedTuple):
    """Pairs in three parts that share no date."""

    train: list[DatePair]
    dev: list[DatePair]
    test: list[DatePair]


class Form(NamedTuple):
    """One way of writing a date."""

    template: str  # for %, with the CLDR's letters as keys
    doubtful: bool  # day and month could change places


class Calendar(NamedTuple):
    """How one language writes dates."""

    forms: tuple[Form, ...]
    months: dict[str, dict[int, str]]  # field → 1..12 → name
    weekdays: dict[str, dict[int, str]]  # field → 0 (Monday)..6 → name
    first: str | None  # how the first of a month is written


@cache
def calendar(language: str) -> Calendar:
    """The CLDR's forms and names for a locale of LANGUAGES, and those of EXTRA."""
    locale = Locale.parse(language)
    patterns = [str(locale.date_formats[style]) for style in STYLES]
    patterns += [str(locale.datetime_skeletons[key]) for key in SKELETONS if key in locale.datetime_skeletons]
    # some short patterns have two digits of the year; with four they are as common, and have one answer
    templates = [str(parse_pattern(re.sub("y+", "y", pattern)).format) for pattern in patterns]
    # the CLDR's narrow and non-breaking blanks are not on keyboards
    templates = [re.sub(r"\s", " ", template) for template in templates] + list(EXTRA.get(language, ()))
    forms = tuple(Form(template, bool(BY_NUMBERS.search(template))) for template in dict.fromkeys(templates))
    months: dict[str, dict[int, str]] = {}
    weekdays: dict[str, dict[int, str]] = {}
    for context, month, weekday in CONTEXTS:
        for width, count in WIDTHS:
            months[month * count] = dict(get_month_names(width, context, locale))
            weekdays[weekday * count] = dict(get_day_names(width, context, locale))
        weekdays[weekday] = weekdays[weekday * 3]
    return Calendar(forms, months, weekdays, FIRST_OF_MONTH.get(language))


def ordinal(day: int) -> str:
    """1st, 2nd, 3rd, 4th, … 11th."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{day}{'th' if day in (11, 12, 13) else endings.get(day % 10, 'th')}"


def fields(language: str, date: datetime.date) -> dict[str, str]:
    """The value of every field that a template can ask for."""
    own = calendar(language)
    values = {
        "y": str(date.year),
        "M": str(date.month),
        "MM": f"{date.month:02}",
        "d": str(date.day),
        "dd": f"{date.day:02}",
        "th": ordinal(date.day),
        "first": own.first if own.first and date.day == 1 else str(date.day),
    }
    values.update((field, names[date.month]) for field, names in own.months.items())
    values.update((field, names[date.weekday()]) for field, names in own.weekdays.items())
    return values


def forms(language: str, date: datetime.date) -> list[str]:
    """Every way in which the language writes this date and no other, without repeats."""
    own = calendar(language)
    values = fields(language, date)
    clear = date.day > 12 or date.day == date.month
    texts = [form.template % values for form in own.forms if clear or not form.doubtful]
    texts += [text.replace(",", "") for text in texts]
    texts += [text.lower() for text in texts]
    return list(dict.fromkeys(texts))


def date_pairs(count: int, seed: int = 0) -> list[DatePair]:
    """`count` pairs (a date as people write it, YYYY-MM-DD), all sources distinct, from 1900 to 2099.

    Each of LANGUAGES has its equal share; the order is mixed. The same seed gives the same pairs.
    UsageError: count below 1 or above a million.
    """
    if not 1 <= count <= MOST:
        raise UsageError(f"count is {count:,}: choose from 1 to {MOST:,} date pairs")
    dice = random.Random(seed)
    days = (LAST_DAY - FIRST_DAY).days + 1
    pairs: dict[str, str] = {}
    for number in range(count):
        language = LANGUAGES[number % len(LANGUAGES)]
        while len(pairs) == number:  # a repeat adds nothing: draw again
            date = FIRST_DAY + datetime.timedelta(days=dice.randrange(days))
            pairs[dice.choice(forms(language, date))] = date.isoformat()
    mixed = list(pairs.items())
    dice.shuffle(mixed)
    return mixed


def split(pairs: Sequence[DatePair], dev: float = 0.05, test: float = 0.05) -> DateSplit:
    """Part the pairs by date, so that no date of one part is in another, in whatever language it is written.

    `dev` and `test` are shares of all dates. The part of a date depends on nothing but the date.
    """
    parts = DateSplit([], [], [])
    for pair in pairs:
        place = int.from_bytes(hashlib.blake2b(pair[1].encode(), digest_size=8).digest()) / 2**64
        part = parts.test if place < test else parts.dev if place < test + dev else parts.train
        part.append(pair)
    return parts
