# SPDX-License-Identifier: Apache-2.0
"""Compute the geometry of charts. The templates write it as SVG, in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 12.0, 20.0, 34.0
_ROW_HEIGHT, _ROW_GAP = 12.0, 4.0


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: its position in the drawing and its text."""

    position: float
    text: str


@dataclass(frozen=True)
class Shape:
    """A line or an area: SVG path, number of its colour and how many values it shows."""

    path: str
    colour: int
    values: int
    name: str = ""
    filled: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart with two axes. ``points`` counts the values drawn."""

    title: str
    width: float
    height: float
    x_label: str
    y_label: str
    x_ticks: list[Tick] = field(default_factory=list)
    y_ticks: list[Tick] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)

    @property
    def points(self) -> int:
        """Number of values drawn."""
        return sum(shape.values for shape in self.shapes)

    @property
    def left(self) -> float:
        """Left end of the plot."""
        return _LEFT

    @property
    def right(self) -> float:
        """Right end of the plot."""
        return self.width - _RIGHT

    @property
    def top(self) -> float:
        """Upper end of the plot."""
        return _TOP

    @property
    def bottom(self) -> float:
        """Lower end of the plot."""
        return self.height - _BOTTOM


@dataclass(frozen=True)
class Line:
    """Values to draw as a line. NaN interrupts it."""

    name: str
    x: Sequence[float] | npt.NDArray[np.floating]
    y: Sequence[float] | npt.NDArray[np.floating]
    colour: int = 0


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float] | None = None,
    size: tuple[float, float] = (360.0, 240.0),
) -> Chart:
    """Return a chart of lines. Without ``y_range`` the axis covers all values and zero."""
    y_range = y_range or _range([value for line in lines for value in line.y])
    chart = _empty(title, x_label, y_label, x_range, y_range, size)
    for line in lines:
        x, y = np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)
        path, pen_down = [], False
        for at, value in zip(_positions(x, x_range, chart.left, chart.right), y.tolist(), strict=True):
            if math.isfinite(value):
                height = _positions(np.array([value]), y_range, chart.bottom, chart.top)[0]
                # A lone value still shows: the line starts with a stroke of half a pixel.
                path.append(f"L{at:.1f} {height:.1f}" if pen_down else f"M{at:.1f} {height:.1f}h.5")
            pen_down = math.isfinite(value)
        chart.shapes.append(Shape("".join(path), line.colour, int(np.isfinite(y).sum()), line.name))
    return chart


def bar_chart(
    title: str,
    edges: Sequence[float],
    groups: Sequence[tuple[str, Sequence[int], int]],
    *,
    x_label: str,
    y_label: str,
    size: tuple[float, float] = (360.0, 240.0),
) -> Chart:
    """Return a histogram. ``groups`` (name, counts between the ``edges``, colour) are stacked."""
    total = np.sum([np.asarray(counts, np.int64) for _, counts, _ in groups], axis=0)
    x_range = (float(edges[0]), float(edges[-1]))
    y_range = (0.0, float(max(1, total.max(initial=1))))
    chart = _empty(title, x_label, y_label, x_range, y_range, size)
    positions = _positions(np.asarray(edges, np.float64), x_range, chart.left, chart.right)
    below = np.zeros(len(edges) - 1)
    for name, counts, colour in groups:
        above = below + np.asarray(counts, np.float64)
        path = []
        for index in np.flatnonzero(above > below).tolist():
            low, high = _positions(np.array([below[index], above[index]]), y_range, chart.bottom, chart.top)
            left, right = positions[index], positions[index + 1]
            path.append(f"M{left:.1f} {low:.1f}V{high:.1f}H{max(left + 0.5, right - 1):.1f}V{low:.1f}Z")
        chart.shapes.append(Shape("".join(path), colour, int(sum(counts)), name, filled=True))
        below = above
    return chart


def strip_chart(
    title: str,
    rows: Sequence[tuple[str, Sequence[tuple[float, float]], int]],
    *,
    x_label: str,
    x_range: tuple[float, float],
    width: float,
) -> Chart:
    """Return a chart with a row for each of ``rows``: its name, intervals (from, to) on the x axis, and colour."""
    height = _TOP + _BOTTOM + len(rows) * (_ROW_HEIGHT + _ROW_GAP)
    chart = Chart(title, width, height, x_label, "", _ticks(x_range, _LEFT, width - _RIGHT))
    for index, (name, intervals, colour) in enumerate(rows):
        top = _TOP + index * (_ROW_HEIGHT + _ROW_GAP)
        path = []
        for start, end in intervals:
            left, right = _positions(np.array([start, end]), x_range, chart.left, chart.right)
            path.append(f"M{left:.1f} {top:.1f}H{max(left + 0.5, right):.1f}V{top + _ROW_HEIGHT:.1f}H{left:.1f}Z")
        chart.shapes.append(Shape("".join(path), colour, len(intervals), name, filled=True))
    return chart


def _empty(
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    size: tuple[float, float],
) -> Chart:
    width, height = size
    x_ticks = _ticks(x_range, _LEFT, width - _RIGHT)
    y_ticks = _ticks(y_range, height - _BOTTOM, _TOP, most=4)
    return Chart(title, width, height, x_label, y_label, x_ticks, y_ticks)


def _range(values: Sequence[float]) -> tuple[float, float]:
    known = [value for value in values if math.isfinite(value)]
    low, high = min([0.0, *known]), max([0.0, *known])
    return (low, high) if high > low else (0.0, 1.0)


def _positions(values: np.ndarray, ends: tuple[float, float], first: float, last: float) -> list[float]:
    low, high = ends
    share = (values - low) / (high - low) if high > low else np.zeros(len(values))
    return [float(position) for position in first + np.clip(share, 0.0, 1.0) * (last - first)]


def _ticks(ends: tuple[float, float], first: float, last: float, most: int = 6) -> list[Tick]:
    """Return marks at multiples of 1, 2 or 5 times a power of ten."""
    low, high = ends
    if not high > low:
        return [Tick(first, f"{low:g}")]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    values = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
    positions = _positions(values, ends, first, last)
    return [Tick(position, f"{value:.6g}") for position, value in zip(positions, values.tolist(), strict=True)]
