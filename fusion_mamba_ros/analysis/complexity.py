# SPDX-License-Identifier: Apache-2.0
"""Measure parameters, multiply-adds, memory and latency of the fusion operators, in one run on one machine."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fusion_mamba_ros.analysis.memory_growth import extra_memory
from fusion_mamba_ros.analysis.multiply_adds import count_multiply_adds
from fusion_mamba_ros.network import OPERATORS, FusionMamba, FusionMambaDetector, ModelConfig
from fusion_mamba_ros.network.config import STRIDES
from fusion_mamba_ros.network.detector import count_parameters
from fusion_mamba_ros.network.selective_scan import active_backend
from fusion_mamba_ros.perception.machine import processor_name

DSSF_COUNTS = (1, 2, 4, 8)


@dataclass(frozen=True)
class ComplexityPlan:
    """What to measure.

    ``operators``: names in `OPERATORS`; `fusion_mamba` is measured with each of ``dssf_counts``. ``sizes``: sides of
    square images in pixels. ``repeats``: timed calls of each model, in turn with those of the other models.
    ``limit_s``: a model whose call is expected to take longer is counted but not timed.
    """

    scales: tuple[str, ...] = ("n", "s", "m", "l")
    sizes: tuple[int, ...] = (320, 640, 960, 1280)
    operators: tuple[str, ...] = ()
    dssf_counts: tuple[int, ...] = DSSF_COUNTS
    backbone: str = "yolov8"
    max_channels: int | None = None
    repeats: int = 5
    limit_s: float = 30.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        wrong = [size for size in self.sizes if size % STRIDES[-1] or size < STRIDES[-1]]
        if wrong:
            raise ValueError(f"image size {wrong[0]}: give multiples of {STRIDES[-1]} pixels")
        if not self.scales or not self.sizes or self.repeats < 1:
            raise ValueError("nothing to measure: give at least one scale, one size and one repetition")
        object.__setattr__(self, "operators", self.operators or tuple(OPERATORS))
        self.configs(self.scales[0])

    def configs(self, scale: str) -> dict[str, ModelConfig]:
        """Return the model configurations by the name of their row, `fusion_mamba 8` for eight DSSF.

        Raises ``ValueError`` for an unknown operator, backbone or scale.
        """
        rows = {}
        for name in self.operators:
            base = ModelConfig(backbone=self.backbone, scale=scale, classes=3, fusion=name)
            if not isinstance(base.operator, FusionMamba):
                rows[name] = base
                continue
            for count in self.dssf_counts:
                operator = FusionMamba(dssf_count=count, max_channels=self.max_channels)
                rows[f"{name} {count}"] = ModelConfig(
                    backbone=self.backbone, scale=scale, classes=3, fusion=name, operator=operator
                )
        return rows


def measure_complexity(plan: ComplexityPlan) -> Iterator[dict[str, Any]]:
    """Yield one row for each scale, image size and operator, as plain values.

    ``tokens`` is the number of positions of one stream at the three levels together. ``detector`` and ``fusion`` hold
    the figures of the whole detector and of its three fusion modules: ``parameters``, ``multiply_adds``,
    ``extra_bytes`` (peak memory of one call beyond weights, inputs and result; None if unknown), ``seconds`` (all
    times in the order in which they were measured; empty if the call is expected to take longer than the limit).
    """
    for scale in plan.scales:
        detectors = {
            name: FusionMambaDetector(config).eval().to(plan.device) for name, config in plan.configs(scale).items()
        }
        latest: dict[tuple[str, str], tuple[int, float]] = {}
        for size in sorted(plan.sizes):
            yield from _measure_size(plan, scale, size, detectors, latest)
        del detectors
        gc.collect()


def describe_device(device: torch.device) -> dict[str, Any]:
    """Return what the figures depend on besides the network."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    return {
        "device": f"{device.type}, {name}",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "scan_backend": active_backend(device.type).name,
        "load_average": round(os.getloadavg()[0], 2),
    }


class _Fusions(nn.Module):
    """The three fusion modules of a detector, without the layers between them."""

    def __init__(self, fusions: nn.Module):
        super().__init__()
        self.fusions = fusions

    def forward(self, *levels: tuple[Tensor, ...]) -> list[Tensor]:
        return [fusion(*maps)[1] for fusion, maps in zip(self.fusions, levels, strict=True)]  # type: ignore[call-overload]


def _measure_size(
    plan: ComplexityPlan,
    scale: str,
    size: int,
    detectors: dict[str, FusionMambaDetector],
    latest: dict[tuple[str, str], tuple[int, float]],
) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    images = {
        name: torch.rand(1, channels, size, size, generator=generator).to(plan.device)
        for name, channels in next(iter(detectors.values())).config.modalities.items()
    }
    channels = next(iter(detectors.values())).config.level_channels
    levels = [
        tuple(torch.randn(1, c, size // s, size // s, generator=generator).to(plan.device) for _ in images)
        for c, s in zip(channels, STRIDES, strict=True)
    ]
    tokens = sum((size // stride) ** 2 for stride in STRIDES)
    parts: dict[tuple[str, str], tuple[nn.Module, tuple[Any, ...]]] = {}
    rows: dict[str, dict[str, Any]] = {}
    for name, detector in detectors.items():
        rows[name] = {"operator": name, "scale": scale, "size": size, "tokens": tokens}
        fusions = _Fusions(detector.fusions)
        for part, module, inputs in (("detector", detector, (images,)), ("fusion", fusions, tuple(levels))):
            parts[name, part] = (module, inputs)
            rows[name][part] = {
                "parameters": count_parameters(module),
                "multiply_adds": count_multiply_adds(module, *inputs).to_dict(),
                "extra_bytes": None,
                "seconds": [],
            }
    calls = {
        key: (lambda module=module, inputs=inputs: module(*inputs))
        for key, (module, inputs) in parts.items()
        if _expected_seconds(latest.get(key), tokens) <= plan.limit_s
    }
    with torch.no_grad():
        for (name, part), call in calls.items():
            # The first call also loads the code and the weights into the caches.
            seconds = _time(call, plan.device)
            rows[name][part]["extra_bytes"] = _peak_memory(call, plan.device)
            latest[name, part] = (tokens, seconds)
        for _ in range(plan.repeats):
            for (name, part), call in calls.items():
                rows[name][part]["seconds"].append(_time(call, plan.device))
    return list(rows.values())


def _expected_seconds(latest: tuple[int, float] | None, tokens: int) -> float:
    """Return the time that a call should take if it grows in proportion to the tokens."""
    return 0.0 if latest is None else latest[1] * tokens / latest[0]


def _time(call: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _peak_memory(call: Callable[[], Sequence[Tensor]], device: torch.device) -> int | None:
    if device.type != "cuda":
        return extra_memory(lambda: torch.cat([x.flatten() for x in call()]))
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result_bytes = sum(x.numel() * x.element_size() for x in call())
    return max(0, torch.cuda.max_memory_allocated(device) - before - result_bytes)
