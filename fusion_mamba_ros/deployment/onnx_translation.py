# SPDX-License-Identifier: Apache-2.0
"""Translate a traced PyTorch program to an ONNX graph. `onnx_operators.py` has the rule for each operator."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from fusion_mamba_ros.deployment.onnx_graph import OnnxGraph

TRACED_BATCH = 1009
"""Batch size of the traced program: a prime that no other size in a network has, to recognise sizes of the batch."""


class ExportError(ValueError):
    """Raised if a model cannot be exported. The message is one sentence."""


@dataclass(frozen=True)
class Value:
    """A value that depends on the input: its name in the graph and its shape, with -1 for the size of the batch."""

    name: str
    shape: tuple[int, ...]


Rule = Callable[..., Any]
"""A function of (translation, arguments...) that adds nodes and returns the names of the outputs."""
_rules: dict[str, Rule] = {}


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register the decorated function as the translation of these PyTorch operators, for example ``aten::cat``."""

    def register(function: Rule) -> Rule:
        _rules.update(dict.fromkeys(operators, function))
        return function

    return register


class Translation:
    """The state of one translation: the graph and the values of the nodes seen so far.

    A node that does not depend on the input is computed at once, so that the graph has constants only.
    """

    def __init__(self, graph: OnnxGraph, options: Mapping[str, Any]) -> None:
        self.graph = graph
        self.options = options
        self._values: dict[fx.Node, Any] = {}

    def run(self, program: torch.export.ExportedProgram, inputs: Mapping[str, str]) -> list[str]:
        """Translate ``program`` and return the names of its outputs. ``inputs`` are the names of its inputs."""
        constants = {**program.state_dict, **program.constants}
        signature = program.graph_signature
        stored = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        names = iter(inputs.values())
        outputs: list[str] = []
        for node in program.graph.nodes:
            if node.op == "placeholder":
                target = stored.get(node.name)
                self._values[node] = (
                    Value(next(names), _shape_of(node)) if target is None else constants[target].detach()
                )
            elif node.op == "output":
                outputs = [self._values[result].name for result in node.args[0]]
            else:
                self._values[node] = self._translate(node)
        return outputs

    def name_of(self, value: Value | torch.Tensor | float) -> str:
        """Return the name in the graph of a value, a constant tensor or a number."""
        if isinstance(value, Value):
            return value.name
        if isinstance(value, torch.Tensor):
            return self.graph.constant(value.detach().contiguous().numpy())
        return self.graph.scalar(float(value))

    def reshape(self, value: Value, shape: tuple[int, ...]) -> str:
        """Reshape to ``shape``, with -1 for the size of the batch."""
        if shape[0] == value.shape[0] == -1 and math.prod(shape) == math.prod(value.shape):
            # In ONNX, 0 copies the size of the input. Runtimes can infer more from it than from -1.
            shape = (0, *shape[1:])
        return self.graph.add("Reshape", value.name, self.graph.integers(*shape))

    def _translate(self, node: fx.Node) -> Any:
        arguments: Any = fx.map_arg(node.args, lambda other: self._values[other])
        options: Any = fx.map_arg(node.kwargs, lambda other: self._values[other])
        if node.target is operator.getitem:
            return arguments[0][arguments[1]]
        name = node.target._schema.name  # type: ignore[union-attr]
        if name in _CHECKS:
            return None
        if not any(isinstance(self._values[other], Value) for other in node.all_input_nodes):
            # ONNX operators broadcast, so that a constant need not be expanded to the batch.
            if name == "aten::expand" and -1 in _shape_of(node):
                return arguments[0]
            return node.target(*arguments, **options)  # type: ignore[operator]
        found = _rules.get(name, _rules.get(name.removesuffix("_")))
        if found is None:
            raise ExportError(f"the model uses PyTorch's operator {name}, which the ONNX export cannot translate")
        result = found(self, _shape_of(node), *arguments, **options)
        if isinstance(result, Value):
            return result
        if isinstance(result, str):
            return Value(result, _shape_of(node))
        return tuple(Value(part, shape) for part, shape in zip(result, _shapes_of(node), strict=True))


# Operators without a result that matters.
_CHECKS = {"aten::_assert_tensor_metadata", "aten::promote_types"}


def _shape_of(node: fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    return _with_batch(value.shape) if isinstance(value, torch.Tensor) else ()


def _shapes_of(node: fx.Node) -> list[tuple[int, ...]]:
    return [_with_batch(value.shape) for value in node.meta["val"]]


def _with_batch(shape: torch.Size) -> tuple[int, ...]:
    sizes = tuple(-1 if size and size % TRACED_BATCH == 0 else int(size) for size in shape)
    if -1 in sizes[1:]:
        raise ExportError(f"the batch is not the first dimension of a value of sizes {sizes}: it cannot be exported")
    return sizes


def traced_input(channels: int, height: int, width: int) -> torch.Tensor:
    """Return an example input of `TRACED_BATCH` images, channels last, for tracing. Its memory is never touched."""
    return torch.empty((TRACED_BATCH, channels, height, width), dtype=torch.uint8, memory_format=torch.channels_last)
