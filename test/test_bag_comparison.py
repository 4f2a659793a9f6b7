# SPDX-License-Identifier: Apache-2.0
"""`--compare`: two runs on the same frames, against brute force and cases computed by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pytest
from compared_drives import FRAMES, evaluate, first_half_right, write_drive
from evaluation_bags import BOX, FAR_BOX, START_NS, stamp
from fleet_workers import run_here
from typer.testing import CliRunner

import fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bags as evaluate_bags_module
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.evaluation.bag_comparison.bootstrap import difference_intervals
from fusion_mamba_ros.evaluation.bag_comparison.comparison_files import comparison_markdown
from fusion_mamba_ros.evaluation.bag_comparison.evaluated_run import EvaluatedRun, read_run
from fusion_mamba_ros.evaluation.bag_comparison.paired_frames import pair_frames
from fusion_mamba_ros.evaluation.bag_evaluation.ground_truth import GroundTruthBuilder
from fusion_mamba_ros.evaluation.bag_evaluation.match_table import MatchTable


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return first_half_right(tmp_path_factory.mktemp("earlier"))


@pytest.mark.parametrize(
    ("found", "dropped", "verdict", "worse", "better"),
    [
        (range(20), (), "improved", 0, 10),
        (range(2), (), "worse", 8, 0),
        ((*range(9), 15), (), "undecided", 1, 1),
        (range(10), (), "undecided", 0, 0),
        # Not published: a miss, though the false alarm of the frame is gone.
        (range(10), range(8), "worse", 8, 0),
    ],
)
def test_the_verdict_and_the_changed_frames(
    earlier: Path,
    tmp_path: Path,
    found: Collection[int],
    dropped: Collection[int],
    verdict: str,
    worse: int,
    better: int,
) -> None:
    bag = write_drive(tmp_path / "bag", found, dropped=dropped)
    result = evaluate(bag, tmp_path / "now", "--compare", earlier)
    assert result.exit_code == 0 and f"comparison: {verdict}" in result.output, result.output
    comparison = json.loads((tmp_path / "now/comparison.json").read_text())
    assert (comparison["verdict"], len(comparison["worse"]), len(comparison["better"])) == (verdict, worse, better)
    assert (comparison["frames"], comparison["evaluated_in_both"]) == (FRAMES, FRAMES - len(dropped))
    figures = {item["name"]: item for item in comparison["figures"]}
    recall = len(set(found) - set(dropped)) / FRAMES
    assert figures["recall over all frames"]["earlier"] == 0.5
    assert figures["recall over all frames"]["now"] == pytest.approx(recall)
    assert figures["recall over all frames"]["difference"] == pytest.approx(recall - 0.5)
    report = json.loads((tmp_path / "now/report.json").read_text())
    assert figures["recall over all frames"]["now"] == report["accuracy"]["recall_all_frames"]["overall"]
    if not dropped:
        assert figures["mAP50"]["now"] == pytest.approx(report["accuracy"]["overall"]["mAP50"], abs=1e-9)
        assert figures["precision"]["now"] == report["accuracy"]["overall"]["precision"]


def test_the_intervals_are_those_of_brute_force(earlier: Path, tmp_path: Path) -> None:
    seed, samples = 5, 40
    generator = np.random.default_rng(seed)
    found = np.flatnonzero(generator.random(FRAMES) < 0.6).tolist()
    bag = write_drive(tmp_path / "bag", found, dropped=(2, 11), extra="dog", late_ms=50)
    assert evaluate(bag, tmp_path / "now").exit_code == 0
    runs = [read_run(earlier), read_run(tmp_path / "now")]
    draws = np.random.default_rng(seed).multinomial(FRAMES, np.full(FRAMES, 1 / FRAMES), size=samples)
    both = [index for index in range(FRAMES) if index not in (2, 11)]
    differences: dict[str, list[float]] = {"AP50 of person": [], "recall over all frames": [], "precision": []}
    hits = [set(range(10)), set(found) - {2, 11}]
    alarms = [set(range(10, FRAMES)), set(range(FRAMES)) - set(found)]
    for draw in draws.tolist():
        drawn = [index for index, count in enumerate(draw) for _ in range(count)]
        inside = [index for index in drawn if index in both]
        aps = [_ap50(run, inside, positions) for run, positions in zip(runs, (range(FRAMES), both), strict=True)]
        differences["AP50 of person"].append(aps[1] - aps[0])
        recalls = [sum(index in side for index in drawn) / FRAMES for side in hits]
        differences["recall over all frames"].append(recalls[1] - recalls[0])
        precisions = []
        for side, wrong_frames, more in zip(hits, alarms, (0, 1), strict=True):
            right = sum(index in side for index in inside)
            wrong = sum((index in wrong_frames) + (more if index == 1 else 0) for index in inside)
            precisions.append(right / (right + wrong))
        differences["precision"].append(precisions[1] - precisions[0])
    intervals = {
        item.name: item
        for item in difference_intervals(pair_frames(runs[:1], runs[1:]), samples=samples, confidence=0.9, seed=seed)
    }
    for name, values in differences.items():
        expected = np.quantile(values, [0.05, 0.95])
        if name == "precision":
            continue
        np.testing.assert_allclose([intervals[name].low, intervals[name].high], expected, atol=1e-9, err_msg=name)
    # No true dog: its false alarm counts in the overall precision, and the class has no figure.
    np.testing.assert_allclose(
        [intervals["precision"].low, intervals["precision"].high], np.quantile(differences["precision"], [0.05, 0.95])
    )
    assert np.isnan(intervals["AP50 of dog"].now) and np.isnan(intervals["precision of dog"].now)
    latency = intervals["mean latency, ms"]
    assert (latency.earlier, latency.now) == pytest.approx((40, 50)) and latency.lower_is_better
    assert (latency.low, latency.high) == pytest.approx((10, 10))


def _ap50(run: EvaluatedRun, drawn: Sequence[int], positions: Sequence[int]) -> float:
    """Return the AP50 of persons in the frames ``drawn``, some more than once; ``positions``: frames of the table."""
    arrays = run.table.arrays()
    order = {index: row for row, index in enumerate(positions)}
    rows = [order[index] for index in drawn]
    owners = [np.flatnonzero(arrays["owners"] == row) for row in rows]
    chosen = np.concatenate(owners)
    new_owners = np.concatenate([np.full(len(part), index, np.int32) for index, part in enumerate(owners)])
    parts = {name: arrays[name][chosen] for name in ("labels", "scores", "correct")}
    table = MatchTable.from_arrays(
        {"class_names": arrays["class_names"], "truth": arrays["truth"][rows], "owners": new_owners, **parts}
    )
    ap50 = table.average_precision()["person"].ap50
    assert ap50 is not None
    return ap50


def test_the_files_name_the_changed_frames_and_the_page_shows_those_that_got_worse(
    earlier: Path, tmp_path: Path
) -> None:
    bag = write_drive(tmp_path / "bag", range(6, 10), extra="a|<b>*")
    assert evaluate(bag, tmp_path / "now", "--compare", earlier / "report.json").exit_code == 0
    comparison = json.loads((tmp_path / "now/comparison.json").read_text())
    # Frame 1 also has another false alarm.
    assert [item["ground_truth_stamp_ns"] for item in comparison["worse"]] == [
        stamp(index) for index in (1, 0, 2, 3, 4, 5)
    ]
    assert comparison["worse"][0]["misses"] == [0, 1] and comparison["worse"][0]["false_alarms"] == [0, 2]
    markdown = (tmp_path / "now/comparison.md").read_text()
    assert markdown.startswith("# Comparison: worse") and "a\\|\\<b\\>\\*" in markdown and "<b>" not in markdown
    page = (tmp_path / "now/report.html").read_text()
    assert "Comparison with an earlier run" in page and '<div class="row" id="worse">' in page
    assert page.count("<img") == 2 + 2 + 20  # --worst 2: worst, those that got worse, thumbnails
    assert evaluate(bag, tmp_path / "now").exit_code == 0
    assert not (tmp_path / "now/comparison.json").exists() and not (tmp_path / "now/comparison.md").exists()


def test_the_digest_of_ground_truth_depends_on_every_box_but_not_on_their_order() -> None:
    def digest(rows: Sequence[tuple[str, tuple[float, ...]]], stamp_ns: int = START_NS) -> str:
        builder = GroundTruthBuilder("x", "topic")
        builder.add(stamp_ns, np.array([row[1] for row in rows], np.float32), [row[0] for row in rows])
        return builder.build().digest()

    both = digest([("person", BOX), ("car", FAR_BOX)])
    assert both == digest([("car", FAR_BOX), ("person", BOX)])
    moved = (BOX[0] + 1e-3, *BOX[1:])
    others = [digest([("person", BOX)]), digest([("car", BOX), ("person", FAR_BOX)])]
    others += [digest([("person", moved), ("car", FAR_BOX)]), digest([("person", BOX), ("car", FAR_BOX)], stamp(1))]
    assert len({both, *others}) == 5


def test_fleets_are_compared_over_the_bags_that_both_have_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_bags_module, "run_in_processes", run_here)
    write_drive(tmp_path / "old/a", range(20))
    write_drive(tmp_path / "old/b", range(10))
    write_drive(tmp_path / "old/only", range(3))
    shutil.copytree(tmp_path / "old/a", tmp_path / "new/a")
    write_drive(tmp_path / "new/b", range(20))
    options = ["--detections", "/detections", "--ground-truth", "/ground_truth", "--worst", "0"]
    runner = CliRunner()
    first = ["eval-bags", str(tmp_path / "old"), *options, "--out", str(tmp_path / "first")]
    assert runner.invoke(app, first).exit_code == 0
    second = ["eval-bags", str(tmp_path / "new"), *options, "--out", str(tmp_path / "second")]
    result = runner.invoke(app, [*second, "--compare", str(tmp_path / "first")])
    assert result.exit_code == 0 and "comparison: improved" in result.output, result.output
    comparison = json.loads((tmp_path / "second/comparison.json").read_text())
    assert (comparison["bags"], comparison["left_out"], comparison["frames"]) == (2, ["only"], 40)
    figures = {item["name"]: item for item in comparison["figures"]}
    assert (figures["recall over all frames"]["earlier"], figures["recall over all frames"]["now"]) == (0.75, 1.0)
    assert {item["bag"] for item in comparison["better"]} == {"b"} and len(comparison["better"]) == 10
    assert "Comparison with an earlier run" in (tmp_path / "second/report.html").read_text()
    assert "b: " in comparison_markdown(comparison)
    itself = runner.invoke(app, [*second, "--compare", str(tmp_path / "second")])
    assert itself.exit_code == 2 and "is the folder of this run" in itself.output
    nothing = runner.invoke(app, [*second, "--compare", str(tmp_path / "old")])
    assert nothing.exit_code == 2 and "holds no summary.json" in nothing.output
