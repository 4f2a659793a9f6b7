# SPDX-License-Identifier: Apache-2.0
"""A release gate: the limits of a scenario file, applied to a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion_mamba_ros.evaluation.bag_evaluation.report_schema import Criterion, GateSection, Report
from fusion_mamba_ros.perception.documents import DocumentError, parse_yaml
from fusion_mamba_ros.perception.mode import Mode

MEAN, OVERALL = "mean", "overall"
_KEYS = {"name", "minimum", "maximum", "allow_problems"}
_MINIMUM = {"map50", "recall", "share_of_time"}
_MAXIMUM = {"latency_p95_ms", "share_without_output", "longest_gap_sec", "share_of_time"}


class ScenarioError(ValueError):
    """Error for a scenario file. The message is one sentence."""


@dataclass(frozen=True)
class Limit:
    """One limit. ``kind`` is the key in the file, ``mode`` and ``class_name`` are empty if it has none."""

    kind: str
    relation: str
    value: float
    mode: str = ""
    class_name: str = ""

    @property
    def name(self) -> str:
        """The limit as in the table: for example `map50 fused person`."""
        return " ".join(part for part in (self.kind, self.mode, self.class_name) if part)


@dataclass(frozen=True)
class Scenario:
    """Limits of a release gate."""

    name: str
    limits: tuple[Limit, ...]
    allow_problems: bool = False
    source: str = field(default="", compare=False)


def read_scenario(path: Path) -> Scenario:
    """Return the scenario of a YAML file. Raises `ScenarioError` for an unknown key or a value out of range."""
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except (DocumentError, OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"scenario '{path}' cannot be read: {error}") from error
    try:
        root = _mapping("the file", document, _KEYS)
        limits = tuple(_limits(root))
    except ScenarioError as error:
        raise ScenarioError(f"scenario '{path}': {error}") from None
    if not limits:
        raise ScenarioError(f"scenario '{path}' has no limit: add minimum or maximum")
    allowed = root.get("allow_problems", False)
    if not isinstance(allowed, bool):
        raise ScenarioError(f"scenario '{path}': allow_problems is {allowed!r}: expected true or false")
    return Scenario(str(root.get("name", path.stem)), limits, allowed, str(path))


def judge(scenario: Scenario, report: Report) -> GateSection:
    """Return the result of the gate.

    It is `failed` if a criterion has failed. Otherwise it is `not_evaluated` if a value is not available, or if the bag
    has problems and the scenario does not allow them.
    """
    criteria = [_criterion(limit, _value(limit, report)) for limit in scenario.limits]
    if any(item["value"] is not None and not item["passed"] for item in criteria):
        result = "failed"
    elif any(item["value"] is None for item in criteria) or (report["bag"]["problems"] and not scenario.allow_problems):
        result = "not_evaluated"
    else:
        result = "passed"
    return {"scenario": scenario.name, "result": result, "criteria": criteria}


def check_against_classes(scenario: Scenario, class_names: tuple[str, ...]) -> None:
    """Raise `ScenarioError` if a limit names a class that is not in ``class_names``."""
    unknown = sorted({item.class_name for item in scenario.limits} - {*class_names, "", MEAN})
    if unknown:
        raise ScenarioError(
            f"scenario '{scenario.source}' names the class '{unknown[0]}': the detector knows {', '.join(class_names)}"
        )


def _criterion(limit: Limit, value: float | None) -> Criterion:
    at_least = limit.relation == ">="
    passed = value is not None and (value >= limit.value if at_least else value <= limit.value)
    excess = None
    if value is not None:
        excess = 0.0 if passed else abs(value - limit.value)
    return {
        "name": limit.name,
        "relation": limit.relation,
        "limit": limit.value,
        "value": value,
        "passed": passed,
        "excess": excess,
    }


def _value(limit: Limit, report: Report) -> float | None:
    accuracy, output = report["accuracy"], report["output"]
    if limit.kind == "map50":
        if accuracy is None:
            return None
        part = accuracy["overall"] if limit.mode == OVERALL else accuracy["modes"].get(limit.mode)
        if part is None:
            return None
        if limit.class_name == MEAN:
            return part["mAP50"]
        entry = part["per_class"].get(limit.class_name)
        return None if entry is None else entry["AP50"]
    if limit.kind == "recall":
        if accuracy is None:
            return None
        recall = accuracy["recall_all_frames"]
        return recall["overall"] if limit.class_name == MEAN else recall["per_class"].get(limit.class_name)
    if limit.kind == "share_of_time":
        if not output["with_output"]:
            return None
        mode = report["modes"].get(limit.mode)
        return 0.0 if mode is None else mode["share_of_time"]
    if limit.kind == "latency_p95_ms":
        live = report["live"]
        return live[0]["latency_ms"]["p95"] if live else report["timing_ms"]["latency"]["p95"]
    return output["share_without_output"] if limit.kind == "share_without_output" else output["longest_gap_sec"]


def _limits(root: dict[str, Any]) -> Iterator[Limit]:
    least = _mapping("minimum", root.get("minimum") or {}, _MINIMUM)
    for mode, classes in _mapping("map50", least.get("map50") or {}).items():
        for name, value in _mapping(f"map50 of {mode}", classes).items():
            yield Limit("map50", ">=", _number(f"map50 {mode} {name}", value, 1.0), _mode(mode), str(name))
    for name, value in _mapping("recall", least.get("recall") or {}).items():
        yield Limit("recall", ">=", _number(f"recall {name}", value, 1.0), class_name=str(name))
    most = _mapping("maximum", root.get("maximum") or {}, _MAXIMUM)
    for part, relation in ((least, ">="), (most, "<=")):
        for mode, value in _mapping("share_of_time", part.get("share_of_time") or {}).items():
            if mode == OVERALL:
                raise ScenarioError("share_of_time needs a mode, for example fused")
            yield Limit("share_of_time", relation, _number(f"share_of_time {mode}", value, 1.0), _mode(mode))
    for kind, highest in (("latency_p95_ms", None), ("share_without_output", 1.0), ("longest_gap_sec", None)):
        if kind in most:
            yield Limit(kind, "<=", _number(kind, most[kind], highest))


def _mapping(name: str, value: Any, keys: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ScenarioError(f"{name} is {value!r}: expected keys with values")
    unknown = [key for key in value if keys is not None and key not in keys]
    if unknown:
        raise ScenarioError(f"unknown key '{unknown[0]}' in {name}: expected {', '.join(sorted(keys or ()))}")
    return {str(key): item for key, item in value.items()}


def _mode(name: str) -> str:
    if name != OVERALL:
        try:
            Mode(name)
        except ValueError:
            raise ScenarioError(f"'{name}' is no mode: expected overall, fused, rgb_only or thermal_only") from None
    return name


def _number(name: str, value: Any, highest: float | None) -> float:
    valid = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    if not valid or (highest is not None and value > highest):
        most = "" if highest is None else f", at most {highest:g}"
        raise ScenarioError(f"{name} is {value!r}: expected a number of at least 0{most}")
    return float(value)
