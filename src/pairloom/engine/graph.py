"""A small builder of ONNX graphs: operators are calls, values are names.

    graph = Graph(arrays)
    x = graph.input("x", "int64", ("sentences", "source"))
    y = graph.op("Gather", graph.array("embedding"), x)
    graph.output("y", y)
    model = graph.model()                # bytes for ONNX Runtime; the arrays named in it are handed over beside

Large arrays stay outside of the model's bytes. Numbers
given to an operator become constants, kept once in the outermost graph, which the bodies of loops see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from pairloom.engine import wire
from pairloom.engine.wire import Array

Value = str
"""The name of what an operator gives."""
Given = str | int | float | bool | Sequence[int] | Array | np.generic
"""A value, or a number or numbers that become a constant: int64, float32 or bool."""
Body = Callable[["Graph", Value, dict[str, Value]], tuple[Value, dict[str, Value], dict[str, Value]]]
"""The body of a loop: (its graph, the number of the pass, what is carried) → (go on?, carried on, collected)."""

MICROSOFT = "com.microsoft"


class Graph:
    """One graph, the outermost or the body of a loop."""

    def __init__(self, arrays: Mapping[str, Array], parent: Graph | None = None) -> None:
        self.arrays = arrays
        self._root: Graph = self if parent is None else parent._root
        self._nodes: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._own: set[Value] = set()
        if parent is None:
            self._numbers = count()
            self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
            self._initializers: list[bytes] = []
            self.used: dict[str, None] = {}
            self.tables: dict[str, None] = {}

    @property
    def outside(self) -> Graph:
        """The outermost graph: what a body takes from there is computed once."""
        return self._root

    def input(self, name: str, data_type: str, dims: Sequence[str] | None = None) -> Value:
        """A named input with named dimensions."""
        self._inputs.append(wire.value_info(name, wire.DATA_TYPES[data_type], dims))
        return name

    def output(self, name: str, value: Value, data_type: str, dims: Sequence[str] | None = None) -> None:
        """`value` as an output of that name."""
        self._nodes.append(wire.node("Identity", [value], [name], "", {}))
        self._outputs.append(wire.value_info(name, wire.DATA_TYPES[data_type], dims))

    def array(self, name: str) -> Value:
        """A large array, by its name."""
        if name not in self._root.used:
            self._root.used[name] = None
            self._root._initializers.append(wire.outside_tensor(name, self.arrays[name]))
        return name

    def table(self, name: str) -> Value:
        """A large array of which single rows are looked up: an input, so that ONNX Runtime does not copy it."""
        if name not in self._root.tables:
            array = self.arrays[name]
            self._root.tables[name] = None
            self._root.input(name, array.dtype.name, tuple(f"{name}_{axis}" for axis in range(array.ndim)))
        return name

    def constant(self, value: Given) -> Value:
        """A value as it is; a number or numbers as a constant."""
        if isinstance(value, str):
            return value
        if isinstance(value, np.generic):
            value = np.array(value)
        elif not isinstance(value, np.ndarray):
            kind = np.bool_ if isinstance(value, bool) else np.float32 if isinstance(value, float) else np.int64
            value = np.array(value, kind)
        root = self._root
        key = (value.dtype.name, value.shape, value.tobytes())
        if key not in root._constants:
            root._constants[key] = name = f"constant_{len(root._constants)}"
            root._initializers.append(wire.tensor(name, value))
        return root._constants[key]

    def ops(self, kind: str, *inputs: Given, outputs: int, domain: str = "", **attributes: Any) -> list[Value]:
        """An operator with several outputs."""
        number = next(self._root._numbers)
        names = [f"{kind}_{number}" if outputs == 1 else f"{kind}_{number}_{place}" for place in range(outputs)]
        self._nodes.append(wire.node(kind, [self.constant(one) for one in inputs], names, domain, attributes))
        self._own.update(names)
        return names

    def op(self, kind: str, *inputs: Given, domain: str = "", **attributes: Any) -> Value:
        """An operator with one output. https://onnx.ai/onnx/operators has what each takes and does."""
        return self.ops(kind, *inputs, outputs=1, domain=domain, **attributes)[0]

    # -- what is needed everywhere -------------------------------------------------------------------------------------

    def add(self, *values: Given) -> Value:
        """The sum of two or more."""
        first, *others = values
        total = self.constant(first)
        for other in others:
            total = self.op("Add", total, other)
        return total

    def mul(self, a: Given, b: Given) -> Value:
        return self.op("Mul", a, b)

    def reshape(self, value: Value, *dims: int) -> Value:
        """-1: what is left; 0: as it is."""
        return self.op("Reshape", value, list(dims))

    def gather(self, value: Given, places: Given, axis: int = 0) -> Value:
        """The slices of `value` at these places of the axis."""
        return self.op("Gather", value, places, axis=axis)

    def transpose(self, value: Value, *order: int) -> Value:
        return self.op("Transpose", value, perm=list(order))

    def concat(self, *values: Given, axis: int) -> Value:
        return values[0] if len(values) == 1 and isinstance(values[0], str) else self.op("Concat", *values, axis=axis)

    def split(self, value: Value, sizes: Sequence[int], axis: int) -> list[Value]:
        """Parts of these sizes."""
        if len(sizes) == 1:
            return [value]
        return self.ops("Split", value, list(sizes), outputs=len(sizes), axis=axis)

    def slice(self, value: Value, begin: int, end: int, axis: int) -> Value:
        """From `begin` to before `end`."""
        return self.op("Slice", value, [begin], [end], [axis])

    def cast(self, value: Value, data_type: str) -> Value:
        return self.op("Cast", value, to=wire.DATA_TYPES[data_type])

    def size(self, value: Value, axis: int) -> Value:
        """The length of one axis, as a vector of one number."""
        end: dict[str, Any] = {} if axis == -1 else {"end": axis + 1}
        return self.op("Shape", value, start=axis, **end)

    def topk(self, value: Value, count: Given, axis: int) -> tuple[Value, Value]:
        """The largest values, best first, and their places."""
        values, places = self.ops("TopK", value, count, outputs=2, axis=axis)
        return values, places

    # -- the loop ------------------------------------------------------------------------------------------------------

    def loop(
        self, most: Value, carried: Mapping[str, Value], types: Mapping[str, str], body: Body
    ) -> tuple[dict[str, Value], dict[str, Value]]:
        """At most `most` passes of `body`, the first in any case; `carried` is what the first one gets.

        Gives what the last pass carried on, and what each pass collected, one behind the other on a new first axis.
        `types` has the data types that are not float32.
        """
        inside = Graph(self.arrays, self)
        number = next(self._root._numbers)
        step = inside.input(f"step_{number}", "int64", ())
        going = inside.input(f"going_{number}", "bool", ())
        names = {name: f"{name}_{number}" for name in carried}
        for name, unique in names.items():
            inside._inputs.append(wire.value_info(unique, wire.DATA_TYPES[types.get(name, "float32")]))
        del going  # it would not be called if it were False
        on, after, collected = body(inside, step, names)
        outcome = [on, *(after[name] for name in carried), *collected.values()]
        for place, value in enumerate(outcome):
            # What leaves the body is made in it, and leaves once.
            leaving = value
            if value not in inside._own or value in outcome[:place]:
                leaving = f"out_{number}_{place}"
                inside._nodes.append(wire.node("Identity", [value], [leaving], "", {}))
            inside._outputs.append(wire.value_info(leaving))
        initial = [most, self.constant(True), *carried.values()]
        names_out = [f"loop_{number}_{place}" for place in range(len(outcome) - 1)]
        self._nodes.append(wire.node("Loop", initial, names_out, "", {"body": inside._bytes("body")}))
        given = iter(names_out)
        return {name: next(given) for name in carried}, {name: next(given) for name in collected}

    def _bytes(self, name: str) -> bytes:
        initializers = self._initializers if self._root is self else []
        return wire.graph(name, self._nodes, initializers, self._inputs, self._outputs)

    def model(self) -> bytes:
        """The whole model."""
        return wire.model(self._bytes("pairloom"))
