# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluation_bags import BOX, FAR_BOX, OneBoxDetector, boxes, rgb, stamp, thermal, write_bag
from fleet_workers import run_here
from typer.testing import CliRunner

import fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag as evaluate_bag_module
import fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bags as evaluate_bags_module
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord, Outcome, read_records
from fusion_mamba_ros.evaluation.bag_evaluation.scored_frame import FramePicker, ScoredFrame
from fusion_mamba_ros.evaluation.bag_report.charts import Line, bar_chart, line_chart
from fusion_mamba_ros.evaluation.bag_report.frame_images import read_frame_images
from fusion_mamba_ros.evaluation.bag_report.page import render
from fusion_mamba_ros.evaluation.bag_report.timeline import latency_histogram, timeline_charts
from fusion_mamba_ros.perception.detections import Detections

TOPICS = {"rgb": "/rgb/image_raw", "thermal": "/thermal/image_raw"}
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: bytes) -> _Elements:
    elements = _Elements()
    elements.feed(page.decode())
    return elements


def frame(index: int, *, misses: int = 0, false_alarms: int = 0) -> ScoredFrame:
    record = FrameRecord(index, stamp(index), Outcome.EVALUATED, camera="pair", mode="fused")
    record.rgb_stamp_ns = record.thermal_stamp_ns = stamp(index)
    record.false_negatives, record.false_positives = {"person": misses}, {"person": false_alarms}
    return ScoredFrame(record, NOTHING)


def write_drive(path: Path) -> Path:
    messages = []
    for index in range(10):
        found = [("person", FAR_BOX if index in (3, 6) else BOX, 0.9)]
        messages += [rgb(index), thermal(index), boxes("/ground_truth", index, [("person", BOX, 1.0)])]
        messages.append(boxes("/detections", index, found, received_ns=stamp(index) + 40_000_000))
    return write_bag(path, messages)


def test_the_picker_keeps_the_worst_frames_and_samples_at_equal_distances() -> None:
    seed = 11
    errors = np.random.default_rng(seed).integers(0, 4, (1000, 2)).tolist()
    picker = FramePicker(5)
    for index, (misses, false_alarms) in enumerate(errors):
        picker.offer(frame(index, misses=misses, false_alarms=false_alarms))
    ranked = sorted(range(1000), key=lambda index: (-sum(errors[index]), -errors[index][0], index))
    assert [item.record.index for item in picker.worst] == ranked[:5], f"seed {seed}"
    samples = [item.record.index for item in picker.samples]
    assert 12 <= len(samples) <= 24 and len(set(np.diff(samples))) == 1 and samples[-1] > 900


def test_a_frame_without_an_error_is_not_among_the_worst() -> None:
    picker = FramePicker(5)
    picker.offer(frame(0))
    picker.offer(frame(1, false_alarms=1))
    assert [item.record.index for item in picker.worst] == [1] and len(picker.samples) == 2


def test_the_second_pass_finds_the_images_of_each_frame_though_one_is_corrupt_and_one_stamp_repeats(
    tmp_path: Path,
) -> None:
    messages = [rgb(0), thermal(0), rgb(1), thermal(1), thermal(1, encoding="nonsense"), rgb(2, encoding="nonsense")]
    bag = write_bag(tmp_path / "bag", [*messages, thermal(2), rgb(3, encoding="nonsense"), rgb(4)])
    only_rgb = frame(3)
    only_rgb.record.thermal_stamp_ns = None
    found = {
        item.record.index: images
        for item, images in read_frame_images(bag, TOPICS, [frame(2), only_rgb, frame(1), frame(5)])
    }
    assert {index: sorted(images) for index, images in found.items()} == {1: ["rgb", "thermal"], 2: ["thermal"]}
    assert found[1]["rgb"][0, 0, 0] == 7 and found[1]["thermal"][0, 0] == 11


def test_eval_bag_writes_a_page_with_the_command_and_the_worst_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag, out = write_drive(tmp_path / "a bag"), tmp_path / "out"
    (out / "worst_frames").mkdir(parents=True)
    (out / "worst_frames/99_old.jpg").write_bytes(b"of an earlier run")
    arguments = ["eval-bag", str(bag), "--detections", "/detections", "--ground-truth", "/ground_truth"]
    arguments += ["--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["/anywhere/fusion-mamba", *arguments])
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0 and str(out / "report.html") in result.output
    page = parsed((out / "report.html").read_bytes())
    assert f"fusion-mamba eval-bag '{bag}' --detections /detections" in page.text
    files = sorted(path.name for path in (out / "worst_frames").iterdir())
    assert files == [f"01_{stamp(3)}.jpg", f"02_{stamp(6)}.jpg", "captions.json"]
    image = cv2.imread(str(out / "worst_frames" / files[0]))
    # The missed box is red on RGB and thermal, the false alarm orange.
    zoom = 480 / 40
    height, width = image.shape[:2]
    # Below the caption; the thermal image ends at the right edge.
    row, column = height - round(32 * zoom) + round((BOX[1] + BOX[3]) / 2 * zoom), round(BOX[0] * zoom)
    for left in (column, width - 480 + column):
        blue, _, red = image[row, left - 3 : left + 4].astype(int).max(axis=0)
        assert red > 150 and red > blue + 40
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(sources) == 2 + 10 and all(source.startswith("data:image/jpeg;base64,") for source in sources)


def test_without_images_or_ground_truth_the_page_has_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = write_drive(tmp_path / "bag")
    monkeypatch.setattr(evaluate_bag_module, "load_predictor", lambda options: OneBoxDetector())
    arguments = ["eval-bag", str(bag), "--out", str(tmp_path / "out"), "--speed", "2"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    page = parsed((tmp_path / "out/report.html").read_bytes())
    assert "accuracy is not available" in page.text and "A live node of this speed" in page.text
    assert "Distribution of the computing time" in page.text
    assert sum(tag == "img" for tag, _ in page.tags) == 10  # thumbnails
    assert CliRunner().invoke(app, [*arguments, "--worst", "0"]).exit_code == 0
    page = parsed((tmp_path / "out/report.html").read_bytes())
    assert not any(tag == "img" for tag, _ in page.tags) and "Timeline" in page.text


def test_a_name_that_is_not_utf8_does_not_stop_the_page() -> None:
    content = {"title": "a\udcff<b>", "command": "x", "version": "1", "verdict": "", "verdict_text": "", "figures": []}
    lists: dict[str, object] = dict.fromkeys(("bags", "sentences", "classes", "charts", "worst"), ())
    page = render("fleet.html", {**content, **lists, "comparison": None}).decode()
    assert "<b>" not in page and "&lt;b&gt;" in page


def test_the_timeline_shows_gaps_of_the_output_and_recall_over_all_frames(tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "bag")
    arguments = ["eval-bag", str(bag), "--detections", "/detections", "--ground-truth", "/ground_truth"]
    CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    records = list(read_records(tmp_path / "out/frames.jsonl"))
    charts = {chart.title: chart for chart in timeline_charts(records)}
    recall = charts["Recall, frames without output count as misses"].shapes[0]
    heights = [float(part.split()[1].partition("h")[0]) for part in recall.path.replace("L", "M").split("M")[1:]]
    low, high = max(heights), min(heights)
    assert [index for index, height in enumerate(heights) if height == low] == [3, 6] and low > high
    assert charts["Latency"].points == 20 and charts["Offset of the pairs (thermal minus RGB)"].points == 10
    rows = {shape.name: shape.values for shape in charts["Mode and missing output"].shapes}
    assert rows == {"fused": 1, "no output": 0}
    for record in records[4:8]:
        record.detections = None
    rows = {shape.name: shape.values for shape in timeline_charts(records)[-1].shapes}
    assert rows == {"fused": 2, "no output": 1}
    histogram = latency_histogram(records)
    assert histogram is not None and histogram.points == 10
    assert latency_histogram([]) is None and timeline_charts([]) == []


def test_a_chart_of_equal_values_or_of_none_has_finite_positions() -> None:
    charts = [
        line_chart("t", [Line("a", [0.0], [0.0])], x_label="x", y_label="y", x_range=(0, 0)),
        line_chart("t", [Line("a", [0, 1, 2], [np.nan, -5.0, np.nan])], x_label="x", y_label="y", x_range=(0, 2)),
        bar_chart("t", [0.0, 1.0], [("a", [0], 0)], x_label="x", y_label="y"),
    ]
    for chart in charts:
        text = "".join(shape.path for shape in chart.shapes)
        assert "nan" not in text and "inf" not in text
        assert all(np.isfinite(tick.position) for tick in (*chart.x_ticks, *chart.y_ticks))
    assert [chart.points for chart in charts] == [1, 1, 0] and "h.5" in charts[1].shapes[0].path


def test_the_worst_frames_of_all_bags_are_on_the_page_of_the_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_bags_module, "run_in_processes", run_here)
    for name in ("a", "b"):
        write_drive(tmp_path / "bags" / name)
    arguments = ["eval-bags", str(tmp_path / "bags"), "--detections", "/detections", "--ground-truth", "/ground_truth"]
    arguments += ["--out", str(tmp_path / "out"), "--worst", "3"]

    def bags_of_the_worst_frames() -> list[str]:
        assert CliRunner().invoke(app, arguments).exit_code == 0
        page = parsed((tmp_path / "out/report.html").read_bytes())
        return [(attributes["alt"] or "").split(",")[0] for tag, attributes in page.tags if tag == "img"]

    assert bags_of_the_worst_frames() == ["a", "a", "b"]
    page = parsed((tmp_path / "out/report.html").read_bytes())
    assert {attributes.get("href") for tag, attributes in page.tags if tag == "a"} == {
        "a/report.html",
        "b/report.html",
    }
    captions = tmp_path / "out/a/worst_frames/captions.json"
    assert json.loads(captions.read_text())[0]["misses"] == 1
    # Bags that are done keep their files, which another version may have written.
    captions.write_text('[{"misses": 9, "false_alarms": 0}, 3]')
    assert bags_of_the_worst_frames() == ["b", "b"]
