# SPDX-License-Identifier: Apache-2.0
"""Torch operators `fusion_mamba::selective_scan_2d` and `fusion_mamba::selective_scan`.

Each scan is registered as three operators: the plain one for inference, `..._with_states`, which also returns the
states for the backward pass, and `..._backward`. All tensors must have one dtype, float32 or float64 (slow). The
operators run on the backend that `backends.active_backend` returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fusion_mamba_ros.network.selective_scan.backends import active_backend, run_backward, run_forward
from fusion_mamba_ros.network.selective_scan.problem import Gradients, ScanInputs, map_inputs, sequence_inputs

_INPUTS = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? delta_bias, bool delta_softplus, "
    "str decay='free'"
)
_TENSORS = len(Gradients._fields)
_GRADIENTS = "(" + ", ".join(["Tensor"] * _TENSORS) + ")"


def _register(name: str, to_inputs: Callable[..., ScanInputs]) -> tuple[Any, Any]:
    """Register the three operators of one scan; return the plain operator and the one with states.

    ``to_inputs`` checks the arguments and converts them to ``ScanInputs``.
    """

    def scan(*arguments: Any) -> Tensor:
        inputs = to_inputs(*arguments)
        u = arguments[0]
        if u.numel() == 0:
            return torch.zeros_like(u, memory_format=torch.contiguous_format)
        return run_forward(active_backend(u.device.type, u.dtype), inputs, keep_states=False)[0].reshape(u.shape)

    def scan_with_states(*arguments: Any) -> tuple[Tensor, Tensor]:
        inputs = to_inputs(*arguments)
        u = arguments[0]
        backend = active_backend(u.device.type, u.dtype)
        if u.numel() == 0:
            return torch.zeros_like(u, memory_format=torch.contiguous_format), u.new_zeros(backend.states_shape(inputs))
        y, states = run_forward(backend, inputs, keep_states=True)
        return y.reshape(u.shape), states

    def scan_backward(grad_y: Tensor, states: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
        inputs = to_inputs(*arguments)
        if grad_y.shape != arguments[0].shape:
            raise ValueError(
                f"{name}: the gradient of y has shape {tuple(grad_y.shape)}, expected {tuple(arguments[0].shape)}"
            )
        backend = active_backend(grad_y.device.type, grad_y.dtype)
        if states.shape != backend.states_shape(inputs):
            raise RuntimeError(
                f"{name}: states {tuple(states.shape)} were not made by backend '{backend.name}': "
                "run forward and backward on the same backend"
            )
        if grad_y.numel() == 0:
            return fake_backward(grad_y, states, *arguments, new=torch.zeros_like)
        gradients = run_backward(backend, inputs, grad_y.reshape(inputs.u.shape), states)
        return tuple(
            grad_y.new_empty(0) if gradient is None else gradient.reshape(argument.shape)
            for gradient, argument in zip(gradients, arguments, strict=False)
        )

    def fake_scan(*arguments: Any) -> Tensor:
        to_inputs(*arguments)
        return torch.empty_like(arguments[0], memory_format=torch.contiguous_format)

    def fake_scan_with_states(*arguments: Any) -> tuple[Tensor, Tensor]:
        u = arguments[0]
        states_shape = active_backend(u.device.type, u.dtype).states_shape(to_inputs(*arguments))
        return fake_scan(*arguments), u.new_empty(states_shape)

    def fake_backward(
        grad_y: Tensor, states: Tensor, *arguments: Any, new: Callable[..., Tensor] = torch.empty_like
    ) -> tuple[Tensor, ...]:
        return tuple(
            grad_y.new_empty(0) if argument is None else new(argument, memory_format=torch.contiguous_format)
            for argument in arguments[:_TENSORS]
        )

    def save_inputs(context: Any, inputs: tuple[Any, ...], states: Tensor | None) -> None:
        context.save_for_backward(states, *inputs[:_TENSORS])
        context.options = inputs[_TENSORS:]
        context.set_materialize_grads(False)

    def differentiate(context: Any, grad_y: Tensor | None) -> tuple[Tensor | None, ...]:
        states, *tensors = context.saved_tensors
        arguments = (*tensors, *context.options)
        if grad_y is None:
            return (None,) * len(arguments)
        if states is None:
            states = with_states(*arguments)[1]
        gradients = backward(grad_y, states, *arguments)
        return (
            *(None if t is None else g for g, t in zip(gradients, tensors, strict=True)),
            *[None] * len(context.options),
        )

    plain = torch.library.custom_op(f"fusion_mamba::{name}", scan, mutates_args=(), schema=f"({_INPUTS}) -> Tensor")
    with_states = torch.library.custom_op(
        f"fusion_mamba::{name}_with_states",
        scan_with_states,
        mutates_args=(),
        schema=f"({_INPUTS}) -> (Tensor, Tensor)",
    )
    backward = torch.library.custom_op(
        f"fusion_mamba::{name}_backward",
        scan_backward,
        mutates_args=(),
        schema=f"(Tensor grad_y, Tensor states, {_INPUTS}) -> {_GRADIENTS}",
    )
    plain.register_fake(fake_scan)
    with_states.register_fake(fake_scan_with_states)
    backward.register_fake(fake_backward)
    plain.register_autograd(differentiate, setup_context=lambda ctx, inputs, output: save_inputs(ctx, inputs, None))
    with_states.register_autograd(
        lambda ctx, grad_y, grad_states: differentiate(ctx, grad_y),
        setup_context=lambda ctx, inputs, output: save_inputs(ctx, inputs, output[1]),
    )
    return plain, with_states


scan_2d, scan_2d_with_states = _register("selective_scan_2d", map_inputs)
scan_1d, scan_1d_with_states = _register("selective_scan", sequence_inputs)
