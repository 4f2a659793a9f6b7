# SPDX-License-Identifier: Apache-2.0
"""Write the contributions of modalities as JSON, CSV, Markdown, a plot of the steps and overlays."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_mamba_ros.analysis.degradations import Factor
from fusion_mamba_ros.analysis.modality import ContributionStudy, FrameContributions
from fusion_mamba_ros.analysis.modality_figures import Agreement, ModalityFigures, Step, verdict
from fusion_mamba_ros.analysis.robustness import CLEAN
from fusion_mamba_ros.analysis.robustness_results import Value
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.occlusion import frame_shares, shares

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_modality(
    figures: ModalityFigures, factors: Sequence[Factor], facts: dict[str, Any], out: Path
) -> tuple[list[str], list[Path]]:
    """Write `modality.md`, `.json`, `.csv` and, with factors, `modality_steps.png`; return verdicts and files."""
    study = figures.study
    parts, agreement = figures.by_part(), figures.agreement()
    steps = {factor.name: figures.steps(factor) for factor in factors}
    sentences = [verdict(factor, steps[factor.name]) for factor in factors]
    document = {
        "facts": facts,
        "gates": study.no_gates or "read",
        "shares": {
            part: dict(zip(study.modalities, map(_plain, values), strict=True)) for part, values in parts.items()
        },
        "agreement": None if agreement is None else {**vars(agreement), "correlation": vars(agreement.correlation)},
        "steps": {name: [step.to_dict() for step in items] for name, items in steps.items()},
        "frames": [_frame(study, frame) for frame in study.frames[CLEAN.name]],
    }
    files = [out / f"modality.{suffix}" for suffix in ("md", "json", "csv")]
    text = _markdown(study, parts, agreement, {factor: steps[factor.name] for factor in factors}, sentences, facts)
    write_atomically(files[0], text.encode())
    write_atomically(files[1], f"{json.dumps(document, indent=1)}\n".encode())
    write_atomically(files[2], _table(study).encode())
    if factors:
        files.append(out / "modality_steps.png")
        _steps_figure({factor: steps[factor.name] for factor in factors}).savefig(files[-1], dpi=110)
    return sentences, files


def _plain(value: Value | None) -> dict[str, float] | None:
    return None if value is None else vars(value)


def _frame(study: ContributionStudy, frame: FrameContributions) -> dict[str, Any]:
    whole = frame_shares(frame.contributions)
    return {
        "name": frame.name,
        "group": frame.group,
        "detections": len(frame.detections),
        "shares": None if whole is None else dict(zip(study.modalities, whole.tolist(), strict=True)),
        "gate_shares": None
        if frame.frame_gates is None
        else dict(zip(study.modalities, frame.frame_gates.tolist(), strict=True)),
        "own_terms": frame.own,
    }


def _table(study: ContributionStudy) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = study.modalities
    header = ["condition", "pair", "class", "score", "x1", "y1", "x2", "y2"]
    for what in ("contribution", "share", "gate_share"):
        header += [f"{what}_{name}" for name in names]
    writer.writerow(header)
    for condition, frames in study.frames.items():
        for frame in frames:
            found = frame.detections
            for index, row in enumerate(frame.contributions):
                gates = [""] * len(names) if frame.gates is None else [f"{value:.6f}" for value in frame.gates[index]]
                writer.writerow(
                    [
                        *(condition, frame.name, study.class_names[found.labels[index]], f"{found.scores[index]:.6f}"),
                        *(f"{value:.2f}" for value in found.boxes[index]),
                        *(f"{value:.6f}" for value in (*row, *shares(row[None])[0])),
                        *gates,
                    ]
                )
    return text.getvalue()


def _markdown(
    study: ContributionStudy,
    parts: dict[str, list[Value | None]],
    agreement: Agreement | None,
    steps: dict[Factor, list[Step]],
    sentences: list[str],
    facts: dict[str, Any],
) -> str:
    lines = ["# Contribution of the modalities", "", ", ".join(f"{name} {value}" for name, value in facts.items()), ""]
    lines += [
        "Shares in percent by occlusion (Shapley values of the scores), with 95 % bootstrap intervals over the pairs."
    ]
    lines += ["", f"| detections | {' | '.join(study.modalities)} |", f"|{'---|' * (1 + len(study.modalities))}"]
    lines += [f"| {part} | {' | '.join(map(_text, values))} |" for part, values in parts.items()]
    lines += ["", "## Gated hidden states", ""]
    if study.no_gates is not None:
        lines += [f"Not read: {study.no_gates}."]
    else:
        own = [frame.own for frame in study.frames[CLEAN.name] if frame.own is not None]
        lines += [f"Own terms: {100 * sum(own) / len(own):.1f} % of all terms, mean over the pairs."]
        if agreement is None:
            lines += ["Too few detections, or too equal shares, to compare the gates with the occlusion."]
        else:
            found = agreement.correlation
            lines += [
                f"Correlation of the two shares of {study.modalities[0]} over {agreement.detections} detections: "
                f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f}); with shuffled detections "
                f"{agreement.shuffled_low:.2f} to {agreement.shuffled_high:.2f}."
            ]
    if steps:
        lines += ["", "## Steps of a degradation", "", *(f"- {sentence}" for sentence in sentences)]
    for factor, items in steps.items():
        lines += ["", f"### {factor.name} ({factor.unit}): share of {factor.modality}", ""]
        lines += ["| level | detections | by occlusion | change | by gates | change |", "|---|---|---|---|---|---|"]
        for step in items:
            values = (step.share, step.change, step.gate_share, step.gate_change)
            lines.append(f"| {step.level:g} | {step.detections} | {' | '.join(map(_text, values))} |")
    return "\n".join(lines) + "\n"


def _text(value: Value | None) -> str:
    return "-" if value is None else f"{100 * value.value:.1f} ({100 * value.low:.1f} to {100 * value.high:.1f})"


def _steps_figure(steps: dict[Factor, list[Step]]) -> Figure:
    """Return a panel for each factor: the share of the degraded modality against the level."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(steps) + 0.8, 3.4), layout="constrained")
    for panel, (factor, items) in zip(figure.subplots(1, len(steps), squeeze=False)[0], steps.items(), strict=True):
        for colour, name, values in (
            ("C0", "occlusion", [(step.level, step.share) for step in items]),
            ("C1", "gates", [(step.level, step.gate_share) for step in items]),
        ):
            known = [(level, value) for level, value in values if value is not None]
            if known:
                levels = [level for level, _ in known]
                panel.plot(levels, [100 * value.value for _, value in known], "o-", color=colour, label=name)
                bounds = ([100 * value.low for _, value in known], [100 * value.high for _, value in known])
                panel.fill_between(levels, *bounds, color=colour, alpha=0.15, linewidth=0)
        panel.set_title(factor.name)
        panel.set_xlabel(factor.unit)
        panel.set_ylabel(f"share of {factor.modality} in percent")
        panel.set_ylim(0, 100)
        panel.grid(alpha=0.3)
        if items:
            panel.legend(fontsize=8)
    return figure
