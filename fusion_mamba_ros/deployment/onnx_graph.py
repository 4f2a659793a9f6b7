# SPDX-License-Identifier: Apache-2.0
"""Build an ONNX graph node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

SCAN_DOMAIN = "fusion_mamba"
OPSET = 17
"""Version of the standard operators. The first that has LayerNormalization."""
# The oldest file version that may hold OPSET. Newer ones are refused by older runtimes.
_IR_VERSION = 8


class OnnxGraph:
    """A graph under construction. Values are identified by their names."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._stored: list[onnx.TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._shapes: list[onnx.ValueInfoProto] = []
        self._domains = {"": OPSET}
        self._count = 0

    def new_name(self, hint: str) -> str:
        """Return a value name that is not in use."""
        self._count += 1
        return f"{hint}_{self._count}"

    def constant(self, array: npt.NDArray[Any]) -> str:
        """Store ``array`` in the file and return the name of its value. Equal arrays are stored once.

        A large float32 array that float16 holds exactly is stored as float16, which halves the file and loses nothing.
        """
        array = np.ascontiguousarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            name = self.new_name("constant")
            half = _exact_half(array)
            if half is None:
                self._stored.append(numpy_helper.from_array(array, name))
            else:
                stored = self.new_name("half")
                self._stored.append(numpy_helper.from_array(half, stored))
                self._nodes.append(helper.make_node("Cast", [stored], [name], name=name, to=TensorProto.FLOAT))
            self._known[key] = name
        return self._known[key]

    def integers(self, *values: int) -> str:
        """Return the name of a constant one-dimensional int64 tensor."""
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        """Return the name of a constant float32 scalar."""
        return self.constant(np.array(value, np.float32))

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the name of the output."""
        return self.add_with_outputs(1, operator, *inputs, domain=domain, **attributes)[0]

    def add_with_outputs(
        self, outputs: int, operator: str, *inputs: str, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node and return the names of its outputs."""
        self._domains.setdefault(domain, 1)
        names = [self.new_name(operator) for _ in range(outputs)]
        node = helper.make_node(operator, list(inputs), names, name=names[0], domain=domain, **attributes)
        self._nodes.append(node)
        return names

    def declare_shape(self, value: str, shape: tuple[int, ...]) -> None:
        """State the shape of a float32 value, with -1 for an unknown size, where a runtime cannot infer it."""
        sizes = [None if size == -1 else size for size in shape]
        self._shapes.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, sizes))

    def rename_output(self, value: str, name: str) -> None:
        """Give ``value`` the public name of an output of the graph."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))

    def model(
        self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto], metadata: dict[str, str]
    ) -> onnx.ModelProto:
        """Return the finished model with ``metadata`` as its properties."""
        graph = helper.make_graph(self._nodes, "fusion_mamba", inputs, outputs, self._stored, value_info=self._shapes)
        opsets = [helper.make_opsetid(domain, version) for domain, version in self._domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="fusion_mamba_ros")
        model.ir_version = _IR_VERSION
        helper.set_model_props(model, metadata)
        return model


def _exact_half(array: npt.NDArray[Any]) -> npt.NDArray[np.float16] | None:
    """Return ``array`` as float16 if it is a large float32 array and keeps every value, otherwise None."""
    if array.dtype != np.float32 or array.size < 256:
        return None
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else None
