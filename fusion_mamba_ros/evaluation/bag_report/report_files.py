# SPDX-License-Identifier: Apache-2.0
"""Make all files of the evaluation of one bag: the figures, the page and the worst frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion_mamba_ros.bags.bag_reading import BagError
from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import BagEvaluation
from fusion_mamba_ros.evaluation.bag_evaluation.scored_frame import FramePicker
from fusion_mamba_ros.evaluation.bag_report.bag_page import bag_page
from fusion_mamba_ros.evaluation.bag_report.frame_drawing import (
    WORST_FRAMES_FOLDER,
    DrawnFrame,
    drawn_frame,
    thumbnail,
    worst_frame_files,
)
from fusion_mamba_ros.evaluation.bag_report.frame_images import read_frame_images
from fusion_mamba_ros.evaluation.bag_report.frame_view import FrameView
from fusion_mamba_ros.evaluation.bag_report.page import PAGE_FILE


@dataclass(frozen=True)
class PageOptions:
    """What a page shows besides the figures: the ``command`` line that made it, and the number of ``worst`` frames."""

    command: str = ""
    worst: int = 12


@dataclass
class _DrawnFrames:
    """The drawn frames of a page: those that got worse and the worst, worst first, and thumbnails in order of time."""

    worst: list[DrawnFrame] = field(default_factory=list)
    worse: list[DrawnFrame] = field(default_factory=list)
    thumbnails: list[DrawnFrame] = field(default_factory=list)


def report_files(
    evaluation: BagEvaluation,
    picker: FramePicker,
    *,
    name: str,
    command: str,
    comparison: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """Return the files by name: those of `BagEvaluation.files`, `report.html` and `worst_frames/`.

    The images of the frames in ``picker`` are read from the bag in a second pass. ``comparison`` is the section of a
    comparison with an earlier run.
    """
    shown = _drawn_frames(evaluation, picker)
    page = bag_page(
        name,
        evaluation.report,
        evaluation.records,
        command=command,
        worst=shown.worst,
        thumbnails=shown.thumbnails,
        comparison=comparison,
        worse=shown.worse,
    )
    return {**worst_frame_files(shown.worst), PAGE_FILE: page, **evaluation.files()}


def remove_old_worst_frames(folder: Path) -> None:
    """Delete the drawn frames of an earlier evaluation in ``folder``."""
    for old in (folder / WORST_FRAMES_FOLDER).glob("*.jpg"):
        old.unlink()


def _drawn_frames(evaluation: BagEvaluation, picker: FramePicker) -> _DrawnFrames:
    shown = _DrawnFrames()
    if not evaluation.records:
        return shown
    report = evaluation.report
    names = report["subject"]["class_names"]
    topics = {camera: section["topic"] for camera, section in report["cameras"].items()}
    view = FrameView.of(evaluation)
    start_ns = min(record.stamp_ns for record in evaluation.records)
    worst, worse, samples = picker.worst, picker.worse, picker.samples
    # A frame can be in several lists.
    frames = list({id(frame): frame for frame in (*worst, *worse, *samples)}.values())
    large = {id(frame) for frame in (*worst, *worse)}
    small = {id(frame) for frame in samples}
    drawn: dict[int, DrawnFrame] = {}
    try:
        for frame, images in read_frame_images(Path(report["bag"]["path"]), topics, frames):
            if id(frame) in large:
                drawn[id(frame)] = drawn_frame(frame, images, names, start_ns=start_ns, view=view)
            if id(frame) in small:
                shown.thumbnails.append(thumbnail(frame, images, names, start_ns=start_ns, view=view))
    except BagError:
        # The report already says what cannot be read.
        return shown
    shown.worst = [drawn[id(frame)] for frame in worst if id(frame) in drawn]
    shown.worse = [drawn[id(frame)] for frame in worse if id(frame) in drawn]
    shown.thumbnails.sort(key=lambda item: item.seconds)
    return shown
