# SPDX-License-Identifier: Apache-2.0
"""Divide the CPU among the inference threads of several camera pairs."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from fusion_mamba_ros.ros.detector.parameters import DetectorParameters


def threads_of_each(parameters: DetectorParameters, pairs: int) -> DetectorParameters:
    """Return the parameters with the CPU threads of one inference, if ``pairs`` camera pairs share the CPU."""
    if pairs == 1:
        return parameters
    total = _total(parameters)
    return replace(parameters, threads=max(1, total // min(pairs, total)))


def inference_threads(predictor: Any, parameters: DetectorParameters, pairs: int) -> int:
    """Return how many inferences run at the same time: one for each pair while there are CPU threads.

    It is 1 if the engine does not say that several threads may call it (``is_reentrant``), and on a device other than
    the CPU.
    """
    if not getattr(getattr(predictor, "engine", None), "is_reentrant", False):
        return 1
    return min(pairs, _total(parameters))


def _total(parameters: DetectorParameters) -> int:
    return parameters.threads or len(os.sched_getaffinity(0))
