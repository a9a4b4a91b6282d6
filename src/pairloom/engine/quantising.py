"""The arrays of a model in int8: a scale for each output channel of every product."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pairloom.engine.cells import quantise_sequence
from pairloom.engine.products import quantise
from pairloom.engine.wire import Array

TABLES = ("table", "embedding")
"""Of which single rows are looked up."""


def quantised(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """All arrays of a folded model; products and LSTM layers as int8, the rest as it is."""
    found: dict[str, Array] = {}
    for name, array in arrays.items():
        base, _, what = name.rpartition(".")
        if what == "weight":
            found[f"{base}.quantised"], found[f"{base}.scale"] = quantise(array)
        elif what == "into":
            parts = quantise_sequence(array, arrays[f"{base}.again"])
            parts = parts or {"into": array, "again": arrays[f"{base}.again"]}
            found |= {f"{base}.{part}": value for part, value in parts.items()}
        elif name in TABLES:
            found[name] = array.astype(np.float16)
        elif what != "again":
            found[name] = array
    return found
