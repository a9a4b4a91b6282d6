"""Properties of the decoding loop and of scoring, on a toy model: whatever the batch, the width and the chooser."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import nn

from pairloom.decoding.loop import generate, stream
from pairloom.decoding.scoring import score_targets
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.models.protocol import BOS, EOS, PAD, UNK
from searches import (
    BEAM,
    EVERY,
    EVERY_ID,
    GREEDY,
    SAMPLING,
    assert_a_beam_of_one_is_greedy,
    assert_a_wide_beam_is_exhaustive,
    assert_interleaved_streams_are_separate,
    assert_same,
    assert_scores_are_the_scorer_s,
)
from toy import ToyModel, toy_sources

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("settings", EVERY, ids=EVERY_ID)
def test_batch_and_company_change_no_output(settings: DecodingSettings) -> None:
    model, sources = ToyModel(), toy_sources(70)
    together = generate(model, sources, settings=settings)
    for batch in (1, 7):
        assert_same(generate(model, sources, settings=settings.model_copy(update={"batch": batch})), together)
    if not settings.sample:  # the random stream of a sentence belongs to its place
        order = random.Random(1).sample(range(70), 70)
        shuffled = generate(model, [sources[i] for i in order], settings=settings)
        assert_same(shuffled, [together[i] for i in order])
    else:
        assert_same(generate(model, sources[:9], settings=settings), together[:9])


@pytest.mark.parametrize("settings", EVERY, ids=EVERY_ID)
def test_score_of_an_output_is_that_of_the_scorer(settings: DecodingSettings) -> None:
    limited = settings.model_copy(update={"max_length": 9})
    assert assert_scores_are_the_scorer_s(ToyModel(), toy_sources(40), limited) == {True, False}


def test_beam_of_one_is_greedy() -> None:
    assert_a_beam_of_one_is_greedy(ToyModel(), toy_sources(50))


@pytest.mark.parametrize(
    ("alpha", "nbest", "bias"), [(0.0, 1, -1), (1.0, 1, -1), (1.0, 7, 0), (3.0, 1, 2), (3.0, 3, 2)]
)
def test_wide_beam_is_exhaustive_search(alpha: float, nbest: int, bias: float) -> None:
    assert_a_wide_beam_is_exhaustive(ToyModel(size=6, end_bias=bias), toy_sources(12, size=6), alpha, nbest)


def test_more_patience_finds_no_worse() -> None:
    model, sources = ToyModel(), toy_sources(40)
    few, many = (
        generate(model, sources, settings=DecodingSettings(beam=4, patience=patience, max_length=30))
        for patience in (0.25, 100.0)
    )
    differences = [b[0].normalised - a[0].normalised for a, b in zip(few, many, strict=True) if a[0].finished]
    assert min(differences) > -1e-4
    assert max(differences) > 0.01


@pytest.mark.parametrize("width", [2, 3, 5])
def test_what_has_more_than_half_of_the_probability_is_found(width: int) -> None:
    """No other output can have as much, and no other beginning: it must not be cut short by what hardly could be."""
    model, sources = ToyModel(end_bias=0.3), toy_sources(400)
    model.out.data *= 8.0  # sure of what comes next, as trained models are of letters
    model.bias.data[[PAD, UNK, BOS]] = -1e4
    greedy = generate(model, sources, settings=GREEDY.model_copy(update={"max_length": 40}))
    sure = [n for n, (one,) in enumerate(greedy) if one.finished and one.score > math.log(0.5) and len(one.tokens) > 5]
    assert len(sure) > 20
    settings = DecodingSettings(beam=width, length_penalty=0.0, max_length=40)
    found = generate(model, [sources[n] for n in sure], settings=settings)
    assert [one.tokens for (one,) in found] == [greedy[n][0].tokens for n in sure]


def test_impatience_does_not_cost_outputs() -> None:
    model, sources = ToyModel(end_bias=1.0), toy_sources(30)
    impatient = generate(model, sources, settings=BEAM.model_copy(update={"patience": 0.2}))
    assert [len(each) for each in impatient] == [5] * 30


def test_nbest_is_sorted_distinct_and_begins_with_the_best() -> None:
    model, sources = ToyModel(), toy_sources(40)
    one = generate(model, sources, settings=BEAM.model_copy(update={"nbest": 1}))
    for best_one, each in zip(one, generate(model, sources, settings=BEAM), strict=True):
        assert len(each) <= 5
        assert len({tuple(h.tokens) for h in each}) == len(each)
        assert each == sorted(each, key=lambda h: (h.finished, h.normalised), reverse=True)
        assert [best_one[0].finished] * len(best_one) == [h.finished for h in best_one]


@pytest.mark.parametrize("settings", EVERY, ids=EVERY_ID)
def test_as_many_outputs_as_inputs(settings: DecodingSettings) -> None:
    model = ToyModel()
    assert generate(model, [], settings=settings) == []
    for count in (1, 2, 65):
        outputs = generate(model, [[]] * count, settings=settings)
        assert len(outputs) == count
        assert all(outputs)


def test_a_model_that_computes_nan_still_gives_outputs() -> None:
    model = ToyModel()
    nn.init.constant_(model.out, math.nan)
    for settings in EVERY:
        assert all(generate(model, toy_sources(5), settings=settings))


@pytest.mark.parametrize("width", [1, 5])
def test_the_batch_is_refilled_and_cut(width: int) -> None:
    model, sources = ToyModel(end_bias=0.5), toy_sources(100)
    outputs = generate(model, sources, settings=DecodingSettings(beam=width, batch=16))
    encoded = [rows for name, rows, _ in model.calls if name == "encode"]
    decoded = [rows for name, rows, _ in model.calls if name == "decode"]
    columns = [columns for name, _, columns in model.calls if name == "decode"]
    assert encoded[0] == 16
    assert all(4 <= rows <= 16 for rows in encoded[1:-1])
    assert sum(encoded) == 100
    assert max(decoded) == 16 * width
    assert decoded[-1] < 16 * width
    assert any(rows < 16 for rows in encoded[:-1])
    assert columns == sorted(columns, reverse=True)
    assert columns[0] == 13
    assert columns[-1] < 5
    order = sorted(range(100), key=lambda i: -len(sources[i]))
    steps = [max(len(outputs[i][0].tokens) + 1 for i in order[begin : begin + 16]) for begin in range(0, 100, 16)]
    assert sum(decoded) < 0.8 * 16 * width * sum(steps)  # what batches need that do not refill


def test_never_padding_start_or_unknown() -> None:
    model = ToyModel()
    with torch.no_grad():
        model.bias[[PAD, UNK, BOS]] = 4.0
    for settings in EVERY:
        outputs = generate(model, toy_sources(30), settings=settings)
        used = {token for each in outputs for h in each for token in h.tokens}
        assert used
        assert not used & {PAD, UNK, BOS, EOS}


@pytest.mark.parametrize("settings", EVERY, ids=EVERY_ID)
def test_limit(settings: DecodingSettings) -> None:
    model, sources = ToyModel(end_bias=-50.0), toy_sources(20)
    lengths = settings.model_copy(update={"length_ratio": 1.5, "length_offset": 2, "max_length": 11})
    for source, each in zip(sources, generate(model, sources, settings=lengths), strict=True):
        for h in each:
            if settings.no_repeat_ngram == 0:
                assert not h.finished
            assert len(h.tokens) + h.finished <= min(11, math.ceil(1.5 * len(source)) + 2) == lengths.limit(len(source))
            assert h.finished or len(h.tokens) == lengths.limit(len(source))


@pytest.mark.parametrize("settings", EVERY, ids=EVERY_ID)
def test_prefix_is_forced_counted_and_not_part_of_the_limit(settings: DecodingSettings) -> None:
    model, sources = ToyModel(), toy_sources(20)
    prefixes = [[5, UNK, 5, 6, 5, 6][: i % 7] for i in range(20)]
    limited = settings.model_copy(update={"max_length": 4, "batch": 8})
    outputs = generate(model, sources, settings=limited, prefixes=prefixes)
    for source, prefix, each in zip(sources, prefixes, outputs, strict=True):
        for h in each:
            assert h.tokens[: len(prefix)] == prefix
            assert len(h.tokens) + h.finished <= len(prefix) + 4
            (score,) = score_targets(model, [source], [h.tokens])
            assert h.score == pytest.approx(sum(score.tokens[: len(h.tokens) + h.finished]), abs=1e-4)
    assert max(len(h.tokens) for each in outputs for h in each) > 6


def test_prefix_of_the_greedy_output_changes_nothing() -> None:
    model, sources = ToyModel(), toy_sources(30)
    free = generate(model, sources, settings=GREEDY)
    prefixes = [each[0].tokens[: i % 4] if each[0].finished else [] for i, each in enumerate(free)]
    assert_same(generate(model, sources, settings=GREEDY, prefixes=prefixes), free)


def test_wrong_prefixes() -> None:
    with pytest.raises(UsageError, match="2 sources but 1 prefixes: give one for each, empty where none is"):
        generate(ToyModel(), [[4], [5]], settings=GREEDY, prefixes=[[4]])
    with pytest.raises(UsageError, match=r"<pad>, <s> or </s> in the prefix of source 1, 2 \(counted from 0\)"):
        generate(ToyModel(), [[4], [5], [6]], settings=GREEDY, prefixes=[[4], [4, EOS], [BOS]])


@pytest.mark.parametrize("settings", [GREEDY, SAMPLING], ids=["greedy", "sampling"])
def test_interleaved_streams_are_separate_streams(settings: DecodingSettings) -> None:
    sources = [source for source in toy_sources(12) if source]
    found = assert_interleaved_streams_are_separate(ToyModel(), sources, settings)
    assert len({len(tokens) for tokens in found}) > 2


def test_stream_begins_with_the_prefix() -> None:
    model = ToyModel()
    (wanted,) = generate(model, [[4, 9, 6]], settings=GREEDY, prefixes=[[7, 7]])
    assert list(stream(model, [4, 9, 6], settings=GREEDY, prefix=[7, 7])) == wanted[0].tokens
    assert wanted[0].tokens[:2] == [7, 7]


def test_stream_refuses_a_beam_at_once() -> None:
    with pytest.raises(UsageError, match=r"beam=5, nbest=1: only one output can be streamed.*beam=1 or sample=true"):
        stream(ToyModel(), [4], settings=DecodingSettings())


def test_the_model_keeps_its_mode() -> None:
    model = ToyModel().train()
    still = nn.Linear(1, 1).eval()
    model.add_module("still", still)
    wanted = generate(ToyModel().eval(), [[4, 5]], settings=GREEDY)
    tokens = stream(model, [4, 5], settings=GREEDY)
    first = next(tokens)
    assert model.training  # between two tokens, too
    assert not still.training
    assert not torch.is_inference_mode_enabled()
    assert [first, *tokens] == wanted[0][0].tokens
    assert_same(generate(model, [[4, 5]], settings=GREEDY), wanted)
    score_targets(model, [[4]], [[5]])
    assert model.training
    assert model.dropout.training


def test_scores_come_in_the_order_of_the_input() -> None:
    model, sources, targets = ToyModel(), toy_sources(33), toy_sources(33, seed=5)
    together = score_targets(model, sources, targets, batch=10)
    for source, target, score in zip(sources, targets, together, strict=True):
        (alone,) = score_targets(model, [source], [target])
        assert score.tokens == pytest.approx(alone.tokens, abs=1e-4)
        assert len(score.tokens) == len(target) + 1
        assert score.score == pytest.approx(sum(score.tokens))
    assert score_targets(model, [], []) == []


def test_probabilities_of_all_continuations_sum_to_one() -> None:
    scores = score_targets(ToyModel(), [[4, 5]] * 14, [[7, t] for t in range(14)])
    assert sum(math.exp(score.tokens[1]) for score in scores) == pytest.approx(1, abs=1e-5)


def test_scoring_refuses() -> None:
    with pytest.raises(UsageError, match="2 sources but 1 targets: give one target for each source"):
        score_targets(ToyModel(), [[4], [5]], [[4]])
    with pytest.raises(UsageError, match="batch=0: it must be at least 1"):
        score_targets(ToyModel(), [[4]], [[4]], batch=0)
