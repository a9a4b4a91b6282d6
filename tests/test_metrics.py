"""Scores against sacrebleu and against counts made by hand; intervals; the tables; the texts of errors."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import time
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from pairloom.errors import UsageError
from pairloom.metrics import METRICS, by_length, default_metrics, score, worst

WORDS = ["the", "a", "man", "woman", "dog", "runs", "sits", "in", "on", "under", "street", "house", "big", ",", "."]


def made_up(lines: int, seed: int = 0, spoiled: float = 0.2) -> tuple[list[str], list[list[str]]]:
    """Hypotheses, and one reference each of which they are a spoiled copy."""
    dice = random.Random(seed)
    references = [dice.choices(WORDS, k=dice.randint(4, 14)) for _ in range(lines)]
    hypotheses = [[dice.choice(WORDS) if dice.random() < spoiled else w for w in line] for line in references]
    return [" ".join(line) for line in hypotheses], [[" ".join(line)] for line in references]


def value(metric: str, hypotheses: list[str], references: list[list[str]]) -> float:
    return score(hypotheses, references, [metric], resamples=1)[0].value


@pytest.mark.parametrize(("name", "peer"), [("bleu", BLEU()), ("chrf", CHRF()), ("ter", TER())])
def test_corpus_score_and_signature_are_sacrebleus(name: str, peer: BLEU | CHRF | TER) -> None:
    hypotheses, references = made_up(40)
    [ours] = score(hypotheses, references, [name])
    theirs = peer.corpus_score(hypotheses, [[answers[0] for answers in references]])
    assert ours.value == theirs.score
    assert ours.signature == str(peer.get_signature())
    assert 0 < ours.value < 100


@pytest.mark.parametrize(("name", "peer"), [("bleu", BLEU()), ("chrf", CHRF()), ("ter", TER())])
def test_several_references_reach_sacrebleu_as_streams(name: str, peer: BLEU | CHRF | TER) -> None:
    hypotheses, references = made_up(40)
    for i in range(0, 40, 2):
        references[i] = [*references[i], hypotheses[i] + " indeed", "in the house"]
    [ours] = score(hypotheses, references, [name])
    streams: Any = [[answers[i] if i < len(answers) else None for answers in references] for i in range(3)]
    assert ours.value == peer.corpus_score(hypotheses, streams).score
    assert ours.signature == str(peer.get_signature())
    assert "nrefs:var" in ours.signature


@pytest.mark.parametrize(("name", "peer"), [("bleu", BLEU()), ("chrf", CHRF()), ("ter", TER())])
def test_interval_agrees_with_sacrebleus_own_bootstrap(name: str, peer: BLEU | CHRF | TER) -> None:
    hypotheses, references = made_up(200)
    [ours] = score(hypotheses, references, [name])
    theirs = peer.corpus_score(hypotheses, [[answers[0] for answers in references]], n_bootstrap=1000)
    half_width = float(theirs._ci)
    assert (ours.high - ours.low) / 2 == pytest.approx(half_width, rel=0.15)
    assert (ours.high + ours.low) / 2 == pytest.approx(float(theirs._mean), abs=0.3 * half_width)


@pytest.mark.parametrize(
    ("metric", "hypotheses", "references", "expected"),
    [
        # one line of two wrong
        ("wer", ["K AE T", "D AO G"], [["K AE T"], ["D AA G"]], 50.0),
        # the second pronunciation is right as well
        ("wer", ["K AE T", "D AO G"], [["K AE T"], ["D AA G", "D AO G"]], 0.0),
        ("exact", ["K AE T", "D AO G"], [["K AE T"], ["D AA G", "D AO G"]], 100.0),
        # white space is no mistake, and neither is the normal form
        ("wer", [" K  AE T "], [["K AE T"]], 0.0),
        ("wer", [unicodedata.normalize("NFD", "한글 é")], [["한글 é"]], 0.0),
        # case is one
        ("exact", ["k AE T"], [["K AE T"]], 0.0),
        # one substitution in the first, one deletion in the second, seven symbols
        ("per", ["K AE D", "D AO G"], [["K AE T"], ["D AO G Z"]], 100 * 2 / 7),
        # insertions may pass 100
        ("per", ["a b c"], [["d"]], 300.0),
        # words of running text: the error rate of speech recognition
        ("per", ["the cat sat"], [["the cat sat down"]], 25.0),
        # 1 edit of 5 is better than 1 edit of 3
        ("per", ["a b c d"], [["a b c", "a b c d e"]], 20.0),
        # a syllable is one character: one of five differs (the blank counts)
        ("cer", ["한국 사람"], [["한국 사랑"]], 20.0),
        ("cer", ["kitten"], [["sitting"]], 100 * 3 / 7),
        ("cer", ["abd", ""], [["abc", "abd"], ["xyz"]], 50.0),
        ("cer", ["", "x"], [[""], [""]], 100.0),
        ("cer", [""], [[""]], 0.0),
        # three of four words, two of three bigrams, and a subsequence of three
        ("rouge1", ["The cat sat."], [["the cat sat down"]], 100 * 2 * 3 / 7),
        ("rouge2", ["The cat sat."], [["the cat sat down"]], 100 * 2 * 2 / 5),
        ("rougeL", ["the cat sat"], [["the sat cat down"]], 100 * 2 * 2 / 7),
        # Lin 2004, section 3.1: the example sentences S1 (police killed the gunman), S2, S3
        ("rougeL", ["police kill the gunman"], [["police killed the gunman"]], 75.0),
        ("rougeL", ["the gunman kill police"], [["police killed the gunman"]], 50.0),
        # repeated words count no more often than the reference has them: 2 of 7, 2 of 3
        ("rouge1", ["the the the the the the the"], [["the cat the"]], 100 * 2 * 2 / 10),
        # Hangul and Devanagari signs are words, not punctuation
        ("rouge1", ["나는 학교에 간다."], [["나는 집에 간다!"]], 100 * 2 / 3),
        ("rouge1", ["हिन्दी, भाषा"], [["हिन्दी लिपि"]], 50.0),
        ("rouge2", ["yes"], [["yes"]], 100.0),
        ("rouge2", ["yes"], [["no"]], 0.0),
        # the best of several references, and the mean over lines
        ("rouge1", ["a b", "c d"], [["a x", "a b"], ["c y"]], 75.0),
        ("rougeL", ["a b", "c d"], [["x y", "b a"], ["e f"]], 25.0),
        ("rougeL", ["..."], [["a"]], 0.0),
    ],
)
def test_counted_by_hand(metric: str, hypotheses: list[str], references: list[list[str]], expected: float) -> None:
    assert value(metric, hypotheses, references) == pytest.approx(expected)


def test_own_signatures_tell_what_was_counted() -> None:
    [wer, per] = score(["a"], [["a", "b"]], ["wer", "per"])
    assert wer.signature == "nrefs:2|case:mixed|unit:line|norm:NFC|version:pairloom-1"
    assert per.signature == "nrefs:2|case:mixed|unit:symbol|norm:NFC|version:pairloom-1"


def test_groups_and_repeats_expand_in_the_order_asked() -> None:
    names = [found.metric for found in score(["a"], [["a"]], ["cer", "rouge", "rouge2", "cer"])]
    assert names == ["cer", "rouge1", "rouge2", "rougeL"]


@pytest.mark.parametrize("metric", METRICS)
def test_intervals_hold_the_value_and_shrink_with_more_lines(metric: str) -> None:
    few, many = (score(*made_up(lines, seed=1, spoiled=0.1), [metric])[0] for lines in (30, 480))
    for found in (few, many):
        assert found.low < found.value < found.high
    # sixteen times the lines: a quarter of the width
    assert (many.high - many.low) < 0.5 * (few.high - few.low)


def test_interval_of_a_share_is_that_of_the_binomial() -> None:
    references = [["x"] for _ in range(400)]
    [found] = score(["x"] * 300 + ["y"] * 100, references, ["exact"])
    half_width = 100 * 1.96 * (0.75 * 0.25 / 400) ** 0.5
    assert found.value == 75.0
    assert found.low == pytest.approx(75 - half_width, abs=0.6)
    assert found.high == pytest.approx(75 + half_width, abs=0.6)


def test_same_seed_same_interval_whatever_else_is_asked() -> None:
    hypotheses, references = made_up(60)
    alone = score(hypotheses, references, ["ter"], seed=3)[0]
    assert alone == score(hypotheses, references, ["bleu", "ter", "rouge"], seed=3)[1]
    other = score(hypotheses, references, ["ter"], seed=4)[0]
    assert (other.low, other.high) != (alone.low, alone.high)
    assert other.value == alone.value


def test_draws_in_pieces_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    hypotheses, references = made_up(50)
    at_once = score(hypotheses, references, ["bleu"])
    monkeypatch.setattr("pairloom.metrics.scores.CELLS", 7 * 50)
    assert score(hypotheses, references, ["bleu"]) == at_once


def test_a_score_prints_and_goes_into_json() -> None:
    [found] = score(["a b c d e"] * 3, [["a b c d e"]] * 3, ["bleu"], seed=5, resamples=10)
    assert str(found) == "BLEU 100.0 [100.0, 100.0]"
    read = json.loads(json.dumps(found.as_json()))
    assert read["metric"] == "bleu"
    assert read["value"] == pytest.approx(100)
    assert (read["sentences"], read["resamples"], read["seed"], read["higher_is_better"]) == (3, 10, 5, True)


def test_direction_is_said() -> None:
    down = {name for name, metric in METRICS.items() if not metric.higher_is_better}
    assert down == {"ter", "wer", "per", "cer"}


def test_default_metrics_fit_the_unit_of_the_target() -> None:
    assert default_metrics("space") == ("wer", "per", "exact")
    assert default_metrics("jamo") == default_metrics("character") == ("wer", "cer", "exact")
    assert {default_metrics(unit) for unit in ("word", "bpe", "unigram", "byte")} == {("bleu", "chrf")}


def test_worst_lines_come_first_and_right_lines_never() -> None:
    hypotheses = ["house", "hxxse", "haus", "tree ", "zzz"]
    references = [["house"], ["house"], ["house", "haus"], ["tree"], ["mouse"]]
    sources = ["Haus", "Haus", "Haus", "Baum", "Maus"]
    found = worst(hypotheses, references, sources, metric="wer")
    assert [(example.line, example.measure, example.value) for example in found] == [
        (5, "cer", 100.0),
        (2, "cer", 40.0),
    ]
    assert found[0]._asdict() == {
        "line": 5,
        "source": "Maus",
        "hypothesis": "zzz",
        "references": ("mouse",),
        "measure": "cer",
        "value": 100.0,
    }


def test_worst_stops_at_count_and_ties_keep_the_order_of_the_lines() -> None:
    hypotheses, references = made_up(50, spoiled=0.5)
    found = worst(hypotheses, references, hypotheses, count=7, metric="bleu")
    assert len(found) == 7
    assert {example.measure for example in found} == {"chrf"}
    peer = CHRF()
    best_left = min(
        peer.sentence_score(hypotheses[i], references[i]).score
        for i in range(50)
        if i + 1 not in {example.line for example in found}
    )
    values = [example.value for example in found]
    assert values == sorted(values)
    assert values[-1] <= best_left
    assert [example.line for example in worst(["x"] * 4, [["y"]] * 4, ["s"] * 4, count=3)] == [1, 2, 3]


def test_by_length_parts_the_lines_into_five_of_about_the_same_count() -> None:
    dice = random.Random(0)
    sources = [" ".join("w" * dice.randint(2, 40)) for _ in range(500)]
    hypotheses = ["right" if len(source.split()) <= 20 else "wrong" for source in sources]
    rows = by_length(sources, hypotheses, [["right"]] * 500, "exact")
    assert len(rows) == 5
    assert sum(row.lines for row in rows) == 500
    assert all(70 <= row.lines <= 130 for row in rows)
    assert all(before.longest < after.shortest for before, after in itertools.pairwise(rows))
    assert (rows[0].shortest, rows[-1].longest, rows[0].unit) == (2, 40, "words")
    assert (rows[0].score.value, rows[-1].score.value) == (100.0, 0.0)
    for row in rows:
        chosen = [i for i, source in enumerate(sources) if row.shortest <= len(source.split()) <= row.longest]
        assert row.lines == row.score.sentences == len(chosen)
        assert row.score.value == value("exact", [hypotheses[i] for i in chosen], [["right"]] * len(chosen))
    assert json.loads(json.dumps(rows[0].as_json()))["score"]["metric"] == "exact"


def test_by_length_counts_characters_where_sources_are_single_words() -> None:
    sources = ["a" * n for n in range(1, 11)]
    rows = by_length(sources, ["x"] * 10, [["x"]] * 10, "wer")
    assert [(row.shortest, row.longest) for row in rows] == [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)]
    assert {row.unit for row in rows} == {"characters"}
    assert [row.unit for row in by_length(sources, ["x"] * 10, [["x"]] * 10, "wer", unit="words")] == ["words"]


def test_one_length_is_one_row() -> None:
    [row] = by_length(["a b"] * 9, ["x"] * 9, [["x"]] * 9, "exact")
    assert (row.shortest, row.longest, row.lines) == (2, 2, 9)


def test_unknown_metrics_are_all_named_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        score(["a"], [["a"]], ["blue", "bleu", "meteor"])
    assert str(caught.value) == (
        "unknown metrics 'blue', 'meteor'; known are bleu, chrf, ter, rouge1, rouge2, rougeL, wer, per, cer, exact "
        "(rouge = rouge1 rouge2 rougeL)"
    )
    with pytest.raises(UsageError, match=r"^unknown metric 'blue'; known are"):
        worst(["a"], [["a"]], ["a"], metric="blue")
    with pytest.raises(UsageError, match="'rouge' stands for several metrics; choose one of rouge1, rouge2, rougeL"):
        by_length(["a"], ["a"], [["a"]], "rouge")


def test_errors_name_both_counts_and_the_line() -> None:
    with pytest.raises(UsageError, match=r"^1,200 hypotheses but 1,199 lines of references: each hypothesis needs"):
        score(["a"] * 1200, [["a"]] * 1199, ["cer"])
    with pytest.raises(UsageError, match=r"^nothing to score: there are no lines$"):
        score([], [], ["bleu"])
    with pytest.raises(UsageError, match="line 2 has no reference"):
        score(["a", "b"], [["a"], []], ["bleu"])
    with pytest.raises(
        UsageError, match=r"line 1: references are a list of right answers, e\.g\. \['abc'\], not one text"
    ):
        score(["abc"], ["abc"], ["cer"])
    with pytest.raises(UsageError, match="one entry a line, not one text"):
        score("abc", [["a"], ["b"], ["c"]], ["cer"])
    with pytest.raises(UsageError, match="resamples is 0"):
        score(["a"], [["a"]], ["cer"], resamples=0)
    with pytest.raises(UsageError, match="3 sources but 2 hypotheses"):
        worst(["a", "b"], [["a"], ["b"]], ["x", "y", "z"])
    with pytest.raises(UsageError, match="1 sources but 2 hypotheses"):
        by_length(["x"], ["a", "b"], [["a"], ["b"]], "cer")


def test_import_is_light() -> None:
    code = (
        "import sys, pairloom.metrics; sys.exit(sorted({'sacrebleu', 'torch', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_thousand_lines_of_bleu_with_interval_are_quick() -> None:
    hypotheses, references = made_up(1000)
    begin = time.process_time()
    score(hypotheses, references, ["bleu"])
    assert time.process_time() - begin < 2


lines_of_text = st.lists(st.text(max_size=20), min_size=1, max_size=8)


@given(lines_of_text)
@settings(deadline=None, max_examples=40)
def test_identical_lines_have_no_errors(lines: list[str]) -> None:
    references = [[line] for line in lines]
    found = {each.metric: each for each in score(lines, references, list(METRICS), resamples=5)}
    for name in ("wer", "per", "cer", "ter"):
        assert (found[name].low, found[name].value, found[name].high) == (0, 0, 0)
    for name in ("exact", "rouge1", "rouge2", "rougeL"):
        assert found[name].value == 100
    assert worst(lines, references, lines) == []


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=9).map(" ".join), min_size=1, max_size=8))
@settings(deadline=None, max_examples=40)
def test_identical_lines_of_four_words_have_all_of_bleu_and_chrf(lines: list[str]) -> None:
    for found in score(lines, [[line] for line in lines], ["bleu", "chrf"], resamples=5):
        assert found.value == pytest.approx(100)
        assert found.low == pytest.approx(100)


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), min_size=1, max_size=8))
@settings(deadline=None, max_examples=60)
def test_bounds_and_more_references_never_hurt(lines: list[tuple[str, str]]) -> None:
    hypotheses = [line[0] for line in lines]
    one = [[line[1]] for line in lines]
    more = [[line[1], line[0] + " x"] for line in lines]
    for name, metric in METRICS.items():
        found = score(hypotheses, one, [name], resamples=20)[0]
        assert found.low <= found.value <= found.high
        assert found.value >= 0
        assert not metric.higher_is_better or found.value <= 100 + 1e-9
    for name in ("wer", "exact", "rouge1", "rouge2", "rougeL"):
        gain = value(name, hypotheses, more) - value(name, hypotheses, one)
        assert gain * (1 if METRICS[name].higher_is_better else -1) >= -1e-9
    assert value("wer", hypotheses, one) == pytest.approx(100 - value("exact", hypotheses, one))
