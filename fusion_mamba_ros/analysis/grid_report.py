# SPDX-License-Identifier: Apache-2.0
"""Write the results of a grid as JSON, a Markdown table, plots and an HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_mamba_ros.analysis.grid_plan import BUDGETS, GridPlan
from fusion_mamba_ros.analysis.grid_results import VariantSummary
from fusion_mamba_ros.evaluation import html_page
from fusion_mamba_ros.evaluation.seed_bootstrap import CONFIDENCE, SeedComparison
from fusion_mamba_ros.perception.atomic_write import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"better": "C2", "worse": "C3", "undecided": "0.5"}


def write_grid_report(plan: GridPlan, summaries: Sequence[VariantSummary], out: Path, facts: dict[str, Any]) -> Path:
    """Write `results.json`, `results.md`, `differences.png`, `cost.png` and `report.html`; return the page's path.

    ``facts`` describes the run as a whole; its entries are at the top of all files.
    """
    document = {"facts": facts, "plan": plan.to_dict(), "summaries": [summary.to_dict() for summary in summaries]}
    write_atomically(out / "results.json", f"{json.dumps(document, indent=1)}\n".encode())
    figures = {"differences": differences_chart(summaries), "cost": cost_chart(summaries)}
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=110, bbox_inches="tight")
    lines = ["# Ablation", "", *_notes(plan, facts)]
    sections = [html_page.note(text) for text in _notes(plan, facts)]
    for title, header, rows in _tables(plan, summaries):
        lines += ["", f"## {title}", "", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        sections += [html_page.heading(title), html_page.table(header, rows)]
    captions = {
        "differences": f"mAP50 in points, {100 * CONFIDENCE:.0f} % intervals. Grey: the interval contains zero.",
        "cost": "Mean mAP50 and CPU time of a cell, with its evaluation; bars: one standard deviation.",
    }
    sections += [html_page.chart(figure, captions[name]) for name, figure in figures.items()]
    write_atomically(out / "results.md", ("\n".join(lines) + "\n").encode())
    page = out / "report.html"
    write_atomically(page, html_page.page("Ablation", sections).encode("utf-8", "backslashreplace"))
    return page


def _notes(plan: GridPlan, facts: dict[str, Any]) -> list[str]:
    start = "All cells of a seed start from the same random weights."
    if plan.start is not None:
        changes = ", ".join(f"{name} {value}" for name, value in plan.start.changes.items()) or "the recipe itself"
        start = (
            f"All cells of a seed start from one run of {plan.start.epochs} epochs ({changes}); tensors of a "
            "variant that this run does not have start at random. The shared start favours the operator of that run."
        )
    return [
        ", ".join(f"{name} {value}" for name, value in facts.items()),
        start,
        "Figures are those of the last weights, mAP50 in percent, mean ± standard deviation over the seeds. "
        f"Difference to {plan.base}: paired bootstrap that draws seeds and images, {100 * CONFIDENCE:.0f} % interval. "
        "An interval that contains zero is undecided. With few seeds, the interval is too narrow.",
    ]


def _tables(plan: GridPlan, summaries: Sequence[VariantSummary]) -> list[tuple[str, list[str], list[list[str]]]]:
    tables = []
    for budget in dict.fromkeys(summary.budget for summary in summaries):
        group = [summary for summary in summaries if summary.budget == budget]
        own = group[0].own_mode
        title = f"Equal {budget}"
        header = ["variant", "seeds", "epochs", "parameters", "CPU min", "mAP50", "mAP", "difference", "interval", "p"]
        rows = [
            [
                summary.name,
                str(len(summary.seeds)),
                str(summary.epochs),
                f"{summary.parameters / 1e6:.2f} M",
                f"{summary.cpu_seconds / 60:.1f}",
                _percent(summary, f"{own} mAP50"),
                _percent(summary, f"{own} mAP"),
                *_difference(summary.comparisons.get(own)),
            ]
            for summary in group
        ]
        tables.append((f"{title}, {own}", [*header, "verdict"], rows))
        parts = list(dict.fromkeys(figure for summary in group for figure in summary.figures))
        parts = [figure for figure in parts if not figure.endswith(" mAP")]
        rows = [[summary.name, *(_percent(summary, figure) for figure in parts)] for summary in group]
        tables.append((f"{title}: mAP50 by mode, class and group", ["variant", *parts], rows))
    return tables


def _percent(summary: VariantSummary, figure: str) -> str:
    mean, spread = summary.mean(figure), summary.spread(figure)
    if mean is None:
        return "-"
    return f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def _difference(found: SeedComparison | None) -> list[str]:
    if found is None:
        return ["-", "-", "-", "-"]
    interval = f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"
    return [f"{100 * found.difference:+.1f}", interval, f"{found.p_value:.3f}", found.verdict]


def differences_chart(summaries: Sequence[VariantSummary]) -> Figure:
    """Return the differences to the base with their intervals: a panel for each budget."""
    from matplotlib.figure import Figure

    budgets = list(dict.fromkeys(summary.budget for summary in summaries)) or ["epochs"]
    most = max((sum(s.budget == budget for s in summaries) for budget in budgets), default=1)
    figure = Figure(figsize=(4.6 * len(budgets), 1.4 + 0.32 * most), layout="constrained")
    for panel, budget in zip(figure.subplots(1, len(budgets), squeeze=False)[0], budgets, strict=True):
        shown = [s for s in summaries if s.budget == budget and s.comparisons.get(s.own_mode)]
        for y, summary in enumerate(shown):
            found = summary.comparisons[summary.own_mode]
            colour = _COLOURS[found.verdict]
            panel.plot([100 * found.low, 100 * found.high], [y, y], color=colour)
            panel.plot(100 * found.difference, y, "o", color=colour)
        panel.axvline(0, color="0.3", linewidth=0.8)
        panel.set_yticks(range(len(shown)), [summary.name for summary in shown])
        panel.invert_yaxis()
        panel.set_title(f"equal {budget}")
        panel.set_xlabel("mAP50 minus that of the base in percentage points")
    return figure


def cost_chart(summaries: Sequence[VariantSummary]) -> Figure:
    """Return mAP50 against the CPU time of a cell."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    panel = figure.subplots()
    markers = dict(zip(BUDGETS, "os", strict=True))
    for summary in summaries:
        name = f"{summary.own_mode} mAP50"
        mean, spread = summary.mean(name), summary.spread(name)
        if mean is None:
            continue
        minutes = summary.cpu_seconds / 60
        panel.errorbar(
            minutes, 100 * mean, yerr=100 * (spread or 0), fmt=markers[summary.budget], capsize=2, markersize=4
        )
        panel.annotate(f" {summary.name}", (minutes, 100 * mean), fontsize=7)
    panel.set_xlabel("CPU time of a cell in minutes (circle: equal epochs, square: equal time)")
    panel.set_ylabel("mAP50 in percent")
    panel.grid(alpha=0.3)
    return figure
