"""Each finding of `pairloom check` with its message, a clean file without any, and shifts found where they begin."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pairloom.errors import DataError
from pairloom.text.findings import Finding, characters, excerpt
from pairloom.text.pairs import PairsSettings, open_pairs
from pairloom.text.report import Report, check, estimate_minutes

SYLLABLES = ["ka", "to", "mi", "ren", "sul", "pa", "dor", "vi", "nes", "lum", "ga", "fe"]
Lines = list[tuple[str, str]]
Check = Callable[..., Report]


def clean(count: int, seed: int = 0) -> Lines:
    """Distinct sentences with a made-up translation: as many words, of about the same length."""
    chance = random.Random(seed)
    pairs: dict[str, str] = {}
    while len(pairs) < count:
        words = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) for _ in range(chance.randint(3, 12))]
        if chance.random() < 0.3:
            words.append(str(chance.randint(1, 3000)))
        mark = chance.choice([".", ".", ".", "?", "!"])
        pairs[" ".join(words) + mark] = " ".join(word[::-1] if word.isalpha() else word for word in words) + mark
    return list(pairs.items())


@pytest.fixture
def report_on(tmp_path: Path) -> Check:
    def write(name: str, lines: Iterable[tuple[str, str] | str]) -> str:
        rows = [line if isinstance(line, str) else "\t".join(line) for line in lines]
        path = tmp_path / name
        path.write_text("".join(row + "\n" for row in rows), encoding="utf-8", newline="")
        return str(path)

    def run(
        lines: Iterable[tuple[str, str] | str],
        dev: Iterable[tuple[str, str] | str] | None = None,
        settings: PairsSettings | None = None,
        speed: float | None = None,
    ) -> Report:
        development = None if dev is None else open_pairs([write("dev.tsv", dev)], settings)
        return check(open_pairs([write("train.tsv", lines)], settings), development, speed)

    return run


def only(report: Report, kind: str) -> Finding:
    """The finding of this kind, which must be the only finding at all."""
    assert [finding.kind for finding in report.findings] == [kind]
    return report.findings[0]


def named(report: Report, kind: str) -> Finding:
    return next(finding for finding in report.findings if finding.kind == kind)


def tail(finding: Finding) -> list[str]:
    """The examples without the folder."""
    return [example[example.index("train.tsv") :] for example in finding.examples]


@pytest.mark.parametrize("count", [1, 60, 400, 3000])
def test_a_clean_file_has_no_finding(report_on: Check, count: int) -> None:
    lines = clean(count)
    report = report_on(lines, dev=clean(20, seed=1) if count > 1 else None)
    assert report.findings == []
    assert (report.pairs, report.skipped, report.distinct_sources) == (count, 0, count)
    assert report.dev_pairs == (20 if count > 1 else None)
    assert report.lines()[-1] == "nothing found that is wrong"


def test_the_numbers_of_both_sides(report_on: Check) -> None:
    report = report_on([("ab c", "x"), ("ab", "xyz äöü")])
    assert report.source.characters == 6
    assert report.source.words == 3
    assert report.source.distinct_characters == 4
    assert (report.source.mean, report.source.median, report.source.longest) == (3.0, 3.0, 4)
    assert (report.target.characters, report.target.words, report.target.longest) == (8, 3, 7)
    assert report.target.p95 == pytest.approx(6.7)


def test_malformed_lines_by_reason(report_on: Check) -> None:
    report = report_on([*clean(60), "one column", "\tx", "two\t", "", "another"])
    assert [(finding.kind, finding.count, finding.message) for finding in report.findings] == [
        ("malformed", 2, "2 lines cannot be used and are skipped: no tab"),
        ("empty-side", 1, "1 line cannot be used and is skipped: the source is empty"),
        ("empty-side", 1, "1 line cannot be used and is skipped: the target is empty"),
        ("malformed", 1, "1 line cannot be used and is skipped: blank line"),
    ]
    assert tail(report.findings[0]) == ["train.tsv:61: no tab", "train.tsv:65: no tab"]
    assert {finding.severity for finding in report.findings} == {"warning"}
    assert report.skipped == 5


def test_mostly_malformed_is_an_error(report_on: Check) -> None:
    assert only(report_on(["a\tb", "c", "d"]), "malformed").severity == "error"


def test_no_pair_is_a_data_error(report_on: Check) -> None:
    with pytest.raises(DataError, match="2 lines, none with a tab"):
        report_on(["a", "b"])


def test_duplicates(report_on: Check) -> None:
    lines = clean(60)
    finding = only(report_on([*lines, lines[4], lines[7], lines[4]]), "duplicate-pairs")
    assert (finding.count, finding.severity) == (3, "warning")
    assert finding.message == "3 pairs (4.8%) repeat an earlier one exactly"
    assert [example[-12:].strip(" ()") for example in finding.examples] == ["as line 5", "as line 8", "as line 61"]
    assert tail(finding)[0].startswith(f"train.tsv:61: {lines[4][0][:20]}")


def test_a_source_with_several_targets(report_on: Check) -> None:
    lines = clean(60)
    source, target = lines[9]
    finding = only(report_on([*lines, (source, "sa" + target), (source, "mu" + target)]), "several-targets")
    assert finding.message == "1 source has several different targets"
    assert len(finding.examples) == 2
    assert all("(other target in line " in example for example in finding.examples)


@pytest.mark.parametrize(("equal", "severity"), [(1, "note"), (30, "warning")])
def test_equal_sides(report_on: Check, equal: int, severity: str) -> None:
    lines = clean(200)
    lines[:equal] = [(source, source) for source, _ in lines[:equal]]
    finding = only(report_on(lines), "equal-sides")
    assert (finding.count, finding.severity) == (equal, severity)
    assert finding.message.endswith("the same text on both sides")
    assert len(finding.examples) == min(equal, 5)


def test_outliers_in_length(report_on: Check) -> None:
    lines = clean(400)
    lines[100] = (" ".join(["katomi"] * 700), " ".join(["imotak"] * 700))
    report = report_on(lines)
    assert [(finding.kind, finding.message) for finding in report.findings] == [
        ("long-source", "1 source far longer than the rest (4,899 characters and more)"),
        ("long-target", "1 target far longer than the rest (4,899 characters and more)"),
    ]
    assert tail(report.findings[0])[0].endswith("(4,899 → 4,899 characters)")


def test_outliers_in_ratio(report_on: Check) -> None:
    lines = clean(400)
    lines[10] = (lines[10][0], "ot")
    lines[20] = ("mi", " ".join(["imotak"] * 12))
    finding = only(report_on(lines), "length-ratio")
    assert finding.message.startswith("2 pairs in which one side is far longer than the other")
    assert tail(finding)[0] == f"train.tsv:21: mi → {lines[20][1][:45]} (2 → 83 characters)"


@pytest.mark.parametrize(("count", "begin"), [(300, 120), (3000, 1700), (3000, 0), (3000, 2500)])
@pytest.mark.parametrize("offset", [1, -1, 3])
def test_a_shift_is_found_where_it_begins(report_on: Check, count: int, begin: int, offset: int) -> None:
    sources, targets = (list(side) for side in zip(*clean(count + 10), strict=True))
    if offset > 0:
        del sources[begin : begin + offset]  # source n now belongs to target n + offset
    else:
        del targets[begin : begin - offset]
    finding = named(report_on(zip(sources[:count], targets[:count], strict=True)), "misaligned")
    assert finding.severity == "error"
    lines = "1 line" if abs(offset) == 1 else "3 lines"
    where = f"{lines} {'later' if offset > 0 else 'earlier'}"
    assert finding.message.endswith(f"on, sources fit the targets {where} better than their own")
    found = int(finding.message.partition("line ")[2].split()[0].replace(",", ""))
    assert abs(found - (begin + 1)) <= 5
    assert ("missing in the source" in finding.advice) == (offset > 0)
    assert tail(finding)[0].startswith(f"train.tsv:{found}: ")


def test_sides_that_were_shuffled(report_on: Check) -> None:
    lines = clean(2000)
    targets = [target for _, target in lines]
    random.Random(1).shuffle(targets)
    finding = named(report_on(zip((source for source, _ in lines), targets, strict=True)), "unrelated-sides")
    assert finding.message.startswith("the sides of a pair seem to have no more to do with each other")
    assert not any(other.kind == "misaligned" for other in report_on(clean(2000)).findings)


def test_sorted_and_constant_sides_are_not_misaligned(report_on: Check) -> None:
    by_length = sorted(clean(3000), key=lambda pair: len(pair[0]))
    assert report_on(by_length).findings == []
    dates = [(f"day {n % 28 + 1} of month {n % 12 + 1} in {1000 + n}", f"{1000 + n}-{n % 12 + 1:02}-{n % 28 + 1:02}")
             for n in range(3000)]  # fmt: skip
    random.Random(0).shuffle(dates)
    assert report_on(dates).findings == []


@pytest.mark.parametrize(
    ("kind", "bad", "message"),
    [
        ("replacement-character", "ka\ufffdto", "1 pair with a replacement character, the trace of a wrong decoding:"),
        ("control-characters", "ka\x07to", "1 pair with control characters .*: <U[+]0007>$"),
        ("invisible-characters", "ka\u200bto", "1 pair with characters that cannot be seen .*: <U[+]200B>$"),
        ("private-characters", "ka\ue000to", "1 pair with characters that no script has .*: <U[+]E000>$"),
        ("mojibake", "fÃ¼r", "1 pair with what looks like UTF-8 read as Latin-1"),
        ("mojibake", "itâ€™s", "1 pair with what looks like UTF-8"),
        ("mojibake", "Ð¿Ñ€Ð¸", "1 pair with what looks like UTF-8"),
        ("mojibake", "í•œê¸€", "1 pair with what looks like UTF-8"),
        ("mixed-scripts", "kаto", "1 pair with Latin and Cyrillic letters within one word"),
        ("stray-spaces", "ka  to", "1 pair with spaces at the beginning or end, or several in a row"),
        ("stray-spaces", "kato ", "1 pair with spaces"),
    ],
)
@pytest.mark.parametrize("side", [0, 1])
def test_suspicious_characters(report_on: Check, kind: str, bad: str, message: str, side: int) -> None:
    lines = clean(60)
    pair = list(lines[30])
    pair[side] = f"{pair[side]} mi {bad}"
    lines[30] = (pair[0], pair[1])
    finding = only(report_on(lines), kind)
    assert finding.count == 1
    assert re.search(message, finding.message)
    assert tail(finding)[0].startswith("train.tsv:31: ")
    assert tail(finding)[0].isprintable()


@pytest.mark.parametrize(
    "good",
    [
        "« voilà\u00a0» CAFÉ»",
        "NÃO! IRMÃ",
        "Δx μm",
        "Я и мама",
        "한국어",
        "می\u200cخواهم",
        "ÄÖÜ „Größe“ – œuvre",
        "naïve",
    ],
)
def test_good_text_of_many_scripts_is_not_suspicious(report_on: Check, good: str) -> None:
    assert report_on([("kato", good), (good, "otak")]).findings == []


def test_rare_characters(report_on: Check) -> None:
    lines = clean(2000)
    lines[700] = (lines[700][0].replace(".", "") + " ǂ ǁ.", lines[700][1])
    finding = only(report_on(lines), "rare-source-characters")
    assert finding.message == "2 characters on the source side occur only once: ǁ ǂ"
    assert (finding.count, finding.severity, len(finding.examples)) == (2, "note", 1)


def test_mixed_normal_forms(report_on: Check) -> None:
    lines = clean(60)
    lines[3] = ("u\u0308ber " + lines[3][0], lines[3][1])
    finding = only(report_on(lines), "mixed-normal-forms")
    assert finding.message == "1 pair not in normal form NFC: was converted on reading"
    assert tail(finding)[0].startswith("train.tsv:4: über ")
    kept = only(report_on(lines, settings=PairsSettings(normal_form="none")), "mixed-normal-forms")
    assert kept.message == "1 pair not in normal form NFC: stays as it is (normal form: none)"
    assert len(kept.examples) == 1


def test_leaks_and_unknown_characters_of_the_development_set(report_on: Check) -> None:
    lines = clean(300)
    report = report_on(lines, dev=[*clean(50, seed=1), (lines[8][0], "kato"), ("kañi", "imoß")])
    assert [(finding.kind, finding.message) for finding in report.findings] == [
        ("leak", "1 development pair (1.9%) with a source that is also in training"),
        ("unknown-source-characters", "1 character on the source side of the development set not seen in training: ñ"),
        ("unknown-target-characters", "1 character on the target side of the development set not seen in training: ß"),
    ]
    assert report.findings[0].severity == "error"
    assert "dev.tsv:51: " + lines[8][0][:40] in report.findings[0].examples[0]


def test_the_report_as_text_and_as_json(report_on: Check) -> None:
    lines = clean(60)
    report = report_on([*lines, lines[0], "bad"], speed=1000.0)
    data = json.loads(json.dumps(report.as_dict()))
    assert data["schema"] == 1
    assert (data["pairs"], data["skipped"], data["source"]["longest"]) == (61, 1, report.source.longest)
    assert {finding["kind"] for finding in data["findings"]} == {"malformed", "duplicate-pairs"}
    assert data["estimate"]["epochs"] == 60
    text = report.lines()
    assert text[0].endswith("train.tsv: 61 pairs, 1 line skipped, 60 distinct sources")
    assert any(line.startswith("  training here: about ") for line in text)
    assert "warning: 1 line cannot be used and is skipped: no tab" in text
    assert report.lines() == report_on([*lines, lines[0], "bad"], speed=1000.0).lines()


def test_the_estimate_counts_words_or_characters(report_on: Check) -> None:
    words = report_on([("a", "ten words of text that are written here for it")] * 100)
    estimate = estimate_minutes(words, 100.0)
    assert (estimate.tokens, estimate.epochs) == (1400, 60)
    assert estimate.minutes_per_epoch == pytest.approx(1400 / 100 / 60)
    assert estimate.minutes == pytest.approx(14.0)
    assert estimate_minutes(report_on([("a", "한국어문장")] * 100), 100.0).tokens == 600


def test_examples_are_safe_to_print() -> None:
    assert excerpt("a\x1b[31m\u202eb") == "a<U+001B>[31m<U+202E>b"
    assert len(excerpt("x" * 500)) == 100
    assert characters(range(97, 112)) == "a b c d e f g h i j k l and 3 more"
