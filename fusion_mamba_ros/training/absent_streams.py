# SPDX-License-Identifier: Apache-2.0
"""What the stream of a modality does in a batch that has no image of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from fusion_mamba_ros.network import FusionMambaDetector


@contextmanager
def statistics_kept(model: FusionMambaDetector, absent: Iterable[str]) -> Iterator[None]:
    """Let the backbones of the modalities ``absent`` normalise as in inference, for one forward pass.

    The variance of a map of one value is zero, so that batch normalisation by it would multiply gradients by
    1 / sqrt(eps) in each layer, and the running statistics would forget what images look like.
    """
    norms = [
        module
        for name in absent
        for module in model.backbones[name].modules()
        if isinstance(module, nn.BatchNorm2d) and module.training
    ]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
