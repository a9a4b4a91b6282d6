"""Arrays of a safetensors file, memory-mapped: nothing is read before it is used, nothing is held twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pairloom.engine.wire import Array
from pairloom.errors import FolderError
from pairloom.folder import read_header

DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "i1", "U8": "u1", "U32": "<u4"}


def map_arrays(path: Path) -> dict[str, Array]:
    """name → array, read-only views of the file. Raises FolderError for a file that contradicts itself."""
    header = read_header(path)
    with path.open("rb") as file:
        begin = 8 + int.from_bytes(file.read(8), "little")
    content = np.memmap(path, np.uint8, "r", begin) if header else np.zeros(0, np.uint8)
    found = {}
    for name, entry in header.items():
        try:
            dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(int(size) for size in entry["shape"])
            start, end = (int(offset) for offset in entry["data_offsets"])
            if min(shape, default=0) < 0 or not 0 <= start <= end <= len(content):
                raise ValueError
            found[name] = content[start:end].view(dtype).reshape(shape)
        except (KeyError, TypeError, ValueError):
            raise FolderError(f"{path} is damaged: its header says nothing sensible of {name!r:.80}") from None
    return found


def as_float32(arrays: Mapping[str, Array], header_of: Path) -> dict[str, Array]:
    """Weights as float32: 16-bit floats are widened, float32 is left where it is."""
    kinds = {name: entry["dtype"] for name, entry in read_header(header_of).items()}
    found = {}
    for name, array in arrays.items():
        if kinds[name] == "BF16":  # the upper half of a float32
            found[name] = (array.astype(np.uint32) << 16).view(np.float32)
        else:
            found[name] = array.astype(np.float32, copy=False)
    return found
