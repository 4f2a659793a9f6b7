# SPDX-License-Identifier: Apache-2.0
"""The two-dimensional selective scan and the state space block against their equations."""

import numpy as np
import pytest
import state_space_formulas as formulas
import torch

from fusion_mamba_ros.network.selective_scan import use_backend
from fusion_mamba_ros.network.selective_scan.problem import ScanInputs
from fusion_mamba_ros.network.selective_scan.reference import ReferenceBackend
from fusion_mamba_ros.network.state_space import (
    SelectiveScan2d,
    VisualStateSpaceBlock,
    dt_rank_of,
)


@pytest.mark.parametrize(
    ("height", "width", "directions"), [(3, 5, 4), (4, 4, 4), (1, 7, 4), (6, 1, 4), (3, 5, 2), (5, 3, 1)]
)
def test_scan_layer_follows_the_recurrence_in_all_its_orders(height: int, width: int, directions: int) -> None:
    generator = torch.Generator().manual_seed(height * 10 + width)
    layer = SelectiveScan2d(6, dt_rank=2, state_size=3, directions=directions)
    formulas.randomise(layer, generator)
    x = torch.randn(2, 6, height, width, generator=generator)
    with torch.no_grad():
        out = layer(x)
    expected = np.stack([formulas.scan(formulas.to_array(image), layer) for image in x])
    assert out.shape == x.shape
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_scan_layer_starts_as_mamba_does() -> None:
    layer = SelectiveScan2d(64, dt_rank=4, state_size=16)
    steps = torch.nn.functional.softplus(layer.dt_bias)
    assert steps.min() >= 1e-3 - 1e-6
    assert steps.max() <= 0.1 + 1e-6
    torch.testing.assert_close(layer.A_log.exp(), torch.arange(1.0, 17.0).expand(4, 64, 16))
    assert bool((layer.D == 1).all())


def test_block_is_residual_branch_of_gated_scan() -> None:
    generator = torch.Generator().manual_seed(3)
    block = VisualStateSpaceBlock(8, state_size=4)
    formulas.randomise(block, generator)
    x = torch.randn(2, 8, 4, 3, generator=generator)
    with torch.no_grad():
        out = block(x).numpy()
    expected = np.stack([formulas.vss(formulas.to_array(image), block) for image in x])
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=2e-5 * np.abs(expected).max())


def test_new_block_stays_close_to_the_identity() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 16, 5, 5)
    with torch.no_grad():
        change = VisualStateSpaceBlock(16)(x) - x
    assert 0 < change.norm() < 0.2 * x.norm()


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(1)
    block = VisualStateSpaceBlock(8, state_size=4)
    block(torch.randn(1, 8, 4, 4)).square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("channels", "rank"), [(256, 16), (100, 7), (8, 1)])
def test_rank_of_the_step_sizes_is_a_sixteenth_rounded_up(channels: int, rank: int) -> None:
    assert dt_rank_of(channels) == rank


def test_memory_layout_of_the_input_does_not_matter() -> None:
    torch.manual_seed(2)
    block = VisualStateSpaceBlock(8, state_size=4)
    x = torch.randn(2, 8, 4, 6)
    with torch.no_grad():
        torch.testing.assert_close(block(x.contiguous(memory_format=torch.channels_last)), block(x))


def test_scan_and_its_states_stay_float32_under_autocast() -> None:
    torch.manual_seed(4)
    layer, x = SelectiveScan2d(6, dt_rank=2, state_size=3), torch.randn(1, 6, 4, 5)
    seen: list[torch.dtype] = []

    class Watched(ReferenceBackend):
        def forward(self, inputs: ScanInputs, keep_states: bool) -> tuple[torch.Tensor, torch.Tensor]:
            seen.extend(tensor.dtype for tensor in inputs.tensors().values() if tensor is not None)
            return super().forward(inputs, keep_states)

    with torch.no_grad(), use_backend(Watched()):
        exact = layer(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = layer(x)
    assert len(seen) == 14
    assert set(seen) == {torch.float32}
    # What is left of bfloat16 is the rounding of the projections, 8 bits.
    torch.testing.assert_close(out, exact, rtol=0, atol=0.02 * float(exact.abs().max()))
