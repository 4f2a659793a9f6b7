# SPDX-License-Identifier: Apache-2.0
"""The Fusion-Mamba block: parameters, residual, switches and bottleneck."""

import pytest
import torch

from fusion_mamba_ros.network import FusionMambaBlock


@pytest.mark.parametrize(("channels", "parameters"), [(256, 8_877_056), (512, 33_220_608), (1024, 128_307_200)])
def test_block_of_the_paper_has_its_parameters(channels: int, parameters: int) -> None:
    with torch.device("meta"):
        block = FusionMambaBlock(channels, dssf_count=8)
    assert sum(p.numel() for p in block.parameters()) == parameters


def test_enhanced_map_is_the_stream_plus_what_the_modules_in_a_row_return() -> None:
    torch.manual_seed(0)
    block = FusionMambaBlock(8, dssf_count=2, state_size=4)
    rgb, thermal = torch.randn(2, 1, 8, 4, 4)
    assert block.sscs is not None
    with torch.no_grad():
        first, second = block.dssf[1](*block.dssf[0](*block.sscs(rgb, thermal)))
        out = block(rgb, thermal)
    torch.testing.assert_close(out, (rgb + first, thermal + second))


def test_without_swapping_the_fusion_reads_the_streams_themselves() -> None:
    torch.manual_seed(1)
    block = FusionMambaBlock(8, dssf_count=1, state_size=4, sscs=False)
    rgb, thermal = torch.randn(2, 1, 8, 4, 4)
    with torch.no_grad():
        fused = block.dssf[0](rgb, thermal)
        torch.testing.assert_close(block(rgb, thermal), (rgb + fused[0], thermal + fused[1]))


def test_without_chaining_the_result_is_that_of_the_last_module_alone() -> None:
    torch.manual_seed(5)
    block = FusionMambaBlock(8, dssf_count=3, state_size=4, chained=False)
    rgb, thermal = torch.randn(2, 1, 8, 4, 4)
    assert block.sscs is not None
    with torch.no_grad():
        first, second = block.dssf[2](*block.sscs(rgb, thermal))
        torch.testing.assert_close(block(rgb, thermal), (rgb + first, thermal + second))
    assert FusionMambaBlock(8, 3, state_size=4).state_dict().keys() == block.state_dict().keys()


def test_bottleneck_keeps_the_shape_and_saves_parameters() -> None:
    torch.manual_seed(2)
    block = FusionMambaBlock(64, dssf_count=1, bottleneck=16)
    maps = torch.randn(2, 1, 64, 4, 4)
    assert [x.shape for x in block(*maps)] == [maps[0].shape, maps[1].shape]
    full = sum(p.numel() for p in FusionMambaBlock(64, dssf_count=1).parameters())
    assert sum(p.numel() for p in block.parameters()) < full / 3


def test_each_stream_sees_the_other() -> None:
    torch.manual_seed(3)
    block = FusionMambaBlock(8, dssf_count=1, state_size=4)
    rgb, thermal = torch.randn(2, 1, 8, 4, 4)
    with torch.no_grad():
        plain, changed = block(rgb, thermal), block(rgb, thermal + 1)
    assert (plain[0] - changed[0]).abs().max() > 0.1


def test_one_graph_holds_the_whole_block() -> None:
    torch.manual_seed(4)
    block = FusionMambaBlock(8, dssf_count=1, state_size=4).eval()
    maps = torch.randn(2, 1, 8, 4, 4)
    with torch.no_grad():
        compiled = torch.compile(block, fullgraph=True, backend="aot_eager")(*maps)
        torch.testing.assert_close(compiled, block(*maps), rtol=1e-5, atol=1e-6)
