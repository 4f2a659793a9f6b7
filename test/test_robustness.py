# SPDX-License-Identifier: Apache-2.0
"""Robustness of a detector that finds bright rectangles, and the command on tiny checkpoints."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import training_scenes as scenes
from typer.testing import CliRunner

from fusion_mamba_ros.analysis.checkpoint_labels import checkpoint_labels
from fusion_mamba_ros.analysis.degradations import FACTORS, degrade
from fusion_mamba_ros.analysis.robustness import CLEAN, ChosenPairs, RobustnessCells, keep_plan, study_modes
from fusion_mamba_ros.analysis.robustness_plan import Condition, RobustnessPlan, pair_levels
from fusion_mamba_ros.analysis.robustness_report import write_robustness
from fusion_mamba_ros.analysis.robustness_results import (
    Cell,
    CheckpointFigures,
    ConditionFigures,
    Value,
    summarise,
)
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.commands.analyze.robustness import warn_of_left_out
from fusion_mamba_ros.datasets import PreparedDataset, open_dataset
from fusion_mamba_ros.evaluation.detection_results import DetectionResults
from fusion_mamba_ros.evaluation.evaluate import PROTOCOL, evaluate
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.mode import Mode, mode_of
from fusion_mamba_ros.perception.predictor import Predictor

RGB, THERMAL = Mode.RGB_ONLY, Mode.THERMAL_ONLY


class BrightestRectangle:
    """Finds the box around bright pixels of thermal or, where thermal shows none or is missing, of RGB."""

    modalities = ("rgb", "thermal")

    def __init__(self, fails_after: int | None = None) -> None:
        self.calls, self.fails_after = 0, fails_after

    def predict_batch(self, batch: Sequence[Mapping[str, Any]], **_: Any) -> list[Detections]:
        found = []
        for images in batch:
            self.calls += 1
            if self.fails_after is not None and self.calls > self.fails_after:
                raise KeyboardInterrupt
            boxes = np.zeros((0, 4), np.float32)
            for name, threshold in (("thermal", 150), ("rgb", 100)):
                image = images.get(name)
                if image is None or len(boxes):
                    continue
                grey = cv2.medianBlur(image if image.ndim == 2 else image[..., 0], 5)
                ys, xs = np.nonzero(grey > threshold)
                if len(ys):
                    boxes = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
            mode = mode_of(images, self.modalities)
            found.append(Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int64), mode))
        return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write_pairs(tmp_path_factory.mktemp("pairs"), train=2, val=6)


@pytest.fixture(scope="module")
def pairs(data: Path) -> ChosenPairs:
    return ChosenPairs(PreparedDataset(open_dataset(data, "val"), (64, 64), headroom=None), ("rgb", "thermal"))


def cells_of(pairs: ChosenPairs, folder: Path, detector: Any = None) -> RobustnessCells:
    found: Any = detector or BrightestRectangle()
    return RobustnessCells(found, pairs, folder, seed=2, batch_size=2)


def same(first: DetectionResults, second: DetectionResults) -> None:
    assert [image.name for image in first.images] == [image.name for image in second.images]
    for one, other in zip(first.images, second.images, strict=True):
        for array in ("boxes", "scores", "labels"):
            np.testing.assert_array_equal(getattr(one.detections, array), getattr(other.detections, array))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_clean_cells_are_the_detections_of_eval_bit_for_bit(data: Path, pairs: ChosenPairs, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FusionMambaDetector(ModelConfig(fusion="add", classes=1)).eval()
    predictor = Predictor.from_model(model, CheckpointMetadata(("person",), (64, 64)), thresholds=PROTOCOL)
    cells = cells_of(pairs, tmp_path, predictor)
    cells.run([CLEAN, Condition.of((FACTORS["haze"], 0.0))])
    by_eval = evaluate(
        predictor.predict_batch, PreparedDataset(open_dataset(data, "val"), (64, 64), headroom=None), batch_size=2
    )
    for mode in (Mode.FUSED, RGB, THERMAL):
        saved = DetectionResults.load(cells.path(CLEAN, mode))
        assert any(len(image.detections) for image in saved.images)
        same(saved, by_eval.modes[mode].results)
    # Level 0 of a factor is the clean condition itself.
    assert {path.name for path in tmp_path.iterdir()} == {"clean"}


@pytest.mark.parametrize("name", FACTORS)
def test_each_cell_is_what_the_detector_finds_in_the_degraded_images(
    name: str, pairs: ChosenPairs, tmp_path: Path
) -> None:
    factor = FACTORS[name]
    other = FACTORS["misalignment" if factor.modality == "rgb" else "darkness"]
    steps = [(factor, factor.levels[1]), (other, other.levels[1])]
    conditions = [Condition.of(steps[0]), Condition.of(*steps)]
    cells = cells_of(pairs, tmp_path)
    cells.run(conditions)
    for condition in conditions:
        for mode, names in ((Mode.FUSED, ("rgb", "thermal")), (RGB, ("rgb",)), (THERMAL, ("thermal",))):
            saved = DetectionResults.load(cells.path(condition, mode)).images
            for number in range(len(pairs)):
                images = degrade(pairs[number], condition.steps, 2)
                used = {key: images[key] for key in names if key in images}
                boxes = BrightestRectangle().predict_batch([used])[0].boxes if used else np.zeros((0, 4))
                np.testing.assert_array_equal(saved[number].detections.boxes, boxes)


def test_images_that_a_factor_does_not_change_are_not_searched_again(pairs: ChosenPairs, tmp_path: Path) -> None:
    detector = BrightestRectangle()
    cells = cells_of(pairs, tmp_path, detector)
    cells.run([])
    assert detector.calls == 3 * len(pairs)
    cells.run([Condition.of((FACTORS["haze"], 80))])
    assert detector.calls == 5 * len(pairs)
    cells.run([Condition.of((FACTORS["misalignment"], 5))])
    assert detector.calls == 7 * len(pairs)
    # Only the fused mode sees both faults.
    cells.run([Condition.of((FACTORS["haze"], 80), (FACTORS["misalignment"], 5))])
    assert detector.calls == 8 * len(pairs)
    for name in ("rgb_missing", "thermal_missing"):
        cells.run([Condition.of((FACTORS[name], level)) for level in (50, 100)])
    assert detector.calls == 8 * len(pairs)
    without = DetectionResults.load(cells.path(Condition.of((FACTORS["rgb_missing"], 100)), Mode.FUSED))
    same(without, DetectionResults.load(cells.path(CLEAN, THERMAL)))


def test_study_that_was_cut_off_at_any_call_resumes_to_equal_bytes(pairs: ChosenPairs, tmp_path: Path) -> None:
    plan = RobustnessPlan.choose(["darkness"], ["darkness+misalignment"], ["darkness=2", "misalignment=10"])

    def study(folder: Path, cuts: Sequence[int]) -> dict[str, bytes]:
        for cut in cuts:
            with pytest.raises(KeyboardInterrupt):
                cells_of(pairs, folder / "cells", BrightestRectangle(cut)).run(plan.conditions())
        cells = cells_of(pairs, folder / "cells")
        cells.run(plan.conditions())
        figures = summarise("stand-in", cells, plan.conditions(), samples=100)
        write_robustness(plan, [figures], {"pairs": len(pairs)}, folder)
        return contents(folder)

    whole = study(tmp_path / "whole", [])
    assert study(tmp_path / "cut", [1, 7, 20, 13]) == whole
    assert {"robustness.json", "robustness.csv", "robustness.md"} <= set(whole)
    assert "A small sample: 6 pairs" in whole["robustness.md"].decode()
    rows = list(csv.DictReader(whole["robustness.csv"].decode().splitlines()))
    assert len(rows) == 4 * 3
    document = json.loads(whole["robustness.json"])["checkpoints"]["stand-in"]
    # The detector trusts thermal, so misaligned thermal breaks it although RGB alone would do.
    both = {item["condition"]: item for item in document["conditions"]}
    assert both["clean"]["modes"]["fused"]["mAP50"]["value"] == pytest.approx(1)
    assert both["misalignment=10"]["margin"]["value"] < -0.3


def figures(levels: Mapping[int, tuple[float, float, float]]) -> CheckpointFigures:
    """Return figures of haze with given mAP50 of the three modes; an interval is 5 points to either side."""
    found = {}
    for level, values in levels.items():
        condition = Condition.of((FACTORS["haze"], level))
        modes = {
            mode: Cell(Value(value, value - 0.05, value + 0.05), value / 2)
            for mode, value in zip((Mode.FUSED, RGB, THERMAL), values, strict=True)
        }
        margin = values[0] - max(values[1:])
        single = RGB if values[1] >= values[2] else THERMAL
        found[condition.name] = ConditionFigures(condition, modes, single, Value(margin, margin - 0.05, margin + 0.05))
    return CheckpointFigures("made", found)


def test_breaking_points_are_the_first_levels_below_the_better_single_mode_and_at_half() -> None:
    curve = {0: (0.6, 0.5, 0.4), 50: (0.5, 0.3, 0.4), 80: (0.38, 0.2, 0.4), 90: (0.3, 0.1, 0.4), 95: (0.29, 0.0, 0.4)}
    points = figures(curve).breaking_points(FACTORS["haze"])
    # At 80 the better single mode is thermal, which haze does not touch; the interval of the difference holds zero.
    assert (points.below_single, points.clearly_below, points.half) == (80, 90, 90)
    never = figures(dict.fromkeys((0, 50, 80, 90, 95), (0.6, 0.5, 0.4))).breaking_points(FACTORS["haze"])
    assert never.to_dict() == {"factor": "haze", "below_single": None, "clearly_below": None, "half": None}
    at_once = figures(dict.fromkeys((0, 50, 80, 90, 95), (0.4, 0.5, 0.4))).breaking_points(FACTORS["haze"])
    assert (at_once.below_single, at_once.clearly_below, at_once.half) == (0, 0, None)


def test_plan_joins_single_factors_and_grids_without_a_condition_twice() -> None:
    plan = RobustnessPlan.choose(["misalignment"], ["misalignment+darkness"], ["misalignment=30,10,0"])
    assert list(plan.factors[0].levels) == [10, 30]
    assert list(pair_levels(FACTORS["misalignment"])) == [0, 5, 15, 30]
    assert list(pair_levels(plan.factors[0])) == [0, 10, 30]
    names = [condition.name for condition in plan.conditions()]
    assert len(names) == len(set(names)) == 3 * 4
    assert names[:3] == ["clean", "misalignment=10", "misalignment=30"]
    assert "misalignment=10+darkness=2" in names and "darkness=6" in names
    of_rgb = RobustnessPlan.choose().of_modalities(["rgb", "depth"])
    assert [factor.name for factor in of_rgb.factors] == ["darkness", "haze", "smoke", "rgb_noise", "rgb_missing"]


def test_factors_that_cannot_be_measured_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    plan = RobustnessPlan.choose(["darkness", "zoom"], ["darkness+haze", "darkness+zoom"])
    warn_of_left_out(plan.names, plan.of_modalities(["rgb", "depth"]).names)
    assert capsys.readouterr().err.endswith("the image that changes: zoom, darkness+zoom\n")
    warn_of_left_out(plan.names, plan.of_modalities(["rgb", "thermal"]).names)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"only": ["fog"]}, "factor 'fog' is not known"),
        ({"combine": ["darkness"]}, "--combine 'darkness': join two different factors"),
        ({"combine": ["haze+haze"]}, "--combine 'haze\\+haze': join two different factors"),
        ({"levels": ["haze"]}, "--levels 'haze': write FACTOR=LEVEL"),
        ({"levels": ["haze=a"]}, "--levels 'haze=a': write FACTOR=LEVEL"),
        ({"levels": ["haze=0"]}, "--levels 'haze=0': give at least one level above 0"),
        ({"levels": ["haze=101"]}, "level 101 of haze: give 0 to 100"),
        ({"only": ["haze"], "levels": ["smoke=10"]}, "--levels names smoke, which is not measured"),
    ],
    ids=str,
)
def test_bad_plan_is_refused_with_one_sentence(options: dict[str, list[str]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RobustnessPlan.choose(**options)


def test_chosen_pairs_are_evenly_spaced_and_have_all_images(data: Path, tmp_path: Path) -> None:
    dataset = PreparedDataset(open_dataset(data, "val"), (64, 64), headroom=None)
    assert ChosenPairs(dataset, ("rgb",), 3).names == tuple(dataset.names[index] for index in (0, 2, 4))
    copy = shutil.copytree(data, tmp_path / "copy")
    (copy / "rgb" / "pair_03.jpg").write_bytes(b"no image")
    chosen = ChosenPairs(PreparedDataset(open_dataset(copy, "val"), (64, 64), headroom=None), ("rgb", "thermal"))
    assert len(chosen) == 5 and list(chosen.skipped) == ["copy/pair_03"]
    with pytest.raises(ValueError, match="no pair has the images depth"):
        ChosenPairs(dataset, ("depth",))
    with pytest.raises(ValueError, match="the model uses rgb alone"):
        study_modes(("rgb",))


def test_folder_of_another_plan_is_refused(tmp_path: Path) -> None:
    keep_plan(tmp_path, {"seed": 0})
    keep_plan(tmp_path, {"seed": 0})
    with pytest.raises(ValueError, match="holds the cells of other data, pairs or seed: choose another --out"):
        keep_plan(tmp_path, {"seed": 1})


def test_labels_are_stems_or_name_the_folder_too(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("add/best.pt", "one/best.pt", "nano.pt")]
    assert list(checkpoint_labels(paths)) == ["add_best", "one_best", "nano"]
    with pytest.raises(ValueError, match="have the same name add_best: rename one"):
        checkpoint_labels([paths[0], paths[0]])


def test_command_compares_checkpoints_and_refuses_another_seed_in_the_same_folder(data: Path, tmp_path: Path) -> None:
    files = []
    for name in ("add", "concat"):
        torch.manual_seed(0)
        files.append(str(tmp_path / f"{name}.safetensors"))
        model = FusionMambaDetector(ModelConfig(fusion=name, classes=1))
        save_checkpoint(files[-1], model, CheckpointMetadata(("person",), (64, 64)))
    out = tmp_path / "out"
    copy = shutil.copytree(data, tmp_path / "copy")
    arguments = ["analyze", "robustness", *files, "--data", str(copy), "--out", str(out), "--threads", "1"]
    arguments += ["--limit", "2", "--only", "darkness", "--levels", "darkness=3", "--samples", "100"]
    arguments += ["--combine", "darkness+rgb_missing", "--levels", "rgb_missing=100"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert len(contents(out / "cells")) == 2 * 4 * 3
    table = (out / "robustness.md").read_text()
    assert "| add | darkness |" in table and "| concat | darkness |" in table and "A small sample: 2 pairs" in table
    assert {path.name for path in out.glob("*.png")} == {"robustness.png", "robustness_darkness+rgb_missing.png"}
    label_file = next(
        path for path in sorted((copy / "labels").glob("*.txt")) if path.stem in (out / "plan.json").read_text()
    )
    label_file.write_text("0 0.5 0.5 0.2 0.2\n0 0.2 0.2 0.1 0.1\n")
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert len(contents(out / "cells")) == 2 * 2 * 4 * 3, "a corrected label needs new cells"
    refused = CliRunner().invoke(app, [*arguments, "--seed", "1"])
    assert refused.exit_code == 2 and "choose another --out" in refused.stderr
