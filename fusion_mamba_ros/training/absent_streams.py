# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation in the stream of a modality that has no image in the batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from fusion_mamba_ros.network import FusionMambaDetector


@contextmanager
def statistics_kept(model: FusionMambaDetector, absent: Iterable[str]) -> Iterator[None]:
    """Use the running statistics in the backbones of the modalities ``absent``, for one forward pass.

    A missing image is a map of one constant value with variance zero. With batch statistics, each layer would multiply
    the gradients by 1 / sqrt(eps), and the running statistics would drift away from those of real images.
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
