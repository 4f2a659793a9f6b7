# SPDX-License-Identifier: Apache-2.0
"""The registered operators: torch's own checks, torch.compile and torch.export."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scan_problems import random_map_arguments

from fusion_mamba_ros.network.selective_scan import selective_scan_2d, use_backend

OPERATORS = torch.ops.fusion_mamba


def arguments_of(form: str) -> tuple[Any, ...]:
    u, delta, A, B, C, D, bias = random_map_arguments()
    if form == "selective_scan":
        return u[:, :, 0], delta[:, 0, :, 0], A[0], B[:, :1, :, 0], C[:, :1, :, 0], D[0], bias[0], True
    return u, delta, A, B, C, D, bias, True


def with_gradients(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a.detach().clone().requires_grad_() if isinstance(a, torch.Tensor) else a for a in arguments)


@pytest.mark.parametrize("form", ["selective_scan", "selective_scan_2d"])
@pytest.mark.parametrize("kind", ["", "_with_states"])
def test_forward_operators_pass_opcheck(form: str, kind: str) -> None:
    operator = getattr(OPERATORS, form + kind).default
    torch.library.opcheck(operator, with_gradients(arguments_of(form)))
    without = [*arguments_of(form)]
    without[5] = without[6] = None
    torch.library.opcheck(operator, tuple(without))


@pytest.mark.parametrize("form", ["selective_scan", "selective_scan_2d"])
def test_backward_operators_pass_opcheck(form: str) -> None:
    arguments = arguments_of(form)
    y, states = getattr(OPERATORS, form + "_with_states")(*arguments)
    torch.library.opcheck(getattr(OPERATORS, form + "_backward").default, (torch.ones_like(y), states, *arguments))


def test_operators_pass_opcheck_on_the_reference_too() -> None:
    with use_backend("reference"):
        torch.library.opcheck(OPERATORS.selective_scan_2d.default, with_gradients(arguments_of("selective_scan_2d")))


def test_plain_operator_differentiates_like_the_one_with_states() -> None:
    plain, other = (with_gradients(arguments_of("selective_scan_2d")) for _ in range(2))
    OPERATORS.selective_scan_2d(*plain).square().sum().backward()
    OPERATORS.selective_scan_2d_with_states(*other)[0].square().sum().backward()
    for a, b in zip(plain[:-1], other[:-1], strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=0)


def test_wrong_shapes_are_refused_by_the_operator_itself() -> None:
    arguments: list[Any] = [*arguments_of("selective_scan_2d")]
    arguments[2] = arguments[2][:3]
    with pytest.raises(ValueError, match="A has shape"):
        OPERATORS.selective_scan_2d(*arguments)


def test_compiled_without_graph_breaks_it_equals_eager() -> None:
    arguments = with_gradients(arguments_of("selective_scan_2d"))[:-1]
    compiled = torch.compile(selective_scan_2d, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arguments), selective_scan_2d(*arguments), rtol=0, atol=0)


class ScanModule(torch.nn.Module):
    def forward(self, *arguments: Any) -> torch.Tensor:
        return selective_scan_2d(*arguments)


def test_exported_program_holds_the_operator_and_equals_eager() -> None:
    arguments = arguments_of("selective_scan_2d")[:-1]
    program = torch.export.export(ScanModule(), arguments)
    targets = [str(node.target) for node in program.graph.nodes]
    assert any("fusion_mamba.selective_scan_2d" in target for target in targets)
    torch.testing.assert_close(program.module()(*arguments), selective_scan_2d(*arguments), rtol=0, atol=0)
