# SPDX-License-Identifier: Apache-2.0
"""Draw latency, offset, recall, mode and missing output of a drive over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord
from fusion_mamba_ros.evaluation.bag_evaluation.report import is_expected
from fusion_mamba_ros.evaluation.bag_report.charts import Chart, Line, bar_chart, line_chart, strip_chart

# As many as the width of the plot can show.
_MOST_BINS = 300
_HISTOGRAM_BINS = 40
_WIDTH = 960.0
_SIZE = (_WIDTH, 170.0)
_NO_OUTPUT = "no output"
_SECONDS = "seconds since the first frame"
Values = npt.NDArray[np.float64]


def latency_of(records: Sequence[FrameRecord]) -> tuple[str, Values]:
    """Return the name of the time that is known of each frame, and this time in milliseconds (NaN: not known).

    Recorded detections have a latency. A detector that ran here has a computing time.
    """
    latency = np.array([np.nan if record.latency_ms is None else record.latency_ms for record in records])
    if np.isfinite(latency).any():
        return "latency", latency
    return "computing time", np.array([_computing_ms(record) for record in records])


def latency_histogram(records: Sequence[FrameRecord]) -> Chart | None:
    """Return the distribution of the latency, None if no frame has one."""
    name, values = latency_of(records)
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = min(0.0, float(known.min())), float(known.max())
    counts, edges = np.histogram(known, _HISTOGRAM_BINS, (low, high if high > low else low + 1.0))
    return bar_chart(
        f"Distribution of the {name}",
        edges.tolist(),
        [("frames", counts.tolist(), 0)],
        x_label=f"{name}, ms",
        y_label="frames",
        size=(520.0, 240.0),
    )


def timeline_charts(records: Sequence[FrameRecord]) -> list[Chart]:
    """Return the charts of a drive, one below the other, with the same time axis. Charts without a value are left out.

    Long drives are summarised: each point stands for the frames of one bin.
    """
    if not records:
        return []
    stamps = np.array([record.stamp_ns for record in records], np.int64)
    seconds = (stamps - stamps.min()) * 1e-9
    end = max(float(seconds.max()), 1e-3)
    count = int(min(_MOST_BINS, max(1, len(records))))
    bins = np.minimum((seconds / end * count).astype(np.int64), count - 1)
    x_range = (0.0, end)
    centres = (np.arange(count) + 0.5) * (end / count)

    def chart(title: str, lines: list[Line], y_label: str, y_range: tuple[float, float] | None = None) -> Chart:
        return line_chart(title, lines, x_label=_SECONDS, y_label=y_label, x_range=x_range, y_range=y_range, size=_SIZE)

    charts = []
    name, latency = latency_of(records)
    if np.isfinite(latency).any():
        lines = [
            Line("largest of the bin", centres, _binned(latency, bins, count, np.max), 1),
            Line("median of the bin", centres, _binned(latency, bins, count, np.median), 0),
        ]
        charts.append(chart(name.capitalize(), lines, "ms"))
    offsets = np.array([np.nan if record.offset_ms is None else record.offset_ms for record in records])
    if np.isfinite(offsets).any():
        lines = [Line("median of the bin", centres, _binned(offsets, bins, count, np.median), 2)]
        charts.append(chart("Offset of the pairs (thermal minus RGB)", lines, "ms"))
    found, boxes = _recall_counts(records)
    if boxes.any():
        sums = [np.bincount(bins, values, count) for values in (found, boxes)]
        recall = np.divide(sums[0], sums[1], out=np.full(count, np.nan), where=sums[1] > 0)
        lines = [Line("recall", centres, recall, 3)]
        charts.append(chart("Recall, frames without output count as misses", lines, "recall", (0.0, 1.0)))
    charts.append(_strips(records, seconds, x_range))
    return charts


def _strips(records: Sequence[FrameRecord], seconds: Values, x_range: tuple[float, float]) -> Chart:
    """Return a row for each mode and one for the frames without output."""
    shown = [record.has_output or is_expected(record) for record in records]
    states = [
        (record.mode or "unknown mode") if record.has_output else _NO_OUTPUT
        for record, chosen in zip(records, shown, strict=True)
        if chosen
    ]
    times = seconds[shown]
    least = (x_range[1] - x_range[0]) / _WIDTH
    rows: list[tuple[str, list[tuple[float, float]], int]] = []
    for state in (*sorted(set(states) - {_NO_OUTPUT}), _NO_OUTPUT):
        # The second colour warns.
        colour = 1 if state == _NO_OUTPUT else (0, 2, 3, 4, 5, 6)[len(rows) % 6]
        rows.append((state.replace("_", " "), _intervals(times, [item == state for item in states], least), colour))
    return strip_chart("Mode and missing output", rows, x_label=_SECONDS, x_range=x_range, width=_WIDTH)


def _intervals(times: Values, chosen: Sequence[bool], least: float) -> list[tuple[float, float]]:
    """Return the times covered by the chosen frames. Gaps that are too small to see are closed."""
    intervals: list[tuple[float, float]] = []
    for index, inside in enumerate(chosen):
        if not inside:
            continue
        start = float(times[index])
        end = max(start + least, min(start + 1.0, float(times[index + 1]) if index + 1 < len(times) else start))
        if intervals and start <= intervals[-1][1] + least:
            intervals[-1] = (intervals[-1][0], max(end, intervals[-1][1]))
        else:
            intervals.append((start, end))
    return intervals


def _binned(
    values: Values, bins: npt.NDArray[np.int64], count: int, summary: Callable[[Values], np.floating | float]
) -> Values:
    result = np.full(count, np.nan)
    known = np.isfinite(values)
    order = np.argsort(bins[known], kind="stable")
    owners, sorted_values = bins[known][order], values[known][order]
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    for owner, part in zip(owners[starts].tolist(), np.split(sorted_values, starts[1:]), strict=False):
        result[owner] = float(summary(part))
    return result


def _recall_counts(records: Sequence[FrameRecord]) -> tuple[Values, Values]:
    found = np.zeros(len(records))
    boxes = np.zeros(len(records))
    for index, record in enumerate(records):
        if record.ground_truth_stamp_ns is not None:
            hits = sum((record.true_positives or {}).values())
            found[index] = hits if record.has_output else 0
            boxes[index] = hits + sum((record.false_negatives or {}).values())
    return found, boxes


def _computing_ms(record: FrameRecord) -> float:
    if "predict" not in record.times_ms:
        return float("nan")
    return record.times_ms["predict"] + record.times_ms.get("decode", 0.0)
