# SPDX-License-Identifier: Apache-2.0
"""Make all files of the evaluation of one bag: the figures, the page and the worst frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fusion_mamba_ros.bags.bag_reading import BagError
from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import BagEvaluation
from fusion_mamba_ros.evaluation.bag_evaluation.scored_frame import FramePicker
from fusion_mamba_ros.evaluation.bag_report.bag_page import bag_page
from fusion_mamba_ros.evaluation.bag_report.frame_drawing import (
    PICTURES_FOLDER,
    Picture,
    frame_picture,
    picture_files,
    thumbnail,
)
from fusion_mamba_ros.evaluation.bag_report.frame_images import read_frame_images
from fusion_mamba_ros.evaluation.bag_report.page import PAGE_FILE


@dataclass(frozen=True)
class PageOptions:
    """What a page shows besides the figures: the ``command`` line that made it, and the number of ``worst`` frames."""

    command: str = ""
    worst: int = 12


def report_files(evaluation: BagEvaluation, picker: FramePicker, *, name: str, command: str) -> dict[str, bytes]:
    """Return the files by name: those of `BagEvaluation.files`, `report.html` and `worst_frames/`.

    The images of the frames in ``picker`` are read from the bag in a second pass.
    """
    worst, thumbnails = _pictures(evaluation, picker)
    page = bag_page(name, evaluation.report, evaluation.records, command=command, worst=worst, thumbnails=thumbnails)
    return {**picture_files(worst), PAGE_FILE: page, **evaluation.files()}


def remove_old_pictures(folder: Path) -> None:
    """Delete the pictures of an earlier evaluation in ``folder``."""
    for old in (folder / PICTURES_FOLDER).glob("*.jpg"):
        old.unlink()


def _pictures(evaluation: BagEvaluation, picker: FramePicker) -> tuple[list[Picture], list[Picture]]:
    """Return the pictures of the worst frames, worst first, and the thumbnails in order of time."""
    if not evaluation.records:
        return [], []
    report = evaluation.report
    worst, samples = picker.worst, picker.samples
    # A frame can be both.
    frames = list({id(frame): frame for frame in (*worst, *samples)}.values())
    ranks = {id(frame): rank for rank, frame in enumerate(worst)}
    sampled = {id(frame) for frame in samples}
    topics = {camera: section["topic"] for camera, section in report["cameras"].items()}
    names = report["subject"]["class_names"]
    start_ns = min(record.stamp_ns for record in evaluation.records)
    drawn: dict[int, Picture] = {}
    small: list[Picture] = []
    try:
        for frame, images in read_frame_images(Path(report["bag"]["path"]), topics, frames):
            rank = ranks.get(id(frame))
            if rank is not None:
                drawn[rank] = frame_picture(frame, images, names, start_ns=start_ns, homography=evaluation.homography)
            if id(frame) in sampled:
                small.append(thumbnail(frame, images, names, start_ns=start_ns))
    except BagError:
        # The report already says what cannot be read.
        return [], []
    return [drawn[rank] for rank in sorted(drawn)], sorted(small, key=lambda picture: picture.seconds)
