# SPDX-License-Identifier: Apache-2.0
"""The times of the stages of a prediction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageTimes:
    """The times of the stages of one prediction, in milliseconds."""

    preprocess_ms: float = 0.0
    inference_ms: float = 0.0
    postprocess_ms: float = 0.0
