"""The search laid open and the decoding replayed are those of `generate` and `explain`."""

from __future__ import annotations

from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pairloom
from conftest import TINY
from pairloom.decoding.loop import generate
from pairloom.decoding.settings import DecodingSettings
from pairloom.decoding.trace import Trace, trace_beam
from pairloom.errors import UsageError
from toy import ToyModel, toy_sources

SOURCES = toy_sources(12, seed=4)


@pytest.mark.parametrize("beam", [1, 2, 5])
@pytest.mark.parametrize("end_bias", [0.0, 2.0, -50.0])  # at -50 nothing ends before the limit
def test_trace_ends_with_the_outputs_of_generate(beam: int, end_bias: float) -> None:
    model = ToyModel(end_bias=end_bias).double()  # so that the size of a batch does not show in the sums
    settings = DecodingSettings(beam=beam, nbest=beam, length_offset=4)
    for source, outputs in zip(SOURCES, generate(model, SOURCES, settings=settings), strict=True):
        trace = trace_beam(model, source, settings)
        found = trace.endings[: len(outputs)]
        assert [list(ending.tokens) for ending in found] == [output.tokens for output in outputs]
        assert [ending.finished for ending in found] == [output.finished for output in outputs]
        assert [ending.score for ending in found] == pytest.approx([output.score for output in outputs], abs=1e-4)
        assert [e.normalised for e in found] == pytest.approx([output.normalised for output in outputs], abs=1e-4)
        check_tree(trace)
    assert (trace.reason == "limit") == (end_bias == -50.0)


def check_tree(trace: Trace) -> None:
    """Every alternative continues one that was alive, at most K of a step go on, and scores only fall."""
    for number, step in enumerate(trace.steps):
        assert sum(one.fate == "alive" for one in step) <= trace.width
        assert len(step) <= 2 * trace.width
        assert [one.score for one in step] == sorted((one.score for one in step), reverse=True)
        for one in step:
            assert (one.parent is None) == (number == 0)
            if one.parent is not None:
                parent = trace.steps[number - 1][one.parent]
                assert parent.fate == "alive"
                assert one.score <= parent.score
    for ending in trace.endings:
        last = trace.steps[len(ending.path) - 1][ending.path[-1]]
        assert last.score == ending.score
        assert last.fate == ("finished" if ending.finished else "alive")
        for number in range(1, len(ending.path)):
            assert trace.steps[number][ending.path[number]].parent == ending.path[number - 1]


def test_winner_is_the_same_however_many_are_asked_for() -> None:
    model = ToyModel(end_bias=1.0)
    for source in SOURCES:
        one, all_ = (trace_beam(model, source, DecodingSettings(beam=4, nbest=count)) for count in (1, 4))
        assert one.endings[0].tokens == all_.endings[0].tokens
        if one.reason == "out of reach":
            assert one.bound is not None
            assert one.bound <= one.endings[0].normalised


def test_sampling_has_no_beam_to_trace() -> None:
    with pytest.raises(UsageError, match="there is no beam to trace"):
        trace_beam(ToyModel(), [5, 6], DecodingSettings(sample=True))


def test_replay_is_what_generate_and_explain_say(tiny_model_dir: Path) -> None:
    model = pairloom.load(tiny_model_dir, engine="torch")  # its arithmetic is that of a replay
    found = model.replay("abcde", beam=3)
    output = next(model.outputs(["abcde"], beam=3))
    seen = model.explain("abcde", beam=3)
    assert found.free.text == output.text
    assert found.free.score == pytest.approx(output.candidates[0].score, abs=1e-3)
    assert found.free.attention == pytest.approx(seen.attention, abs=1e-6)
    assert found.forced is None
    assert found.trace is not None
    assert len(found.trace.endings) >= 3  # all of the beam, not only what was asked for

    steps = found.free
    contexts = found.contexts(steps)
    assert contexts is not None
    assert found.states.annotations is not None
    assert found.states.annotations.shape == (6, 32)  # five letters and `</s>`, both directions of 16
    np.testing.assert_allclose(contexts, seen.attention @ found.states.annotations, rtol=1e-5)
    assert found.states.context.shape == model.encode(["abcde"])[0].shape

    places, shares = found.states.places()
    assert places.shape == (6, 2)
    assert 0 < shares.sum() <= 1 + 1e-9
    units = found.states.units(8)
    spread = found.states.annotations.std(axis=0)
    assert units == sorted(units)
    assert min(spread[units]) >= np.sort(spread)[-8]


def test_under_teacher_forcing_the_given_target_is_read(tiny_model_dir: Path) -> None:
    model = pairloom.load(tiny_model_dir)
    found = model.replay("abc", "hgfa")
    assert found.forced is not None
    assert found.forced.tokens == ["h", "g", "f", "a", "</s>"]
    assert found.forced.score == pytest.approx(model.score([("abc", "hgfa")])[0], abs=1e-4)
    for token, score, rank, top in zip(
        found.forced.tokens, found.forced.scores, found.forced.ranks, found.forced.alternatives, strict=True
    ):
        assert len(top) == 10
        probabilities = [probability for _, probability in top]
        assert probabilities == sorted(probabilities, reverse=True)
        if rank < 10:
            assert top[rank][0] == token
            assert probabilities[rank] == pytest.approx(exp(score), rel=1e-4)
        else:
            assert exp(score) <= probabilities[-1]


def test_sampling_is_replayed_without_a_beam(tiny_model_dir: Path) -> None:
    model = pairloom.load(tiny_model_dir)
    found = model.replay("abcd", sample=True, seed=3)
    assert found.trace is None
    assert found.free.text == model.generate(["abcd"], sample=True, seed=3)[0]


def test_nothing_is_replayed_of_a_blank_text(tiny_model_dir: Path) -> None:
    with pytest.raises(UsageError, match="nothing to replay"):
        pairloom.load(tiny_model_dir).replay(" ")


SIZES: dict[str, dict[str, Any]] = {
    "rnn": {"hidden": 16, "embedding": 16, "layers": 1},
    "transformer": {"size": 16, "feed_forward": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 2},
    "hybrid": {"size": 16, "feed_forward": 16, "heads": 2, "encoder_layers": 1, "hidden": 16},
}


@pytest.mark.parametrize("kind", list(SIZES))
def test_every_kind_of_model_can_be_replayed(kind: str, tiny_pairs: Path, tmp_path: Path) -> None:
    settings = {**TINY, "steps": 4, "model": SIZES[kind]}
    model = pairloom.train(tiny_pairs, out=tmp_path / kind, kind=kind, **settings)
    found = model.replay("abc", "cba", beam=2)
    assert found.forced is not None
    if kind == "rnn":
        assert found.states.annotations is None
        assert found.free.attention is None
        assert found.contexts(found.forced) is None
        assert found.states.units(8) == list(range(8))
    else:
        assert found.states.annotations is not None
        assert found.states.annotations.shape == (4, 16)
        assert found.forced.attention is not None
        assert found.forced.attention.shape == (4, 4)
        assert found.forced.heads is not None
        assert found.forced.heads.shape[1:] == (2, 4, 4)
