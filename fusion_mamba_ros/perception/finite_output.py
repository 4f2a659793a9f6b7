# SPDX-License-Identifier: Apache-2.0
"""The error for network outputs that contain NaN or infinity. Thresholding would turn them into "no objects"."""

from __future__ import annotations

NOT_FINITE = "the network's output is not finite (NaN or infinity)"
"""Start of the message of an engine whose network computed NaN or infinity."""


class NonFiniteOutputError(ValueError):
    """Raised if the network's output contains NaN or infinity. The message is one sentence with the remedy."""
