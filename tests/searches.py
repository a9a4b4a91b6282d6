"""What the tests of decoding share: every way of choosing, and when two outputs are the same."""

from __future__ import annotations

import itertools

import pytest

from pairloom.decoding.hypotheses import Hypothesis
from pairloom.decoding.settings import DecodingSettings

GREEDY = DecodingSettings(beam=1)
BEAM = DecodingSettings(beam=5, nbest=5)
SAMPLING = DecodingSettings(sample=True, seed=7)
EVERY = [
    GREEDY,
    BEAM,
    DecodingSettings(beam=3, patience=2.0, length_penalty=0.0, no_repeat_ngram=2),
    SAMPLING,
    DecodingSettings(sample=True, nbest=3, temperature=0.7, top_k=6, top_p=0.9, no_repeat_ngram=3),
]
EVERY_ID = ["greedy", "beam", "beam-others", "sampling", "sampling-others"]


def assert_same(found: list[list[Hypothesis]], wanted: list[list[Hypothesis]]) -> None:
    """The same tokens; scores up to rounding, which the company in a batch may change."""
    assert [[h.tokens for h in each] for each in found] == [[h.tokens for h in each] for each in wanted]
    for one, other in zip(itertools.chain(*found), itertools.chain(*wanted), strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.normalised == pytest.approx(other.normalised, abs=1e-4)
        assert one.finished == other.finished
