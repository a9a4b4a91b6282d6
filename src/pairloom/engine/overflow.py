"""Processors on which a product in int8 overflows, and what is done about it.

ONNX Runtime multiplies uint8 (the inputs) by int8 (the weights). AVX2 and AVX-512 have an instruction that adds two
such products in 16 bits, and what does not fit is cut off: 2 x 255 x 127 is twice too large. (With VNNI they are added
in 32 bits.) There the weights are shifted into uint8, whose products go another way, a little slower, and are as exact
as on other machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from pairloom.engine.graph import Graph
from pairloom.engine.products import product, unsigned
from pairloom.engine.session import open_session
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
    graph = Graph(arrays)
    graph.output("y", product(graph, graph.input("x", "float32", ("rows", "inputs")), "a"), "float32")
    (y,) = open_session(graph, quickly=True).run(None, {"x": np.ones((1, _INPUTS), np.float32)})
    return bool(np.abs(y - 127 * _INPUTS).max() > _INPUTS)


def safe(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of a model in int8 as this machine multiplies them exactly."""
    if not overflows():
        return dict(arrays)
    return {name: unsigned(array) if array.dtype == np.int8 else array for name, array in arrays.items()}
