"""The engine gives what torch gives: every kind of model, every search, whatever the batch."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from pairloom.decoding.loop import generate
from pairloom.decoding.settings import DecodingSettings
from pairloom.engine.build import FOLDS
from pairloom.engine.core import Engine
from pairloom.engine.graph import Graph
from pairloom.engine.layout import Layout
from pairloom.engine.products import WIDE, Precision, Rows, product, quantise
from pairloom.engine.quantising import quantised
from pairloom.engine.session import open_session
from pairloom.engine.shapes import SHAPES, differences, expected
from pairloom.engine.wire import Array
from pairloom.models.protocol import Model
from pairloom.models.settings import ModelSettings
from searches import assert_same
from test_models import SETTINGS, build

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 20
READY = [row for row in SETTINGS if row[0] in FOLDS]
SEARCHES = [
    DecodingSettings(beam=1),
    DecodingSettings(beam=1, max_length=3, length_penalty=0.5),
    DecodingSettings(beam=3, length_penalty=0.6),
    DecodingSettings(beam=5, nbest=5),
    DecodingSettings(beam=5, nbest=2, patience=3.0, max_length=6),
    DecodingSettings(beam=4, patience=0.2, length_penalty=0.0),
]


def sources(count: int, seed: int = 5) -> list[list[int]]:
    """Random sources of zero to nine tokens."""
    dice = random.Random(seed)
    return [[dice.randrange(4, SIZE) for _ in range(dice.randint(0, 9))] for _ in range(count)]


def engine_of(kind: str, model: Model, precision: Precision = "float32", threads: int = 1) -> Engine:
    """The engine of a model of torch."""
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    settings: Any = model.settings
    return Engine.of_weights(kind, settings, SIZE, weights, precision=precision, threads=threads)


@pytest.fixture(params=READY, ids=lambda row: f"{row[0]}-{row[1]}")
def pair(request: pytest.FixtureRequest) -> tuple[str, Model]:
    kind, settings = request.param
    return kind, build(kind, settings, joint=settings.get("copy", False))


def test_in_float32_it_is_torch_in_tokens_and_scores(pair: tuple[str, Model]) -> None:
    kind, model = pair
    engine, asked = engine_of(kind, model), sources(13)
    for settings in SEARCHES:
        assert_same(engine.generate(asked, settings), generate(model, asked, settings=settings))


def test_batch_and_company_change_no_output(pair: tuple[str, Model]) -> None:
    kind, model = pair
    asked = sources(9)
    for settings in (SEARCHES[0], SEARCHES[3]):
        together = engine_of(kind, model, threads=2).generate(asked, settings)
        for batch in (1, 4):
            other = settings.model_copy(update={"batch": batch})
            assert_same(engine_of(kind, model).generate(asked, other), together)


def test_in_int8_it_is_close(pair: tuple[str, Model]) -> None:
    """Of the hypotheses that both find, the scores; and most texts of greedy search."""
    kind, model = pair
    asked = sources(40)
    for batch in (64, 1):
        settings = DecodingSettings(beam=1, max_length=4, batch=batch)
        plain = generate(model, asked, settings=settings)
        found = engine_of(kind, model, "int8").generate(asked, settings)
        same = [(a[0].score, b[0].score) for a, b in zip(found, plain, strict=True) if a[0].tokens == b[0].tokens]
        assert len(same) > 0.6 * len(asked)
        differences = np.array([a - b for a, b in same])
        assert np.abs(differences).mean() < 0.1


def test_the_shapes_of_the_arrays_follow_from_the_settings(pair: tuple[str, Model]) -> None:
    kind, model = pair
    settings: ModelSettings = model.settings  # type: ignore[assignment]
    weights: dict[str, Array] = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    shapes = SHAPES[kind](settings, SIZE, Layout(SIZE))
    arrays = FOLDS[kind](weights, settings, Layout(SIZE))
    assert differences(arrays, expected(shapes, "float32")) == []
    assert differences(quantised(arrays), expected(shapes, "int8")) == []
    assert differences({"table": arrays["table"]}, expected(shapes, "int8")) != []


def of_size(size: int) -> tuple[Model, Engine, list[list[int]]]:
    """A small attention model with that many words, from torch's random state; its engine, and nine sources."""
    import torch

    from pairloom.models.attention import AttentionModel, AttentionSettings

    settings = AttentionSettings(embedding=8, encoder_hidden=8, hidden=16)
    model = AttentionModel(settings, size, size).eval()
    for parameter in model.parameters():
        parameter.data += 0.4 * torch.randn_like(parameter)
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    dice = random.Random(size)
    asked = [[dice.randrange(4, size) for _ in range(dice.randint(1, 6))] for _ in range(9)]
    return model, Engine.of_weights("attention", settings, size, weights), asked


def test_a_large_vocabulary_goes_through_blocks() -> None:
    """The same search where the best are found through the maxima of blocks, and the last block is not full."""
    import torch

    torch.manual_seed(3)
    for size in (1030, 1100, 2052):
        model, engine, asked = of_size(size)
        for search in (SEARCHES[0], SEARCHES[2], DecodingSettings(beam=9, nbest=3), DecodingSettings(beam=20, nbest=2)):
            wanted = generate(model, asked, settings=search)
            for batch in (64, 1):
                assert_same(engine.generate(asked, search.model_copy(update={"batch": batch})), wanted)


def test_one_scale_for_a_few_rows_is_a_scale_for_each_channel() -> None:
    """Products of a few rows are scaled afterwards; the numbers are those of many rows."""
    weights = np.random.default_rng(1).normal(size=(32, WIDE)).astype(np.float32)
    weights *= np.linspace(0.1, 3, WIDE, dtype=np.float32)  # channels of very different sizes
    arrays: dict[str, Array] = {"a.bias": np.linspace(-1, 1, WIDE, dtype=np.float32)}
    arrays["a.quantised"], arrays["a.scale"] = quantise(weights)
    arrays["a.bias"][-1] = -np.inf  # what fills up a block
    graph = Graph(arrays)
    x = graph.input("x", "float32", ("rows", "inputs"))
    kinds: tuple[Rows, ...] = ("few", "many")
    for rows in kinds:
        graph.output(rows, product(graph, x, "a", rows=rows), "float32")
    session = open_session(graph)
    few, many = session.run(["few", "many"], {"x": weights[:, :5].T @ weights[:, :32]})
    np.testing.assert_allclose(few, many, rtol=1e-4, atol=1e-3)
    assert (few[:, -1] == -np.inf).all()


def test_a_model_that_computes_nan_still_gives_outputs() -> None:
    model = build("attention", {})
    model.output_bias.data[:] = np.nan  # type: ignore[operator]
    engine = engine_of("attention", model)
    for settings in SEARCHES:
        for outputs in engine.generate(sources(5), settings):
            assert outputs
            assert all(0 < token < SIZE for one in outputs for token in one.tokens)


@pytest.mark.parametrize("size", [4, 5, 30, 1023, 1024, 1025, 1092, 8000])
def test_the_order_of_a_vocabulary_holds_every_token_once(size: int) -> None:
    layout = Layout(size)
    assert sorted(layout.ids[layout.ids >= 0].tolist()) == list(range(size))
    assert layout.ids[layout.positions].tolist() == list(range(size))
    assert layout.ids[layout.end] == 3
    assert set(layout.ids[layout.never :].tolist()) <= {-1, 0, 1, 2}
    assert layout.length % layout.block == layout.end % layout.block == 0


@pytest.mark.parametrize(
    ("settings", "prefixes", "said"),
    [
        (DecodingSettings(sample=True), None, "sampling"),
        (DecodingSettings(no_repeat_ngram=3), None, "no_repeat_ngram"),
        (DecodingSettings(), [[], [5]], "prefix"),
        (DecodingSettings(), [[], []], None),
        (DecodingSettings(beam=1), None, None),
    ],
)
def test_it_says_what_it_does_not_do(
    settings: DecodingSettings, prefixes: list[list[int]] | None, said: str | None
) -> None:
    reason = engine_of("attention", build("attention", {})).supports(settings, prefixes)
    assert (reason is None) == (said is None)
    assert said is None or said in str(reason)
