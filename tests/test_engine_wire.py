"""What the writer of ONNX models writes, the `onnx` package reads and finds valid."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from pairloom.engine import wire
from pairloom.engine.build import MODELS, build
from pairloom.engine.graph import Graph, Value
from pairloom.engine.protocol import Form
from test_engine import SIZE, engine_of
from test_models import build as build_model


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**63 - 1, -1, -(2**63)])
def test_numbers_of_any_size(value: int) -> None:
    message = onnx.TensorProto.FromString(wire.integer(1, value))
    assert list(message.dims) == [value]


@pytest.mark.parametrize(
    "value",
    [
        np.float32(1.5),
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.arange(6, dtype=np.int64).reshape(3, 2).T,
        np.array([-1, 127], np.int8),
        np.array([True, False]),
        np.zeros((0, 4), np.float16),
    ],
    ids=str,
)
def test_tensors(value: wire.Array) -> None:
    message = onnx.TensorProto.FromString(wire.tensor("x", np.asarray(value)))
    assert message.name == "x"
    found = onnx.numpy_helper.to_array(message)
    assert found.dtype == value.dtype
    assert found.shape == value.shape
    np.testing.assert_array_equal(found, value)


def test_nodes_and_their_attributes() -> None:
    given = {"axis": -1, "epsilon": 1e-5, "mode": "linear", "perm": [1, 0, 2], "none": []}
    message = onnx.NodeProto.FromString(wire.node("Odd", ["a", "", "b"], ["c", "d"], "com.example", given))
    assert (message.op_type, message.domain) == ("Odd", "com.example")
    assert (list(message.input), list(message.output)) == (["a", "", "b"], ["c", "d"])
    found = {one.name: onnx.helper.get_attribute_value(one) for one in message.attribute}
    assert found["axis"] == -1
    assert found["epsilon"] == np.float32(1e-5)
    assert found["mode"] == b"linear"
    assert list(found["perm"]) == [1, 0, 2]
    assert list(found["none"]) == []


def test_a_loop_runs() -> None:
    import onnxruntime

    graph = Graph({})
    most, start = graph.input("most", "int64", ()), graph.input("start", "float32", ("rows",))

    def body(g: Graph, step: Value, now: dict[str, Value]) -> tuple[Value, dict[str, Value], dict[str, Value]]:
        after = g.mul(now["x"], 2.0)
        on = g.op("Less", g.op("ReduceMax", after, keepdims=0), np.float32(100))
        return on, {"x": after}, {"seen": after, "steps": step}

    final, seen = graph.loop(most, {"x": start}, {}, body)
    graph.output("final", final["x"], "float32", ("rows",))
    graph.output("seen", seen["seen"], "float32", ("steps", "rows"))
    model = onnx.ModelProto.FromString(graph.model())
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(graph.model())
    x = np.array([1, 3], np.float32)
    last, each = session.run(["final", "seen"], {"most": np.array(3), "start": x})
    np.testing.assert_array_equal(last, x * 8)
    np.testing.assert_array_equal(each, [x * 2, x * 4, x * 8])
    last, _ = session.run(["final", "seen"], {"most": np.array(30), "start": x})
    np.testing.assert_array_equal(last, x * 64)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("width", [1, 3])
def test_whole_models_are_valid(kind: str, width: int) -> None:
    """In float32, which has standard operators only."""
    engine = engine_of(kind, build_model(kind, {}))
    graph = build(
        engine.arrays, MODELS[kind](engine.settings, engine.layout, Form(width, single=True)), engine.layout
    ).graph
    model = onnx.ModelProto.FromString(graph.model())
    assert {node.domain for node in model.graph.node} == {""}
    outside = [one for one in model.graph.initializer if one.data_location == onnx.TensorProto.EXTERNAL]
    assert {one.name for one in outside} == set(graph.used)
    assert {*graph.used, *graph.tables} == set(engine.arrays)
    for one in outside:  # the checker wants to see the data
        one.CopyFrom(onnx.numpy_helper.from_array(engine.arrays[one.name], one.name))
    onnx.checker.check_model(model, full_check=True)
    assert {"source", "lengths", "limits", "table"} <= {one.name for one in model.graph.input}
    assert engine.layout.size == SIZE
