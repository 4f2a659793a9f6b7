# SPDX-License-Identifier: Apache-2.0
"""The evaluation report: metrics.json, HTML page and worst frames."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import pytest
from detection_cases import random_results
from test_evaluate import MODES, BrightRegions, LabelledPairs

from fusion_mamba_ros.evaluation.detection_results import DetectionResults
from fusion_mamba_ros.evaluation.evaluate import evaluate
from fusion_mamba_ros.evaluation.evaluation_report import write_report
from fusion_mamba_ros.evaluation.worst_frames import worst_frames
from fusion_mamba_ros.perception.detections import Mode

VOID = {"meta", "img", "br", "use", "path", "link"}


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.open_tags: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.references += [value for name, value in attributes if name in ("src", "href") and value]
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.references += [value for name, value in attributes if name in ("src", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open_tags.pop() == tag


@pytest.fixture
def report(tmp_path: Path) -> Path:
    dataset = LabelledPairs(6, broken=(4,))
    write_report(
        evaluate(BrightRegions(), dataset, MODES),
        dataset,
        tmp_path / "out",
        subject={"checkpoint": "<best>.safetensors", "split": "val"},
        worst_count=3,
    )
    return tmp_path / "out"


def test_metrics_json_is_plain_json_headed_by_what_was_evaluated(report: Path) -> None:
    content = json.loads((report / "metrics.json").read_text())
    assert content["checkpoint"] == "<best>.safetensors" and content["split"] == "val"
    assert content["modes"]["rgb_only"]["mAP50"] == pytest.approx(0.5)
    assert list(content["skipped"]) == ["pair4"]


def test_page_is_whole_and_refers_to_nothing_outside_itself(report: Path) -> None:
    text = (report / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open_tags == []
    assert page.references and all(reference.startswith(("data:", "#")) for reference in page.references)
    assert "&lt;best&gt;.safetensors" in text and "<best>" not in text
    assert text.count("<svg") == 2 * len(MODES) and "pair4" in text


def test_worst_frames_are_drawn_for_the_modes_that_miss(report: Path) -> None:
    assert not list((report / "worst" / "fused").glob("*.jpg"))
    images = sorted((report / "worst" / "rgb_only").glob("*.jpg"))
    assert len(images) == 3
    image = cv2.imread(str(images[0]))
    red = (image[..., 2] > 180) & (image[..., 1] < 110) & (image[..., 0] < 110)
    assert red.sum() > 50  # the missed person


def test_stored_detections_can_be_read_again(report: Path) -> None:
    assert DetectionResults.load(report / "detections_thermal_only.npz").mode is Mode.THERMAL_ONLY


def test_worst_frames_come_in_order_and_without_faultless_ones() -> None:
    frames = worst_frames(random_results(0, images=30, noise_count=3), 0.3, count=8)
    faults = [len(frame.matches.misses) + len(frame.matches.false_alarms) for frame in frames]
    assert faults == sorted(faults, reverse=True) and min(faults) > 0 and len(frames) == 8


def test_page_counts_the_pairs_of_each_mode_where_they_differ(tmp_path: Path) -> None:
    dataset = LabelledPairs(5)
    dataset[0] = replace(dataset[0], images={"thermal": dataset[0].images["thermal"]})
    evaluation = evaluate(BrightRegions(), dataset, MODES, with_groups=False)
    assert [item.metrics.images for item in evaluation.modes.values()] == [4, 4, 5]
    text = write_report(evaluation, dataset, tmp_path / "out", subject={}, worst_count=1).read_text()
    assert "<th>pairs</th>" in text
