"""ONNX models as bytes: the few messages of the file format that a graph of ours needs, written in protocol buffers.

Importing the `onnx` package takes longer than loading a small model and answering with it, so it is not on the way from
the command to the answer. The tests read everything written here back with that package.

    protobuf.dev/programming-guides/encoding      tags, varints, lengths
    github.com/onnx/onnx, onnx/onnx.proto         the messages and the numbers of their fields
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16 = 1, 2, 3, 6, 7, 9, 10
"""TensorProto.DataType"""
DATA_TYPES: dict[str, int] = {
    "float32": FLOAT,
    "uint8": UINT8,
    "int8": INT8,
    "int32": INT32,
    "int64": INT64,
    "bool": BOOL,
    "float16": FLOAT16,
}
IR_VERSION = 8
OPSETS = {"": 17, "com.microsoft": 1}

_VARINT, _BYTES, _FIXED32 = 0, 2, 5  # wire types


def varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; a negative number as its 64-bit two's complement."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def integer(field: int, value: int) -> bytes:
    """A field with a number or an enum."""
    return varint(field << 3 | _VARINT) + varint(value)


def block(field: int, content: bytes) -> bytes:
    """A field with bytes or a message."""
    return varint(field << 3 | _BYTES) + varint(len(content)) + content


def text(field: int, content: str) -> bytes:
    """A field with a string."""
    return block(field, content.encode())


def real(field: int, value: float) -> bytes:
    """A field with a float."""
    return varint(field << 3 | _FIXED32) + struct.pack("<f", value)


def tensor(name: str, value: Array) -> bytes:
    """TensorProto with its data inside."""
    value = np.array(value, order="C")  # np.ascontiguousarray would turn a scalar into a vector
    dims = b"".join(integer(1, size) for size in value.shape)
    return dims + integer(2, DATA_TYPES[value.dtype.name]) + text(8, name) + block(9, value.tobytes())


def outside_tensor(name: str, value: Array) -> bytes:
    """TensorProto whose data ONNX Runtime is handed when it opens the model."""
    dims = b"".join(integer(1, size) for size in value.shape)
    location = block(13, text(1, "location") + text(2, "outside"))
    return dims + integer(2, DATA_TYPES[value.dtype.name]) + text(8, name) + location + integer(14, 1)


def attribute(name: str, value: Any) -> bytes:
    """AttributeProto of a float, an int, a string, ints, or a graph (as bytes of `graph`)."""
    named = text(1, name)
    if isinstance(value, bytes):
        return named + block(6, value) + integer(20, 5)
    if isinstance(value, float):
        return named + real(2, value) + integer(20, 1)
    if isinstance(value, int):
        return named + integer(3, value) + integer(20, 2)
    if isinstance(value, str):
        return named + text(4, value) + integer(20, 3)
    return named + b"".join(integer(8, one) for one in value) + integer(20, 7)


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str, attributes: dict[str, Any]) -> bytes:
    """NodeProto; an input with the empty name is left out."""
    parts = [text(1, name) for name in inputs] + [text(2, name) for name in outputs]
    parts += [text(3, outputs[0]), text(4, kind)]
    parts += [block(5, attribute(name, value)) for name, value in attributes.items()]
    return b"".join(parts) + (text(7, domain) if domain else b"")


def value_info(name: str, data_type: int | None = None, dims: Sequence[str] | None = None) -> bytes:
    """ValueInfoProto: a named input or output; its dimensions by name, so that any size fits. Type and dimensions of a
    subgraph's may be left out: they are inferred."""
    if data_type is None:
        return text(1, name)
    shape = b"" if dims is None else block(2, b"".join(block(1, text(2, dim)) for dim in dims))
    return text(1, name) + block(2, block(1, integer(1, data_type) + shape))


def graph(
    name: str,
    nodes: Iterable[bytes],
    initializers: Iterable[bytes],
    inputs: Iterable[bytes],
    outputs: Iterable[bytes],
) -> bytes:
    """GraphProto"""
    parts = [block(1, one) for one in nodes] + [text(2, name)] + [block(5, one) for one in initializers]
    return b"".join(parts + [block(11, one) for one in inputs] + [block(12, one) for one in outputs])


def model(content: bytes) -> bytes:
    """ModelProto around a graph."""
    opsets = [block(8, text(1, domain) + integer(2, version)) for domain, version in OPSETS.items()]
    return integer(1, IR_VERSION) + text(2, "pairloom") + block(7, content) + b"".join(opsets)
