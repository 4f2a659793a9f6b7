# SPDX-License-Identifier: Apache-2.0
"""Evaluation of many bags: pooled figures, dying workers, finished bags and the bag list."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_bags import BOX, FAR_BOX, boxes, rgb, stamp, thermal, write_bag
from fleet_workers import always_killed, doubled, killed_once, run_here
from typer.testing import CliRunner

import fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bags as evaluate_bags_module
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.evaluation.bag_evaluation.bag_job import run_job
from fusion_mamba_ros.evaluation.bag_evaluation.bag_list import BagListError, ListedBag, read_bag_list
from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bags import FleetEvents, FleetOptions, evaluate_bags
from fusion_mamba_ros.evaluation.bag_evaluation.options import BagEvaluationOptions
from fusion_mamba_ros.evaluation.bag_evaluation.summary import Summary
from fusion_mamba_ros.evaluation.bag_evaluation.worker_processes import run_in_processes

OPTIONS = BagEvaluationOptions(detections="/detections", ground_truth="/ground_truth")


def write_drive(path: Path, found_at: Container[int]) -> Path:
    """Write a bag in which the person is found in the frames ``found_at`` of ten, with falling scores."""
    messages = []
    for index in range(10):
        found = [("person", BOX if index in found_at else FAR_BOX, 0.9 - 0.05 * index)]
        messages += [rgb(index), thermal(index), boxes("/ground_truth", index, [("person", BOX, 1.0)])]
        messages.append(boxes("/detections", index, found, received_ns=stamp(index) + 40_000_000))
    return write_bag(path, messages)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return three bags, the last of them corrupt, and the list file that names them."""
    folder = tmp_path_factory.mktemp("fleet")
    write_drive(folder / "a", range(10))
    write_drive(folder / "b", range(3))
    write_drive(folder / "c", range(5))
    (folder / "c" / "c.mcap").write_bytes(b"no bag at all")
    (folder / "bags.txt").write_text("# drives\na day\nb night rain\n\nc night\n")
    return folder


@pytest.fixture(scope="module")
def serial(fleet: Path, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Return the summary of the bags, evaluated one after the other in one worker."""
    return evaluate_bags(read_bag_list(fleet / "bags.txt"), OPTIONS, tmp_path_factory.mktemp("serial"))


def test_parent_folder_in_a_list_gets_the_name_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "drive" / "lists").mkdir(parents=True)
    listed = tmp_path / "drive" / "lists" / "bags.txt"
    listed.write_text("..\n.\n")
    assert [bag.name for bag in read_bag_list(listed)] == ["drive", "lists"]


def test_precision_is_that_of_the_pooled_detections(serial: Summary) -> None:
    assert [bag["status"] for bag in serial["bags"]] == ["evaluated", "evaluated", "failed"]
    assert "c" in str(serial["bags"][2]["error"]) and serial["bags"][2]["figures"] is None
    # Alone, b has 3 of 10 boxes, all before the false alarms: precision 1 up to recall 0.3 (31 of 101 points).
    assert serial["tags"]["rain"]["mAP50"] == pytest.approx(31 / 101)
    assert serial["tags"]["day"]["mAP50"] == pytest.approx(1.0)
    assert serial["tags"]["night"] == serial["tags"]["rain"]
    # Pooled by score: 6 right ones, then right and wrong ones in turns. The mean of the bags would be 0.65.
    hits = [1] * 6 + [1, 0] * 7
    precision = [sum(hits[: rank + 1]) / (rank + 1) for rank in range(20)]
    recall = [sum(hits[: rank + 1]) / 20 for rank in range(20)]
    # At the recalls as pycocotools rounds them: 0.35 of a hundred steps is more than 7 / 20.
    steps = np.linspace(0, 1, 101)
    expected = [max((p for p, r in zip(precision, recall, strict=True) if r >= step), default=0) for step in steps]
    assert serial["overall"]["mAP50"] == pytest.approx(sum(expected) / 101, abs=1e-6)
    assert serial["overall"]["recall_all_frames"] == 13 / 20 and serial["overall"]["precision"] == 13 / 20


def test_a_killed_worker_costs_one_attempt_and_the_result_is_that_of_the_serial_run(
    fleet: Path, serial: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSION_MAMBA_TEST_MARK", str(tmp_path / "mark"))
    retries = []
    summary = evaluate_bags(
        read_bag_list(fleet / "bags.txt"),
        OPTIONS,
        tmp_path / "out",
        fleet=FleetOptions(workers=2),
        events=FleetEvents(on_retry=lambda bag, error: retries.append((bag.name, error))),
        run=killed_once,
    )
    assert retries == [("b", "its process was ended by SIGKILL")]
    assert summary == serial
    assert json.loads((tmp_path / "out/summary.json").read_text()) == json.loads(json.dumps(serial))
    assert not multiprocessing.active_children()


def test_a_bag_whose_worker_always_dies_is_reported_and_evaluated_in_the_next_run(
    fleet: Path, serial: Summary, tmp_path: Path
) -> None:
    bags = read_bag_list(fleet / "bags.txt")
    first = evaluate_bags(bags, OPTIONS, tmp_path, run=always_killed)
    assert [bag["error"] for bag in first["bags"]][:2] == [None, "its process was ended by SIGKILL"]
    assert first["overall"]["bags"] == 1
    skipped, ended = [], []
    events = FleetEvents(
        on_skipped=lambda bag: skipped.append(bag.name), on_ended=lambda bag, _: ended.append(bag.name)
    )
    assert evaluate_bags(bags, OPTIONS, tmp_path, events=events) == serial
    assert (skipped, ended) == (["a"], ["b", "c"])


def test_a_finished_bag_is_evaluated_again_if_it_or_the_options_changed(fleet: Path, tmp_path: Path) -> None:
    path = tmp_path / "bag"
    shutil.copytree(fleet / "a", path)
    bags = [ListedBag(path, "bag")]
    ended = []
    events = FleetEvents(on_ended=lambda bag, _: ended.append(bag.name))

    def evaluated(options: BagEvaluationOptions = OPTIONS) -> bool:
        ended.clear()
        evaluate_bags(bags, options, tmp_path / "out", events=events)
        return bool(ended)

    assert evaluated() and not evaluated()
    assert evaluated(BagEvaluationOptions(detections="/detections", ground_truth="/ground_truth", window_sec=5.0))
    os.utime(path / "a.mcap", (1, 1))
    assert evaluated() and not evaluated()
    (tmp_path / "out/bag/report.json").unlink()
    assert evaluated()


def test_errors_of_the_function_and_the_end_of_the_process_are_reported_and_the_rest_is_done() -> None:
    retries = []
    ended = {
        item.job: (item.result, item.error, item.attempts)
        for item in run_in_processes(
            doubled, [1, -1, 2, 0, 3], workers=2, on_retry=lambda job, error: retries.append(job)
        )
    }
    assert ended == {
        1: (2, None, 1),
        2: (4, None, 1),
        3: (6, None, 1),
        -1: (None, "RuntimeError: a negative number", 2),
        0: (None, "its process ended with code 7", 2),
    }
    assert sorted(retries) == [-1, 0]


def test_the_workers_end_when_the_caller_is_interrupted() -> None:
    ended: Any = run_in_processes(doubled, list(range(1, 9)), workers=2)
    next(ended)
    ended.close()
    assert not multiprocessing.active_children()


def test_the_names_of_bags_are_unique_and_paths_may_have_spaces(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text('x/drive\n"my bags/drive" night night\ny/drive.mcap day\n')
    bags = read_bag_list(tmp_path / "list.txt")
    assert [bag.name for bag in bags] == ["drive", "drive-2", "drive-3"]
    assert bags[1].path == tmp_path / "my bags/drive" and bags[1].tags == ("night",)


def test_a_folder_gives_its_bags_in_order(fleet: Path) -> None:
    assert [bag.name for bag in read_bag_list(fleet)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "does not exist"), ("# nothing\n", "names no bag"), ('"a b\n', "line 1 has no closing quote")],
)
def test_a_wrong_list_is_one_sentence(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "list.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BagListError, match=sentence):
        read_bag_list(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BagListError, match="has no bags"):
        read_bag_list(tmp_path / "empty")


def test_the_command_prints_every_bag_and_exits_with_2_because_one_is_corrupt(fleet: Path, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("minimum: {recall: {mean: 0.5}}")
    arguments = ["--detections", "/detections", "--ground-truth", "/ground_truth", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["eval-bags", str(fleet / "bags.txt"), *arguments])
    assert result.exit_code == 2, result.output
    assert "tag night" in result.output and "is no bag that can be read" in result.output
    gated = CliRunner().invoke(
        app, ["eval-bags", str(fleet / "bags.txt"), *arguments, "--scenario", str(tmp_path / "gate.yaml")]
    )
    assert gated.exit_code == 1, gated.output
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["overall"]["gates"] == {"failed": 1, "passed": 1}


def test_run_job_returns_the_error_of_a_bag_as_a_sentence(fleet: Path) -> None:
    from fusion_mamba_ros.evaluation.bag_evaluation.bag_job import make_job

    result = run_job(make_job(ListedBag(fleet / "c", "c"), OPTIONS))
    assert result.files is None and "is no bag that can be read" in (result.error or "")


# Starting Ray takes minutes on a busy machine.
@pytest.mark.timeout(900)
def test_on_ray_eight_bags_give_the_serial_result_though_a_worker_is_killed_and_a_bag_is_corrupt(
    fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "defgh":
        write_drive(tmp_path / "bags" / name, range(ord(name) - ord("a")))
    for name in "abc":
        shutil.copytree(fleet / name, tmp_path / "bags" / name)
    bags = read_bag_list(tmp_path / "bags")
    monkeypatch.setenv("FUSION_MAMBA_TEST_MARK", str(tmp_path / "mark"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    retries = []
    summary = evaluate_bags(
        bags,
        OPTIONS,
        tmp_path / "out",
        fleet=FleetOptions(workers=2, ray="local"),
        events=FleetEvents(on_retry=lambda bag, error: retries.append((bag.name, error))),
        run=killed_once,
    )
    assert [name for name, _ in retries] == ["b"], retries
    monkeypatch.setattr(evaluate_bags_module, "run_in_processes", run_here)
    assert summary == evaluate_bags(bags, OPTIONS, tmp_path / "serial")
    assert [bag["status"] for bag in summary["bags"]] == ["evaluated"] * 2 + ["failed"] + ["evaluated"] * 5
    for name in "abdefgh":
        assert (tmp_path / "out" / name / "report.html").exists()
