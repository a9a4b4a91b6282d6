"""Products with weights, x W + b, in the three precisions of the engine.

float32    MatMul
int8       DynamicQuantizeMatMul: a scale for each output channel of W; x gets one scale when its turn comes
blocks     MatMulNBits with 8 bits: x and W have a scale for each block of 128 (or fewer) input channels. Fast for one
           row only, so it serves one sentence at a time. Its W is that of int8, laid out anew when a graph is built

`DynamicQuantizeMatMul` spends 2.6 ns on each output channel before it begins, whatever the number of rows, if each has
a scale of its own. Of a few rows that is a fourth of its time: they are given the scale 1, and scaled afterwards.

Tables of which single rows are looked up lie as 16-bit floats in int8.

The arrays of a product called "a": `a.weight` [K, M] and `a.bias` [M] in float32; `a.quantised` [K, M] int8, `a.scale`
[M] and `a.bias` in int8. Where the processor needs it (`overflow.py`), `a.quantised` is uint8, with 128 for zero.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Literal

import numpy as np

from pairloom.engine.graph import MICROSOFT, Graph, Value
from pairloom.engine.wire import Array

Precision = Literal["float32", "int8"]
Rows = Literal["one", "few", "many"]
"""How many rows x has, as far as it is known when the graph is built."""
FEW = 10
"""Rows, at most, for which scaling what comes out is faster than a scale for each channel inside."""
WIDE = 512
"""Output channels from which on it is."""

BLOCKS = (128, 64, 32, 16)


def quantise(weight: Array) -> tuple[Array, Array]:
    """[K, M] float32 → int8 [K, M] and the scale [M] of each output channel, symmetrical."""
    scale = np.abs(weight).max(0) / 127
    scale[scale == 0] = 1
    return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)


def unsigned(weight: Array) -> Array:
    """A quantised array as uint8: -128..127 as 0..255."""
    return weight if weight.dtype == np.uint8 else weight.view(np.uint8) ^ np.uint8(0x80)


def zero(weight: Array) -> np.generic | str:
    """The zero point of a quantised array: 128 of uint8; none ("") of int8, where it is 0."""
    return np.uint8(128) if weight.dtype == np.uint8 else ""


def lookup(graph: Graph, name: str, places: Value) -> Value:
    """The rows of a table; one of 16-bit floats is widened."""
    rows = graph.gather(graph.table(name), places)
    return rows if graph.arrays[name].dtype == np.float32 else graph.cast(rows, "float32")


def product(graph: Graph, x: Value, name: str, *, flat: bool = True, rows: Rows = "many") -> Value:
    """x [..., K] → [..., M]. `flat`: x is a matrix [R, K]."""
    arrays = graph.arrays
    bias = f"{name}.bias" in arrays
    if f"{name}.weight" in arrays:
        weight = graph.array(f"{name}.weight")
        if bias and flat:
            return graph.op("Gemm", x, weight, graph.array(f"{name}.bias"))
        y = graph.op("MatMul", x, weight)
        return graph.add(y, graph.array(f"{name}.bias")) if bias else y
    if rows == "few" and len(arrays[f"{name}.scale"]) >= WIDE:
        weight, scale = graph.array(f"{name}.quantised"), graph.array(f"{name}.scale")
        added = arrays[f"{name}.bias"] / arrays[f"{name}.scale"] if bias else ""
        nought = zero(arrays[f"{name}.quantised"])
        y = graph.op("DynamicQuantizeMatMul", x, weight, np.float32(1), nought, added, domain=MICROSOFT)
        return graph.mul(y, scale)
    given = graph.array(f"{name}.bias") if bias else ""
    if rows == "one" and f"{name}.blocks" in arrays:
        inner, outer = arrays[f"{name}.quantised"].shape
        packed, scales = graph.array(f"{name}.blocks"), graph.array(f"{name}.block_scales")
        size = arrays[f"{name}.blocks"].shape[2]
        return graph.op(
            "MatMulNBits",
            *(x, packed, scales, "", "", given),
            domain=MICROSOFT,
            K=inner,
            N=outer,
            bits=8,
            block_size=size,
            accuracy_level=4,
        )
    weight, scale = graph.array(f"{name}.quantised"), graph.array(f"{name}.scale")
    nought = zero(arrays[f"{name}.quantised"])
    return graph.op("DynamicQuantizeMatMul", x, weight, scale, nought, given, domain=MICROSOFT)


def add_blocks(arrays: MutableMapping[str, Array], name: str) -> None:
    """Lays out the product `name` in blocks, if it is in int8 and its input channels can be cut into blocks."""
    weight = arrays.get(f"{name}.quantised")
    if weight is None or f"{name}.blocks" in arrays:
        return
    inner, outer = weight.shape
    size = next((size for size in BLOCKS if inner % size == 0), None)
    if size is not None:
        blocks = unsigned(weight).T.reshape(outer, inner // size, size)
        arrays[f"{name}.blocks"] = np.ascontiguousarray(blocks)
        arrays[f"{name}.block_scales"] = np.repeat(arrays[f"{name}.scale"], inner // size)
