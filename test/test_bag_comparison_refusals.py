# SPDX-License-Identifier: Apache-2.0
"""What `--compare` refuses: damaged runs, runs of other bags, runs with another ground truth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from compared_drives import evaluate, first_half_right, write_drive
from evaluation_bags import stamp

from fusion_mamba_ros.evaluation.bag_comparison.comparison import compare_runs
from fusion_mamba_ros.evaluation.bag_comparison.evaluated_run import EvaluatedRun, read_run


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return first_half_right(tmp_path_factory.mktemp("earlier"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--tolerance", "0.01"], "the tolerance of the ground truth was 25 ms in the earlier run and is 10 ms now"),
        (["--ground-truth", "LABELS"], "the ground truth differs: 20 frames with 20 boxes of /ground_truth"),
    ],
)
def test_runs_that_differ_in_ground_truth_are_refused_and_the_evaluation_is_kept(
    earlier: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    bag = write_drive(tmp_path / "bag", range(10))
    labels = {
        "images": [{"id": 1, "file_name": f"{stamp(0)}.png", "width": 40, "height": 32, "stamp_ns": stamp(0)}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 10]}],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    options = [str(tmp_path / "labels.json") if word == "LABELS" else word for word in arguments]
    result = evaluate(bag, tmp_path / "now", "--compare", earlier, *options)
    assert result.exit_code == 2 and sentence in result.output, result.output
    assert (tmp_path / "now/report.json").exists() and not (tmp_path / "now/comparison.json").exists()


def test_what_is_no_run_is_refused_before_the_evaluation(earlier: Path, tmp_path: Path) -> None:
    bag = write_drive(tmp_path / "bag", range(10))
    for name, content, sentence in (
        ("report.json", None, "holds no report.json"),
        ("matches.npz", "PK", "cannot be read"),
        ("frames.jsonl", "", "is inconsistent: 0 evaluated frames, 20"),
        ("report.json", "[]", "cannot be read"),
        ("report.json", '{"schema": "x", "version": 1}', "another version"),
    ):
        run = tmp_path / "run"
        shutil.copytree(earlier, run)
        (run / name).unlink()
        if content is not None:
            (run / name).write_text(content)
        result = evaluate(bag, tmp_path / "now", "--compare", run)
        assert result.exit_code == 2 and sentence in result.output, (sentence, result.output)
        assert not (tmp_path / "now/report.json").exists() and "Traceback" not in result.output
        shutil.rmtree(run)


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        ("ground_truth", ..., "it lacks 'ground_truth'"),
        ("subject", None, "cannot be read"),
        ("ground_truth", {"digest": "x"}, "it lacks 'source'"),
        ("true_positives", {"bear": 1}, "line 1 has a malformed"),
        ("false_negatives", [1], "line 1 has a malformed"),
        ("false_positives", {"person": None}, "line 1 has a malformed"),
        ("false_positives", {"person": 10**30}, "line 1 has a malformed"),
        ("ground_truth_stamp_ns", None, "line 1 has a malformed"),
        ("latency_ms", "x", "line 1 has a malformed"),
        ("times_ms", None, "line 1 has a malformed"),
        # Well-formed, but of another bag.
        ("ground_truth_stamp_ns", 5, "the frames with ground truth differ"),
    ],
)
def test_a_damaged_earlier_run_is_refused_with_one_sentence(
    earlier: Path, tmp_path: Path, part: str, value: object, sentence: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(earlier, run)
    if part in ("subject", "ground_truth"):
        report = json.loads((run / "report.json").read_text())
        report[part] = value
        if value is ...:
            del report[part]
        (run / "report.json").write_text(json.dumps(report))
    else:
        first, *others = (run / "frames.jsonl").read_text().splitlines()
        lines = [json.dumps({**json.loads(first), part: value}), *others]
        (run / "frames.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=sentence):
        compare_runs([read_run(run)], [read_run(earlier)], other="x")


def test_runs_without_ground_truth_are_refused(earlier: Path, tmp_path: Path) -> None:
    run = read_run(earlier)
    unlabelled = EvaluatedRun("", {**run.report, "ground_truth": None}, run.records, run.table)
    for sides, which in (((unlabelled, run), "the earlier run"), ((run, unlabelled), "this run")):
        with pytest.raises(ValueError, match=f"needs ground truth, which {which} lacks"):
            compare_runs([sides[0]], [sides[1]], other="x")
    strict = {**run.report, "subject": {**run.report["subject"], "protocol": "coco"}}
    with pytest.raises(ValueError, match=r"the protocol of mAP was published .* and is coco now: set --protocol"):
        compare_runs([run], [EvaluatedRun("", strict, run.records, run.table)], other="x")
