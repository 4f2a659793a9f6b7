# SPDX-License-Identifier: Apache-2.0
"""The ONNX translation of each PyTorch operator that the networks use.

Every function gets the translation, the shape of the result (-1 for the size of the batch), and then the arguments of
the PyTorch operator. It returns the name of the result or, for several results, their names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from fusion_mamba_ros.deployment.exported_model import STANDARD_SCAN
from fusion_mamba_ros.deployment.onnx_graph import SCAN_DOMAIN
from fusion_mamba_ros.deployment.onnx_standard_scan import StandardScan
from fusion_mamba_ros.deployment.onnx_translation import ExportError, Translation, Value, rule
from fusion_mamba_ros.network.selective_scan.problem import rates_of_states

Shape = tuple[int, ...]
Operand = Value | torch.Tensor | float


@rule("aten::contiguous", "aten::clone", "aten::detach", "aten::alias", "aten::dropout")
def _unchanged(t: Translation, shape: Shape, x: Value, *_: Any, **__: Any) -> Value:
    return x


@rule("aten::to", "aten::_to_copy")
def _to(t: Translation, shape: Shape, x: Value, dtype: Any = None, *_: Any, **options: Any) -> str | Value:
    dtype = options.get("dtype", dtype)
    if dtype not in (torch.float32, torch.float, None):
        raise ExportError(f"the model converts to {dtype}: the ONNX export computes in float32 only")
    return t.graph.add("Cast", x.name, to=1) if x.name in t.options["bytes"] else x


@rule("aten::conv2d")
def _conv2d(
    t: Translation,
    shape: Shape,
    x: Value,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> str:
    inputs = [x.name, t.name_of(weight)] + ([] if bias is None else [t.name_of(bias)])
    return t.graph.add(
        "Conv",
        *inputs,
        kernel_shape=list(weight.shape[2:]),
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
        group=groups,
    )


@rule("aten::batch_norm")
def _batch_norm(
    t: Translation,
    shape: Shape,
    x: Value,
    weight: torch.Tensor,
    bias: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    training: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> str:
    # Runtimes fold this node into the convolution when they load the file. The file keeps the trained weights.
    parameters = (t.name_of(tensor) for tensor in (weight, bias, mean, variance))
    return t.graph.add("BatchNormalization", x.name, *parameters, epsilon=eps)


@rule("aten::layer_norm")
def _layer_norm(
    t: Translation,
    shape: Shape,
    x: Value,
    normalised: Sequence[int],
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float = 1e-5,
    *_: Any,
) -> str:
    parameters = (t.name_of(weight), t.name_of(bias))
    return t.graph.add("LayerNormalization", x.name, *parameters, axis=-len(normalised), epsilon=eps)


@rule("aten::linear")
def _linear(t: Translation, shape: Shape, x: Value, weight: torch.Tensor, bias: torch.Tensor | None = None) -> str:
    product = t.graph.add("MatMul", x.name, t.name_of(weight.t()))
    return product if bias is None else t.graph.add("Add", product, t.name_of(bias))


@rule("aten::matmul", "aten::bmm")
def _matmul(t: Translation, shape: Shape, a: Operand, b: Operand) -> str:
    return t.graph.add("MatMul", t.name_of(a), t.name_of(b))


@rule("aten::scaled_dot_product_attention")
def _attention(t: Translation, shape: Shape, query: Value, key: Value, value: Value) -> str:
    transposed = t.graph.add("Transpose", key.name, perm=[0, 1, 3, 2])
    scaled = t.graph.add("Mul", query.name, t.name_of(1 / math.sqrt(query.shape[-1])))
    weights = t.graph.add("Softmax", t.graph.add("MatMul", scaled, transposed), axis=-1)
    return t.graph.add("MatMul", weights, value.name)


@rule("aten::silu")
def _silu(t: Translation, shape: Shape, x: Value) -> str:
    return t.graph.add("Mul", x.name, t.graph.add("Sigmoid", x.name))


@rule("aten::sigmoid")
def _sigmoid(t: Translation, shape: Shape, x: Value) -> str:
    return t.graph.add("Sigmoid", x.name)


@rule("aten::relu6")
def _relu6(t: Translation, shape: Shape, x: Value) -> str:
    return t.graph.add("Clip", x.name, t.name_of(0.0), t.name_of(6.0))


@rule("aten::hardtanh")
def _hardtanh(t: Translation, shape: Shape, x: Value, lowest: float = -1.0, highest: float = 1.0) -> str:
    return t.graph.add("Clip", x.name, t.name_of(lowest), t.name_of(highest))


@rule("aten::softmax")
def _softmax(t: Translation, shape: Shape, x: Value, dim: int, *_: Any) -> str:
    return t.graph.add("Softmax", x.name, axis=dim)


@rule("aten::add")
def _add(t: Translation, shape: Shape, a: Operand, b: Operand) -> str:
    return t.graph.add("Add", t.name_of(a), t.name_of(b))


@rule("aten::sub")
def _sub(t: Translation, shape: Shape, a: Operand, b: Operand) -> str:
    return t.graph.add("Sub", t.name_of(a), t.name_of(b))


@rule("aten::mul")
def _mul(t: Translation, shape: Shape, a: Operand, b: Operand) -> str:
    return t.graph.add("Mul", t.name_of(a), t.name_of(b))


@rule("aten::div")
def _div(t: Translation, shape: Shape, a: Operand, b: Operand) -> str:
    return t.graph.add("Div", t.name_of(a), t.name_of(b))


@rule("aten::sum")
def _sum(t: Translation, shape: Shape, x: Value, *_: Any, **__: Any) -> str:
    return t.graph.add("ReduceSum", x.name, keepdims=0)


@rule("aten::cat")
def _cat(t: Translation, shape: Shape, tensors: Sequence[Operand], dim: int = 0) -> str:
    return t.graph.add("Concat", *(t.name_of(tensor) for tensor in tensors), axis=dim)


@rule("aten::chunk")
def _chunk(t: Translation, shape: Shape, x: Value, count: int, dim: int = 0) -> list[str]:
    if x.shape[dim] % count and x.shape[dim] != -1:
        raise ExportError(f"the model splits {x.shape[dim]} channels into {count} unequal parts: it cannot be exported")
    return t.graph.add_with_outputs(count, "Split", x.name, axis=dim)


@rule("aten::split_with_sizes")
def _split(t: Translation, shape: Shape, x: Value, sizes: Sequence[int], dim: int = 0) -> list[str]:
    return t.graph.add_with_outputs(len(sizes), "Split", x.name, t.graph.integers(*sizes), axis=dim)


@rule("aten::slice")
def _slice(t: Translation, shape: Shape, x: Value, dim: int, start: int | None, end: int | None) -> str:
    bounds = (t.graph.integers(start or 0), t.graph.integers(2**62 if end is None else end))
    return t.graph.add("Slice", x.name, *bounds, t.graph.integers(dim))


@rule("aten::transpose")
def _transpose(t: Translation, shape: Shape, x: Value, first: int, second: int) -> str:
    order = list(range(len(x.shape)))
    order[first], order[second] = order[second], order[first]
    return t.graph.add("Transpose", x.name, perm=order)


@rule("aten::flatten", "aten::unflatten", "aten::reshape", "aten::view")
def _reshape(t: Translation, shape: Shape, x: Value, *_: Any) -> str:
    return t.reshape(x, shape)


@rule("aten::max_pool2d")
def _max_pool2d(
    t: Translation, shape: Shape, x: Value, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> str:
    return t.graph.add("MaxPool", x.name, kernel_shape=list(kernel), strides=list(stride), pads=[*padding, *padding])


@rule("aten::avg_pool2d")
def _avg_pool2d(t: Translation, shape: Shape, x: Value, kernel: Sequence[int], stride: Sequence[int] = ()) -> str:
    return t.graph.add("AveragePool", x.name, kernel_shape=list(kernel), strides=list(stride or kernel))


@rule("aten::pad", "aten::constant_pad_nd")
def _pad(t: Translation, shape: Shape, x: Value, margins: Sequence[int], *_: Any) -> str:
    left, right, top, bottom = margins
    return t.graph.add("Pad", x.name, t.graph.integers(0, 0, top, left, 0, 0, bottom, right))


@rule("aten::upsample_nearest2d")
def _upsample(t: Translation, shape: Shape, x: Value, size: Any, scales: Sequence[float]) -> str:
    factors = t.graph.constant(torch.tensor([1.0, 1.0, *scales], dtype=torch.float32).numpy())
    attributes = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    return t.graph.add("Resize", x.name, "", factors, **attributes)


@rule("fusion_mamba::selective_scan_2d")
def _selective_scan_2d(t: Translation, shape: Shape, *arguments: Any) -> str:
    # PyTorch leaves out a last argument that has its default.
    *tensors, softplus, decay = arguments if isinstance(arguments[-1], str) else (*arguments, "free")
    # The operator of ONNX Runtime takes a rate for each state.
    tensors[2] = rates_of_states(tensors[2], decay, tensors[3].shape[2])
    if t.options["scan"] == STANDARD_SCAN:
        return _standard_scan(t, shape, tensors, softplus)
    names = ["" if tensor is None else t.name_of(tensor) for tensor in tensors]
    scanned = t.graph.add("selective_scan_2d", *names, domain=SCAN_DOMAIN, delta_softplus=int(softplus))
    t.graph.declare_shape(scanned, shape)
    return scanned


def _standard_scan(t: Translation, shape: Shape, tensors: Sequence[Any], softplus: bool) -> str:
    u, delta, A, B, C, D, delta_bias = tensors
    if not isinstance(A, torch.Tensor):
        raise ExportError("the decay rates of a scan depend on the input: export it with --scan operator")
    skip, bias = (None if tensor is None else tensor.detach().numpy() for tensor in (D, delta_bias))
    scan = StandardScan(t.graph, A.detach().numpy(), *shape[1:])
    return scan.add(u.name, delta.name, B.name, C.name, skip, bias, softplus=bool(softplus))


@rule("aten::amax")
def _amax(t: Translation, shape: Shape, x: Value, axes: Sequence[int] = (), keepdim: bool = False) -> str:
    return t.graph.add("ReduceMax", x.name, axes=list(axes), keepdims=int(keepdim))


@rule("aten::amin")
def _amin(t: Translation, shape: Shape, x: Value, axes: Sequence[int] = (), keepdim: bool = False) -> str:
    return t.graph.add("ReduceMin", x.name, axes=list(axes), keepdims=int(keepdim))


@rule("aten::eq")
def _equal(t: Translation, shape: Shape, a: Operand, b: Operand) -> str:
    return t.graph.add("Equal", t.name_of(a), t.name_of(b))


@rule("aten::where")
def _where(t: Translation, shape: Shape, condition: Value, a: Operand, b: Operand) -> str:
    return t.graph.add("Where", condition.name, t.name_of(a), t.name_of(b))
