# SPDX-License-Identifier: Apache-2.0
"""The results of a grid: mean and spread over the seeds, and the difference to the base."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.analysis.grid import Grid
from fusion_mamba_ros.analysis.grid_cell import RESULT
from fusion_mamba_ros.evaluation.detection_results import DetectionResults
from fusion_mamba_ros.evaluation.seed_bootstrap import SeedBootstrap, SeedComparison


@dataclass(frozen=True)
class VariantSummary:
    """One variant under one budget.

    ``figures``: the values of all complete seeds, by name: `fused mAP50`, `fused mAP`, `fused night`, `fused person`,
    and so on for each mode. ``own_mode``: the mode of the model itself. ``comparisons``: difference of mAP50 to the
    base over the seeds that both have, by mode; empty for the base itself.
    """

    name: str
    budget: str
    epochs: int
    seeds: tuple[int, ...]
    parameters: int
    cpu_seconds: float
    own_mode: str
    figures: dict[str, list[float]]
    comparisons: dict[str, SeedComparison] = field(default_factory=dict)

    def mean(self, figure: str) -> float | None:
        """Return the mean over the seeds, None if no seed has the figure."""
        values = self.figures.get(figure)
        return statistics.fmean(values) if values else None

    def spread(self, figure: str) -> float | None:
        """Return the standard deviation over the seeds, None for fewer than two."""
        values = self.figures.get(figure, [])
        return statistics.stdev(values) if len(values) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        comparisons = {mode: {**vars(c), "verdict": c.verdict} for mode, c in self.comparisons.items()}
        return {**vars(self), "seeds": list(self.seeds), "comparisons": comparisons}


def summarise(grid: Grid, epochs: Mapping[str, Mapping[str, int]], samples: int = 1000) -> list[VariantSummary]:
    """Return a summary of each variant and budget that has at least one complete cell."""
    bootstraps: dict[str, SeedBootstrap] = {}
    sampled: dict[tuple[Path, str], npt.NDArray[np.float64]] = {}

    def map50(folder: Path, mode: str) -> npt.NDArray[np.float64]:
        if (folder, mode) not in sampled:
            results = DetectionResults.load(folder / f"detections_{mode}.npz")
            names = [image.name for image in results.images]
            sampled[folder, mode] = bootstraps.setdefault(mode, SeedBootstrap(names, samples)).map50(results)
        return sampled[folder, mode]

    summaries = []
    for budget, of_variant in epochs.items():
        cells = {name: _complete(grid, name, count) for name, count in of_variant.items()}
        base = cells[grid.plan.base]
        for name, found in cells.items():
            if not found:
                continue
            comparisons = {}
            shared = [seed for seed in found if seed in base]
            if name != grid.plan.base and shared:
                for mode in next(iter(found.values()))[1]["metrics"]["modes"]:
                    if any(mode not in base[seed][1]["metrics"]["modes"] for seed in shared):
                        continue
                    first, second = ([map50(of[seed][0], mode) for seed in shared] for of in (base, found))
                    comparisons[mode] = bootstraps[mode].compare(first, second)
            summaries.append(_summary(name, budget, of_variant[name], found, comparisons))
    return summaries


def _complete(grid: Grid, variant: str, epochs: int) -> dict[int, tuple[Path, dict[str, Any]]]:
    """Return folder and result of the complete cells of a variant, by seed."""
    found = {}
    for seed in grid.plan.seeds:
        folder = grid.cell_folder(variant, epochs, seed)
        if (folder / RESULT).exists():
            found[seed] = (folder, json.loads((folder / RESULT).read_text(encoding="utf-8")))
    return found


def _summary(
    name: str,
    budget: str,
    epochs: int,
    found: Mapping[int, tuple[Path, dict[str, Any]]],
    comparisons: dict[str, SeedComparison],
) -> VariantSummary:
    results = [result for _, result in found.values()]
    return VariantSummary(
        name,
        budget,
        epochs,
        tuple(found),
        results[0]["parameters"],
        statistics.fmean(result["cpu_seconds"] for result in results),
        next(iter(results[0]["metrics"]["modes"])),
        _figures(results),
        comparisons,
    )


def _figures(results: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for result in results:
        for mode, values in result["metrics"]["modes"].items():
            found = {"mAP50": values["mAP50"], "mAP": values["mAP"]}
            found |= {group: metrics["mAP50"] for group, metrics in values["groups"].items()}
            found |= {label: metrics["AP50"] for label, metrics in values["per_class"].items()}
            for figure, value in found.items():
                if value is not None:
                    figures.setdefault(f"{mode} {figure}", []).append(value)
    return figures
