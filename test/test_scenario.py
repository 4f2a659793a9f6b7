# SPDX-License-Identifier: Apache-2.0
"""Scenario files: the limits of the gate, its result, and the errors of a wrong file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusion_mamba_ros.evaluation.bag_evaluation.scenario import (
    Scenario,
    ScenarioError,
    check_against_classes,
    judge,
    read_scenario,
)

EXAMPLE = Path(__file__).resolve().parents[1] / "config/scenario_example.yaml"


def report(**changes: Any) -> Any:
    def accuracy(value: float) -> dict[str, Any]:
        return {"mAP50": value, "per_class": {"person": {"AP50": value}, "car": {"AP50": None}}}

    return {
        "bag": {"problems": []},
        "accuracy": {
            "overall": accuracy(0.7),
            "modes": {"fused": accuracy(0.8)},
            "recall_all_frames": {"overall": 0.6, "per_class": {"person": 0.5, "car": None}},
        },
        "output": {"share_without_output": 0.1, "longest_gap_sec": 0.4, "with_output": 9},
        "modes": {"fused": {"share_of_time": 0.9}},
        "live": [],
        "timing_ms": {"latency": {"p95": 120.0}},
        **changes,
    }


def scenario(tmp_path: Path, text: str) -> Scenario:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    return read_scenario(path)


@pytest.mark.parametrize(
    ("text", "value", "passed", "excess"),
    [
        ("minimum: {map50: {overall: {mean: 0.7}}}", 0.7, True, 0.0),
        ("minimum: {map50: {fused: {person: 0.9}}}", 0.8, False, 0.1),
        ("minimum: {map50: {fused: {car: 0.1}}}", None, False, None),
        ("minimum: {map50: {rgb_only: {mean: 0.1}}}", None, False, None),
        ("minimum: {recall: {person: 0.5}}", 0.5, True, 0.0),
        ("minimum: {recall: {mean: 0.65}}", 0.6, False, 0.05),
        ("minimum: {recall: {car: 0.65}}", None, False, None),
        ("minimum: {share_of_time: {fused: 0.95}}", 0.9, False, 0.05),
        ("maximum: {share_of_time: {thermal_only: 0.05}}", 0.0, True, 0.0),
        ("maximum: {latency_p95_ms: 100}", 120.0, False, 20.0),
        ("maximum: {share_without_output: 0.1}", 0.1, True, 0.0),
        ("maximum: {longest_gap_sec: 0.25}", 0.4, False, 0.15),
    ],
)
def test_each_criterion_says_by_how_much_it_failed(
    tmp_path: Path, text: str, value: float | None, passed: bool, excess: float | None
) -> None:
    gate = judge(scenario(tmp_path, text), report())
    (criterion,) = gate["criteria"]
    assert criterion["value"] == value and criterion["passed"] is passed
    assert criterion["excess"] == pytest.approx(excess)
    assert gate["result"] == ("passed" if passed else "not_evaluated" if value is None else "failed")


def test_a_failure_counts_more_than_a_missing_value(tmp_path: Path) -> None:
    text = "minimum: {recall: {car: 0.1, person: 0.9}}"
    assert judge(scenario(tmp_path, text), report())["result"] == "failed"


def test_a_bag_with_problems_is_not_evaluated_unless_the_scenario_allows_them(tmp_path: Path) -> None:
    damaged = report(bag={"problems": ["the bag is cut short"]})
    text = "maximum: {longest_gap_sec: 1}"
    assert judge(scenario(tmp_path, text), damaged)["result"] == "not_evaluated"
    assert judge(scenario(tmp_path, f"{text}\nallow_problems: true"), damaged)["result"] == "passed"


def test_the_latency_of_a_checkpoint_is_that_of_the_simulated_node(tmp_path: Path) -> None:
    live = [{"latency_ms": {"p95": 300.0}}]
    (criterion,) = judge(scenario(tmp_path, "maximum: {latency_p95_ms: 200}"), report(live=live))["criteria"]
    assert criterion["value"] == 300.0


def test_without_ground_truth_accuracy_is_not_available(tmp_path: Path) -> None:
    text = "minimum: {map50: {overall: {mean: 0.1}}, recall: {mean: 0.1}}"
    assert judge(scenario(tmp_path, text), report(accuracy=None))["result"] == "not_evaluated"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("minimum: {maps50: {}}", "unknown key 'maps50' in minimum: expected map50, recall, share_of_time"),
        ("limits: {}", "unknown key 'limits' in the file"),
        ("- 1", "the file is .1.: expected keys"),
        ("name: empty", "has no limit"),
        ("minimum: {map50: {fused: 0.5}}", "map50 of fused is 0.5: expected keys"),
        ("minimum: {map50: {infrared: {person: 0.5}}}", "'infrared' is no mode"),
        ("minimum: {recall: {person: 50}}", "recall person is 50: expected a number of at least 0, at most 1"),
        ("minimum: {recall: {person: yes}}", "recall person is True"),
        ("minimum: {recall: {person: .nan}}", "recall person is nan"),
        ("maximum: {share_of_time: {overall: 0.5}}", "share_of_time needs a mode"),
        ("maximum: {longest_gap_sec: -1}", "longest_gap_sec is -1"),
        ("maximum: {longest_gap_sec: 1}\nallow_problems: 3", "allow_problems is 3"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ScenarioError, match=f"scenario '.*{sentence}"):
        scenario(tmp_path, text)


def test_an_unknown_class_is_named(tmp_path: Path) -> None:
    gate = scenario(tmp_path, "minimum: {recall: {persn: 0.5}}")
    with pytest.raises(ScenarioError, match="names the class 'persn': the detector knows person, car"):
        check_against_classes(gate, ("person", "car"))


def test_the_example_is_valid_and_uses_every_kind_of_limit() -> None:
    example = read_scenario(EXAMPLE)
    kinds = {limit.kind for limit in example.limits}
    assert kinds == {
        "map50",
        "recall",
        "share_of_time",
        "latency_p95_ms",
        "share_without_output",
        "longest_gap_sec",
    }
    check_against_classes(example, ("person", "bicycle", "car"))
