# SPDX-License-Identifier: Apache-2.0
"""Write the figures of a robustness study as JSON, CSV, Markdown tables and plots."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_mamba_ros.analysis.degradations import Factor
from fusion_mamba_ros.analysis.robustness_plan import RobustnessPlan, pair_levels
from fusion_mamba_ros.analysis.robustness_plots import curves_figure, pair_figure
from fusion_mamba_ros.analysis.robustness_results import BreakingPoints, CheckpointFigures, ConditionFigures, Value
from fusion_mamba_ros.evaluation.seed_bootstrap import CONFIDENCE
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.mode import Mode

SMALL_SAMPLE = 100
_DEFINITION = (
    "Breaking points: *below single* is the first level at which the fused mode has a lower mAP50 than the better "
    "single mode at the same level; *clearly below* the first at which the interval of this difference is below zero; "
    "*half* the first at which the fused mode has at most half of its clean mAP50. A dash: not up to the last level."
)


def write_robustness(
    plan: RobustnessPlan, found: Sequence[CheckpointFigures], facts: dict[str, Any], out: Path
) -> list[Path]:
    """Write `robustness.md`, `.json` and `.csv` to the folder ``out`` and return their paths."""
    document = {
        "facts": facts,
        "factors": {factor.name: _description(factor) for factor in _factors(plan)},
        "checkpoints": {
            figures.label: {
                "breaking_points": [figures.breaking_points(factor).to_dict() for factor in plan.factors],
                "conditions": [condition.to_dict() for condition in figures.conditions.values()],
            }
            for figures in found
        },
    }
    files = [out / f"robustness.{suffix}" for suffix in ("md", "json", "csv")]
    write_atomically(files[0], markdown(plan, found, facts).encode())
    write_atomically(files[1], f"{json.dumps(document, indent=1)}\n".encode())
    write_atomically(files[2], _table(found).encode())
    return files


def draw_robustness(plan: RobustnessPlan, found: Sequence[CheckpointFigures], out: Path) -> list[Path]:
    """Write a plot of all curves and one of each pair of factors to ``out`` and return their paths."""
    files = []
    plots = {"robustness": curves_figure(plan.factors, found)}
    plots |= {
        f"robustness_{first.name}+{second.name}": pair_figure(first, second, found) for first, second in plan.pairs
    }
    for name, figure in plots.items():
        files.append(out / f"{name}.png")
        figure.savefig(files[-1], dpi=110)
    return files


def _factors(plan: RobustnessPlan) -> list[Factor]:
    everything = [*plan.factors, *(factor for pair in plan.pairs for factor in pair)]
    return list({factor.name: factor for factor in everything}.values())


def _description(factor: Factor) -> dict[str, Any]:
    return {"modality": factor.modality, "unit": factor.unit, "description": factor.description}


def _table(found: Sequence[CheckpointFigures]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["checkpoint", "factor", "level", "factor_2", "level_2", "mode", "mAP50", "mAP50_low", "mAP50_high", "mAP"]
    )
    for figures in found:
        for item in figures.conditions.values():
            levels = [value for factor, level in item.condition.steps for value in (factor.name, f"{level:g}")]
            levels += [""] * (4 - len(levels))
            for mode, cell in item.cells.items():
                numbers = (cell.map50.value, cell.map50.low, cell.map50.high, cell.map)
                writer.writerow([figures.label, *levels, mode.value, *(f"{number:.6f}" for number in numbers)])
    return text.getvalue()


def markdown(plan: RobustnessPlan, found: Sequence[CheckpointFigures], facts: dict[str, Any]) -> str:
    """Return the breaking points, then a table of mAP50 for each factor and for each pair of factors."""
    lines = ["# Robustness", "", ", ".join(f"{name} {value}" for name, value in facts.items()), ""]
    lines += [f"mAP50 and mAP in percent, with the {100 * CONFIDENCE:.0f} % interval of a bootstrap over the pairs."]
    if facts["pairs"] < SMALL_SAMPLE:
        lines += [f"A small sample: {facts['pairs']} pairs. Read the intervals, not only the values."]
    lines += ["", _DEFINITION, "", "## Breaking points", ""]
    lines += _rows(
        [
            "checkpoint",
            "factor",
            "below single",
            "clearly below",
            "half",
            "fused at the last level",
            "better single there",
        ],
        [_breaking_row(figures, figures.breaking_points(factor)) for figures in found for factor in plan.factors],
    )
    for factor in plan.factors:
        lines += ["", f"## {factor.name}: {factor.description} ({factor.unit})", ""]
        lines += _rows(*_curve_rows(factor, found))
    for first, second in plan.pairs:
        for figures in found:
            lines += ["", f"## {first.name} and {second.name} at once, {figures.label}", ""]
            lines += ["mAP50 of the fused mode (its difference to the better single mode).", ""]
            lines += _rows(*_pair_rows(first, second, figures))
    return "\n".join(lines) + "\n"


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *(f"| {' | '.join(row)} |" for row in rows)]


def _breaking_row(figures: CheckpointFigures, points: BreakingPoints) -> list[str]:
    factor = points.factor
    last = figures.at((factor, factor.levels[-1]))

    def level(value: float | None) -> str:
        return "-" if value is None else f"{value:g} {factor.unit}"

    fused = f"{_percent(last.cells[Mode.FUSED].map50)} at {factor.levels[-1]:g}"
    single = f"{last.single.value} {_percent(last.cells[last.single].map50)}"
    levels = (level(value) for value in (points.below_single, points.clearly_below, points.half))
    return [figures.label, factor.name, *levels, fused, single]


def _curve_rows(factor: Factor, found: Sequence[CheckpointFigures]) -> tuple[list[str], list[list[str]]]:
    header = ["checkpoint", "mode", "figure", *(f"{level:g}" for level in (0.0, *factor.levels))]
    rows = []
    for figures in found:
        curve = [item for _, item in figures.curve(factor)]
        for mode in curve[0].cells:
            cells = [item.cells[mode] for item in curve]
            rows.append([figures.label, mode.value, "mAP50", *(_percent(cell.map50) for cell in cells)])
            rows.append([figures.label, mode.value, "mAP", *(f"{100 * cell.map:.1f}" for cell in cells)])
        rows.append([figures.label, "fused - single", "mAP50", *(_signed(item.margin) for item in curve)])
    return header, rows


def _pair_rows(first: Factor, second: Factor, figures: CheckpointFigures) -> tuple[list[str], list[list[str]]]:
    def text(item: ConditionFigures) -> str:
        return f"{100 * item.cells[Mode.FUSED].map50.value:.1f} ({100 * item.margin.value:+.1f})"

    columns = pair_levels(second)
    header = [f"{first.name} \\ {second.name}", *(f"{level:g}" for level in columns)]
    return header, [
        [f"{row:g}", *(text(figures.at((first, row), (second, column))) for column in columns)]
        for row in pair_levels(first)
    ]


def _percent(value: Value) -> str:
    return f"{100 * value.value:.1f} ({100 * value.low:.1f} to {100 * value.high:.1f})"


def _signed(value: Value) -> str:
    return f"{100 * value.value:+.1f} ({100 * value.low:+.1f} to {100 * value.high:+.1f})"
