"""An ONNX graph as it grows: names are distinct, and equal nodes and equal constants are made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

#: The version of ONNX's operators that a graph uses: the newest one that runtimes of the last years take, and the first
#: one after ScatterElements learned to add.
OPSET = 17

#: A rule gets the graph, the op and the names of its operands; it adds nodes and returns the name of the op's value.
Rule = Callable[..., str]


class Graph:
    """The nodes and constants of an ONNX graph, in the order in which they are computed.

    Attributes:
        nodes: the nodes.
        constants: the initializers.
        scope: what the nodes that are made next belong to, such as a module path: their names begin with it.
        dtype: of the numbers that are computed: float32, or float64 where they are integers.
    """

    def __init__(self, dtype: Any = np.float32) -> None:
        self.dtype = dtype
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.scope = ""
        self._names: set[str] = set()
        self._made: dict[Any, NodeProto] = {}
        self._kept: dict[Any, str] = {}

    def __call__(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The output of a node; of the one that is there already where an equal one was made.

        Args:
            kind: name of an operator of ONNX.
            inputs: names of values.
            attributes: of the node.
        """
        return self.node(kind, *inputs, **attributes).output[0]

    def node(self, kind: str, *inputs: str, **attributes: Any) -> NodeProto:
        """A node; see `__call__`."""
        from onnx import helper

        key = kind, inputs, repr(sorted(attributes.items()))
        if key not in self._made:
            name = self.name(kind)
            self._made[key] = helper.make_node(kind, list(inputs), [name], name=name, **attributes)
            self.nodes.append(self._made[key])
        return self._made[key]

    def made(self, kind: str, *inputs: str) -> str | None:
        """The output of a node without attributes that is there already; None where there is none."""
        node = self._made.get((kind, inputs, "[]"))
        return None if node is None else node.output[0]

    def indices(self, pool: NodeProto) -> str:
        """The second output of a MaxPool: the places of the maxima in the whole map, as one number each."""
        if len(pool.output) == 1:
            pool.output.append(self.name("Indices"))
        return pool.output[1]

    def output(self, value: str, name: str) -> None:
        """Gives a value the name of an output of the graph."""
        from onnx import helper

        self._names.add(name)
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"output {name}"))

    def drop_unused(self) -> None:
        """Removes nodes whose outputs nothing reads, and then the constants that none reads."""
        read = {node.output[0] for node in self.nodes if node.op_type == "Identity"}
        kept = []
        for node in reversed(self.nodes):
            if read.intersection(node.output):
                kept.append(node)
                read.update(node.input)
        self.nodes = kept[::-1]
        self.constants = [tensor for tensor in self.constants if tensor.name in read]

    def constant(self, array: Any, dtype: Any = None, name: str = "constant") -> str:
        """An initializer with the numbers of `array`, of the graph's own type where none is given."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(np.asarray(array, dtype or self.dtype))
        key = array.shape, array.dtype.str, array.tobytes()
        if key not in self._kept:
            self._kept[key] = self.name(name)
            self.constants.append(numpy_helper.from_array(array, self._kept[key]))
        return self._kept[key]

    def integers(self, *numbers: int) -> str:
        """A vector of int64, as operators take shapes, axes and indices."""
        return self.constant(numbers, np.int64)

    def name(self, kind: str) -> str:
        """A new name of a value."""
        name = base = f"{self.scope}/{kind}" if self.scope else kind
        count = 0
        while name in self._names:
            count += 1
            name = f"{base}_{count}"
        self._names.add(name)
        return name

    # What several rules need.

    def cast(self, x: str, dtype: Any) -> str:
        """x as another type of NumPy."""
        from onnx import helper

        return self("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """The elements of x in another shape."""
        return self("Reshape", x, self.integers(*shape))

    def sum(self, x: str, axes: Sequence[int], keep: bool = False) -> str:
        """The sum of x over axes."""
        return self("ReduceSum", x, self.integers(*axes), keepdims=int(keep))

    def separable(self, x: str, rows: np.ndarray, columns: np.ndarray) -> str:
        """y[c] = rows x[c] columns^T, for what treats rows and columns alike. x: 1xCxHxW, rows: OHxH, columns: OWxW."""
        left = x if _is_identity(rows) else self("MatMul", self.constant(rows), x)
        return left if _is_identity(columns) else self("MatMul", left, self.constant(columns.T))


def _is_identity(matrix: np.ndarray) -> bool:
    return matrix.shape[0] == matrix.shape[1] and bool((matrix == np.eye(len(matrix))).all())
