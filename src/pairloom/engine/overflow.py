"""Processors on which a product in int8 overflows, and what is done about it.

ONNX Runtime multiplies uint8 (the inputs) by int8 (the weights). AVX2 and AVX-512 have an instruction that adds two
such products in 16 bits, and what does not fit is cut off: 2 x 255 x 127 is twice too large. (With VNNI they are added
in 32 bits.) There the weights are shifted into uint8, whose products go another way, a little slower, and are exact; so
a folder gives the same texts on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import onnxruntime

from pairloom.engine.graph import Graph
from pairloom.engine.products import product, unsigned
from pairloom.engine.wire import Array

_INPUTS = 64


@cache
def overflows() -> bool:
    """Whether it does here: 64 times the largest product there is, asked of ONNX Runtime itself (a millisecond)."""
    weight = np.full((_INPUTS, 16), 127, np.int8)
    arrays: dict[str, Array] = {
        "a.quantised": weight,
        "a.scale": np.ones(16, np.float32),
        "a.bias": np.zeros(16, np.float32),
    }
    y = _multiplied(arrays, np.ones((1, _INPUTS), np.float32))
    return bool(np.abs(y - 127 * _INPUTS).max() > _INPUTS)


def safe(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of a model in int8 as this machine multiplies them exactly."""
    if not overflows():
        return dict(arrays)
    return {name: unsigned(array) if array.dtype == np.int8 else array for name, array in arrays.items()}


def _multiplied(arrays: Mapping[str, Array], x: Array) -> Array:
    graph = Graph(arrays)
    given = graph.input("x", "float32", ("rows", "inputs"))
    graph.output("y", product(graph, given, "a"), "float32")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(arrays[name]) for name in graph.used]
    options.add_external_initializers(list(graph.used), values)
    session = onnxruntime.InferenceSession(graph.model(), options, providers=["CPUExecutionProvider"])
    y: Array = session.run(None, {"x": x})[0]
    return y
