"""What searches and updates promise, of every model, cell, attention and feeding: the properties of `test_models.py`
are of one call of `decode`, these of many."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from copying import CopyFeed
from pairloom.decoding.settings import DecodingSettings
from pairloom.learning.update import Feeding, add_gradients, pieces
from pairloom.models.protocol import Model
from searches import (
    BEAM,
    GREEDY,
    SAMPLING,
    assert_a_beam_of_one_is_greedy,
    assert_a_wide_beam_is_exhaustive,
    assert_interleaved_searches_are_separate,
    assert_interleaved_streams_are_separate,
    assert_scores_are_the_scorer_s,
)
from test_models import SETTINGS, build
from toy import toy_sources

pytestmark = pytest.mark.usefixtures("one_thread")

SOURCES = [source for source in toy_sources(8, size=20, longest=6) if source]
SHORT = {"max_length": 12}


@pytest.fixture(params=SETTINGS, ids=lambda s: f"{s[0]}-{s[1]}")
def asked(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    kind, settings = request.param
    return kind, settings


def made(asked: tuple[str, dict[str, Any]], size: int = 20, **changes: Any) -> Model:
    kind, settings = asked
    return build(kind, {**settings, **changes}, joint=settings.get("copy", False), size=size)


def test_a_beam_of_one_is_greedy(asked: tuple[str, dict[str, Any]]) -> None:
    assert_a_beam_of_one_is_greedy(made(asked), SOURCES)


def test_the_score_of_an_output_is_the_scorer_s(asked: tuple[str, dict[str, Any]]) -> None:
    """Of finished outputs and of those that the limit cut."""
    model, seen = made(asked), set[bool]()
    for settings in (GREEDY, BEAM, SAMPLING):
        for most in (2, 40):
            limited = settings.model_copy(update={"max_length": most, "length_offset": 40})
            seen |= assert_scores_are_the_scorer_s(model, SOURCES, limited)
    assert seen == {True, False}


@pytest.mark.parametrize(("alpha", "nbest"), [(0.0, 15), (3.0, 3)])
def test_a_wide_beam_finds_the_best_of_all(asked: tuple[str, dict[str, Any]], alpha: float, nbest: int) -> None:
    """All fifteen in their order; or, where the longer ones are preferred, the first three."""
    assert_a_wide_beam_is_exhaustive(made(asked, size=6), toy_sources(4, size=6, longest=5), alpha, nbest)


@pytest.mark.parametrize("settings", [GREEDY, SAMPLING], ids=["greedy", "sampling"])
def test_interleaved_streams_are_separate_streams(
    asked: tuple[str, dict[str, Any]], settings: DecodingSettings
) -> None:
    assert_interleaved_streams_are_separate(made(asked), SOURCES[:3], settings.model_copy(update=SHORT))


def test_interleaved_searches_are_separate_searches(asked: tuple[str, dict[str, Any]]) -> None:
    halves = SOURCES[::2], SOURCES[1::2]
    assert_interleaved_searches_are_separate(made(asked), halves, BEAM.model_copy(update=SHORT))


def gradients(model: Model, share: float, largest: int | None) -> dict[str, Tensor]:
    add_gradients(model, CopyFeed().batch(0, 0), Feeding(share, False, 0.1), largest, nullcontext)
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("share", [1.0, 0.0], ids=["teacher", "free"])
def test_pieces_of_a_batch_add_up_to_its_gradient(asked: tuple[str, dict[str, Any]], share: float) -> None:
    model = made(asked, dropout=0.0).train()
    assert len(list(pieces(CopyFeed().batch(0, 0), 12))) == 3
    whole = gradients(model, share, None)
    assert whole.keys() == {name for name, _ in model.named_parameters()}
    assert all(tensor.any() for tensor in whole.values())
    for largest in (5, 12):
        torch.testing.assert_close(gradients(model, share, largest), whole, atol=1e-6, rtol=1e-5)
