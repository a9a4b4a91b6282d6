"""What the choosers choose, and the settings that ask for them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from pairloom.decoding.beam import BLOCK, Beam, best
from pairloom.decoding.choosers import Greedy, Sampling
from pairloom.decoding.hypotheses import length_penalty
from pairloom.decoding.loop import generate
from pairloom.decoding.scoring import score_targets
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.models.protocol import BOS, EOS, PAD, UNK
from searches import BEAM, EVERY, GREEDY, SAMPLING, assert_same
from toy import ToyModel, toy_sources

pytestmark = pytest.mark.usefixtures("one_thread")


def test_no_ngram_twice() -> None:
    model, sources = ToyModel(end_bias=-2.0), toy_sources(30)
    for size, settings in itertools.product((1, 2, 3), (GREEDY, BEAM, SAMPLING)):
        guarded = settings.model_copy(update={"no_repeat_ngram": size})
        prefixes = [[4, 5][: i % 3] for i in range(30)]
        for each in generate(model, sources, settings=guarded, prefixes=prefixes):
            for h in each:
                grams = [tuple(h.tokens[i : i + size]) for i in range(len(h.tokens) - size + 1)]
                assert len(set(grams)) == len(grams)


def test_sampling_follows_the_model() -> None:
    model, source = ToyModel(), [4, 9, 6]
    once = DecodingSettings(sample=True, max_length=1, batch=1000)
    drawn = [each[0].tokens for each in generate(model, [source] * 4000, settings=once)]
    allowed = [t for t in range(14) if t not in (PAD, UNK, BOS)]
    scores = score_targets(model, [source] * 14, [[t] for t in range(14)])
    probs = torch.tensor([math.exp(scores[t].tokens[0]) for t in allowed])
    probs /= probs.sum()
    for token, prob in zip(allowed, probs.tolist(), strict=True):
        count = sum(tokens == ([] if token == EOS else [token]) for tokens in drawn)
        assert abs(count / 4000 - prob) < 4 * math.sqrt(prob * (1 - prob) / 4000) + 1e-3


def test_sampling_with_a_seed() -> None:
    model, sources = ToyModel(), toy_sources(30)
    several = DecodingSettings(sample=True, nbest=3, seed=1)
    outputs = generate(model, sources, settings=several)
    assert outputs == generate(model, sources, settings=several)
    assert outputs != generate(model, sources, settings=several.model_copy(update={"seed": 2}))
    assert all(len(each) == 3 for each in outputs)
    assert sum(len({tuple(h.tokens) for h in each}) > 1 for each in outputs) > 20
    one = generate(model, sources, settings=several.model_copy(update={"nbest": 1}))
    assert all(first[0].tokens in [h.tokens for h in each] for first, each in zip(one, outputs, strict=True))


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-3}, {"temperature": 1e-40}])
def test_narrow_sampling_is_greedy(narrow: dict[str, float]) -> None:
    model, sources = ToyModel(), toy_sources(30)
    settings = DecodingSettings.model_validate({"sample": True, **narrow})
    assert_same(generate(model, sources, settings=settings), generate(model, sources, settings=GREEDY))


def test_top_k_and_top_p() -> None:
    log_probs = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.97, 0.01, 0.01, 0.01]]).log()

    def kept(sampling: Sampling) -> list[list[float]]:
        probs: list[list[float]] = sampling.distribution(log_probs).tolist()
        return [[round(p, 4) for p in row] for row in probs]

    assert kept(Sampling(top_k=2))[0] == [0.0, 0.5714, 0.4286, 0.0]
    assert [[p > 0 for p in row] for row in kept(Sampling(top_p=0.65))] == [
        [False, True, True, False],
        [True, False, False, False],
    ]
    assert [p > 0 for p in kept(Sampling(top_p=0.75))[0]] == [False, True, True, True]
    assert kept(Sampling(temperature=0.5))[0] == [0.0333, 0.5333, 0.3, 0.1333]
    assert kept(Sampling(top_k=99)) == [[0.1, 0.4, 0.3, 0.2], [0.97, 0.01, 0.01, 0.01]]


def brute_force(scores: Tensor, log_probs: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    size = log_probs.shape[1]
    values, places = (scores[:, :, None] + log_probs.view(*scores.shape, size)).flatten(1).topk(count)
    return values, places // size, places % size


@pytest.mark.parametrize("size", [6, 8 * BLOCK - 1, 8 * BLOCK, 8 * BLOCK + 1, 9 * BLOCK - 1, 2500])
@pytest.mark.parametrize("width", [1, 5])
def test_best_is_topk(size: int, width: int) -> None:
    random_ = torch.Generator().manual_seed(size)
    log_probs = torch.randn(4 * width, size, generator=random_)
    log_probs[::2, -1] += 9  # the last token, in a block that may be shorter
    log_probs = log_probs.log_softmax(1)
    log_probs[:, :3] = -torch.inf
    scores = torch.randn(4, width, generator=random_)
    scores[1:2, 1:] = -torch.inf
    for found, wanted in zip(best(scores, log_probs, 3), brute_force(scores, log_probs, 3), strict=True):
        assert torch.equal(found, wanted)
    values, rows, tokens = best(scores, log_probs, 2 * width)
    assert torch.equal(values, brute_force(scores, log_probs, 2 * width)[0])
    assert int(rows.max()) < width
    assert int(tokens.max()) < size


def test_length_penalty_is_that_of_wu() -> None:
    assert length_penalty(1, 0.6) == 1
    assert length_penalty(7, 1.0) == 2
    assert length_penalty(20, 0.6) == pytest.approx(25**0.6 / 6**0.6)
    assert length_penalty(20, 0.0) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"nbest": 6},
            "nbest=6 is more than beam=5: a beam has no more outputs than hypotheses. Set beam=6 or nbest=5.",
        ),
        ({"sample": True, "beam": 4}, "sample=true and beam=4: a beam searches, sampling draws. Choose one."),
        (
            {"temperature": 0.5, "top_k": 3},
            "temperature=0.5, top_k=3 without sample=true: only sampling uses it. Add sample=true or leave it out.",
        ),
        ({"beam": 2, "nbest": 3, "top_p": 0.5}, "nbest=3 is more than beam=2"),
        ({"beam": 2, "nbest": 3, "top_p": 0.5}, "top_p=0.5 without sample=true"),
    ],
)
def test_contradictions(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        DecodingSettings.model_validate(given)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "given", [{"beam": 0}, {"temperature": 0.0}, {"top_p": 0.0}, {"length_offset": 0}, {"beams": 3}, {"seed": -1}]
)
def test_values_out_of_bounds(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        DecodingSettings.model_validate(given)
    assert caught.value.errors()[0]["loc"] == (next(iter(given)),)


def test_settings_survive_json_and_describe_every_field() -> None:
    for settings in EVERY:
        assert DecodingSettings.model_validate_json(settings.model_dump_json()) == settings
    assert all(field.description for field in DecodingSettings.model_fields.values())
    assert DecodingSettings(sample=True).beam == 1
    assert len(DecodingSettings.model_fields) < 15


def test_choosers_hold_only_settings() -> None:
    assert Greedy() == Greedy()
    assert hash(Beam(3)) == hash(Beam(3))
    assert Sampling(seed=1) != Sampling(seed=2)
