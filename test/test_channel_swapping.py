# SPDX-License-Identifier: Apache-2.0
"""Swapping of channel quarters between streams."""

from typing import Any

import numpy as np
import pytest
import state_space_formulas as formulas
import torch

from fusion_mamba_ros.network.channel_swapping import (
    StateSpaceChannelSwapping,
    swap_channels,
)


def labelled(stream: int) -> torch.Tensor:
    """Eight channels whose value says stream * 10 + channel."""
    return (stream * 10.0 + torch.arange(8.0)).view(1, 8, 1, 1)


def test_two_streams_exchange_second_and_fourth_quarter() -> None:
    rgb, thermal = swap_channels((labelled(0), labelled(1)))
    assert rgb.flatten().tolist() == [0, 1, 12, 13, 4, 5, 16, 17]
    assert thermal.flatten().tolist() == [10, 11, 2, 3, 14, 15, 6, 7]


def test_three_streams_take_quarters_in_turn() -> None:
    swapped = swap_channels((labelled(0), labelled(1), labelled(2)))
    assert [x.flatten()[::2].tolist() for x in swapped] == [[0, 12, 24, 6], [10, 22, 4, 16], [20, 2, 14, 26]]


def test_single_stream_stays_as_it_is() -> None:
    (only,) = swap_channels((labelled(0),))
    torch.testing.assert_close(only, labelled(0))


def test_streams_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        swap_channels((torch.zeros(1, 8, 4, 4), torch.zeros(1, 8, 4, 5)))


def test_channels_that_cannot_be_quartered_are_refused() -> None:
    with pytest.raises(ValueError, match="6 channels"):
        swap_channels((torch.zeros(1, 6, 4, 4), torch.zeros(1, 6, 4, 4)))


def test_each_stream_mixes_the_swapped_channels_with_its_own_block() -> None:
    generator = torch.Generator().manual_seed(5)
    module = StateSpaceChannelSwapping(8, state_size=3)
    formulas.randomise(module, generator)
    rgb, thermal = torch.randn(2, 1, 8, 3, 4, generator=generator)
    with torch.no_grad():
        out = module(rgb, thermal)
    r, t = np.split(formulas.to_array(rgb[0]), 4), np.split(formulas.to_array(thermal[0]), 4)
    swapped = [np.concatenate([r[0], t[1], r[2], t[3]]), np.concatenate([t[0], r[1], t[2], r[3]])]
    block: Any
    for got, x, block in zip(out, swapped, module.blocks, strict=True):
        expected = formulas.vss(x, block)
        np.testing.assert_allclose(got[0].numpy(), expected, rtol=1e-4, atol=2e-5 * np.abs(expected).max())
