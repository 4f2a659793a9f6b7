# SPDX-License-Identifier: Apache-2.0
"""Convert the first filters of a published network to the channels of a stream."""

from __future__ import annotations

from torch import Tensor


def grey_stem(filters: Tensor, channels: int) -> Tensor:
    """Return the filters of a stem (O, 3, k, k) converted to ``channels`` input channels.

    A grey image repeated in all channels gives the same result with the converted filters as with the RGB filters.
    """
    if filters.shape[1] == channels:
        return filters
    return filters.sum(dim=1, keepdim=True).expand(-1, channels, -1, -1) / channels
