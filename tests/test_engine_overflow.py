"""Products in int8 are exact on every processor, also on those whose instruction for them overflows."""

from __future__ import annotations

import numpy as np
import pytest

from pairloom.decoding.loop import generate
from pairloom.decoding.settings import DecodingSettings
from pairloom.engine import overflow
from pairloom.engine.cells import fold_sequence, quantise_sequence, run_sequence
from pairloom.engine.graph import Graph, Value
from pairloom.engine.products import WIDE, Rows, add_blocks, product, quantise
from pairloom.engine.session import open_session
from pairloom.engine.wire import Array
from pairloom.models.protocol import Model
from test_engine import engine_of, pair, sources

__all__ = ["pair"]
pytestmark = pytest.mark.usefixtures("one_thread")


def answer(graph: Graph, value: Value, **inputs: Array) -> Array:
    """What a graph of some arrays gives."""
    graph.output("y", value, "float32")
    found: Array = open_session(graph).run(None, inputs)[0]
    return found


def largest(inner: int, outer: int) -> dict[str, Array]:
    """A product whose weights are all as large as they can be."""
    weight, scale = quantise(np.full((inner, outer), 0.02, np.float32))
    return {"a.quantised": weight, "a.scale": scale, "a.bias": np.ones(outer, np.float32)}


@pytest.mark.parametrize(("rows", "kind"), [(1, "one"), (1, "many"), (5, "few"), (33, "many")])
@pytest.mark.parametrize("outer", [16, WIDE])
def test_the_largest_products(rows: int, kind: Rows, outer: int) -> None:
    arrays = overflow.safe(largest(128, outer))
    if kind == "one":
        add_blocks(arrays, "a")
    graph = Graph(arrays)
    y = product(graph, graph.input("x", "float32", ("rows", "inputs")), "a", rows=kind)
    found = answer(graph, y, x=np.ones((rows, 128), np.float32))
    np.testing.assert_allclose(found, np.full((rows, outer), 1 + 0.02 * 128), rtol=0.01)


def test_the_largest_products_in_an_lstm() -> None:
    size = 32
    matrix, nought = np.full((4 * size, size), 0.02, np.float32), np.zeros(4 * size, np.float32)
    one = {"weight_ih": matrix, "weight_hh": matrix, "bias_ih": nought, "bias_hh": nought}
    plain = fold_sequence("lstm", [one])
    small = quantise_sequence(plain["into"], plain["again"])
    assert small is not None
    found = []
    for arrays in (plain, overflow.safe({"biases": plain["biases"], **small})):
        graph = Graph({f"layer.{name}": array for name, array in arrays.items()})
        x, lengths = graph.input("x", "float32", ("steps", "rows", "inputs")), graph.input("n", "int32", ("rows",))
        outputs, _ = run_sequence(graph, "lstm", "layer", x, lengths)
        found.append(answer(graph, outputs, x=np.ones((5, 3, size), np.float32), n=np.full(3, 5, np.int32)))
    np.testing.assert_allclose(found[1], found[0], rtol=0.02)


def test_shifted_weights_give_what_torch_gives(pair: tuple[str, Model], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on machines that do not need them; test_engine.py has what this one needs."""
    monkeypatch.setattr(overflow, "overflows", lambda: True)
    kind, model = pair
    asked, settings = sources(40), DecodingSettings(beam=1, max_length=4)
    plain = generate(model, asked, settings=settings)
    for batch in (64, 1):
        engine = engine_of(kind, model, "int8")
        assert {array.dtype.name for array in engine.arrays.values()} <= {"uint8", "float32", "float16"}
        found = engine.generate(asked, settings.model_copy(update={"batch": batch}))
        same = [(a[0].score, b[0].score) for a, b in zip(found, plain, strict=True) if a[0].tokens == b[0].tokens]
        assert len(same) > 0.6 * len(asked)
        assert np.abs([a - b for a, b in same]).mean() < 0.1
