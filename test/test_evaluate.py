# SPDX-License-Identifier: Apache-2.0
"""Evaluation of a dataset in each mode, by group and with unreadable pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from fusion_mamba_ros.datasets import DatasetError, Sample, UnreadableImageError
from fusion_mamba_ros.evaluation.detection_results import DetectionResults
from fusion_mamba_ros.evaluation.evaluate import PROTOCOL, Images, evaluate
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.registration import Homographies

MODES = (Mode.FUSED, Mode.RGB_ONLY, Mode.THERMAL_ONLY)


class LabelledPairs(list[Any]):
    """Two objects in each pair: a person that only thermal shows, a car that only RGB shows."""

    class_names = ("person", "car")

    def __init__(self, count: int, broken: tuple[int, ...] = ()) -> None:
        super().__init__(self.make(index) for index in range(count))
        self.broken = broken
        self.read: list[int] = []

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sample.name for sample in self)

    def make(self, index: int) -> Sample:
        width, height = ((64, 48), (80, 60))[index % 4 == 3]
        boxes = np.array([[4, 4, 14, 24], [30, 20, 60, 40]], np.float32)
        rgb, thermal = np.zeros((height, width, 3), np.uint8), np.zeros((height // 2, width // 2), np.uint8)
        rgb[20:40, 30:60], thermal[2:12, 2:7] = 255, 255
        group = "day" if index % 2 else "night"
        return Sample(f"pair{index}", {"rgb": rgb, "thermal": thermal}, boxes, np.array([0, 1]), group)

    def __getitem__(self, index: Any) -> Any:
        self.read.append(index)
        if index in self.broken:
            raise UnreadableImageError(f"image 'pair{index}.jpg' is cut short")
        return super().__getitem__(index)


class BrightRegions:
    """Detects what is bright: in RGB a car, in thermal a person, in pixels of the reference size."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []
        self.homographies: list[dict[str, list[list[float]]]] = []

    def __call__(
        self, batch: Sequence[Images], *, reference_size: tuple[int, int], homography: Homographies
    ) -> list[Detections]:
        self.homographies.append({name: matrix.tolist() for name, matrix in homography.items()})
        self.batches.append([rgb.shape[:2] for images in batch if (rgb := images.get("rgb")) is not None])
        found = []
        for images in batch:
            boxes, labels = [], []
            for label, name in enumerate(("thermal", "rgb")):
                if (given := images.get(name)) is None:
                    continue
                image = given if given.ndim == 2 else given[..., 0]
                rows, columns = np.nonzero(image)
                scale = np.array(reference_size * 2) / np.array(image.shape[::-1] * 2)
                boxes.append(np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) * scale)
                labels.append(label)
            found.append(
                Detections(
                    np.array(boxes, np.float32), np.full(len(boxes), 0.9, np.float32), np.array(labels, np.int64)
                )
            )
        return found


def test_each_mode_sees_its_cameras_only() -> None:
    found = evaluate(BrightRegions(), LabelledPairs(6), MODES)
    assert found.modes[Mode.FUSED].metrics.map50 == pytest.approx(1.0)
    for mode, seen, unseen in ((Mode.RGB_ONLY, "car", "person"), (Mode.THERMAL_ONLY, "person", "car")):
        per_class = found.modes[mode].metrics.per_class
        assert per_class[seen].ap50 == pytest.approx(1.0) and per_class[unseen].ap50 == 0.0
        assert found.modes[mode].metrics.map50 == pytest.approx(0.5)


def test_groups_are_measured_apart_and_cover_all_pairs() -> None:
    found = evaluate(BrightRegions(), LabelledPairs(7), (Mode.FUSED,)).modes[Mode.FUSED]
    assert {group: metrics.images for group, metrics in found.groups.items()} == {"day": 3, "night": 4}


def test_batches_hold_neighbours_of_one_size_and_each_pair_is_read_once() -> None:
    detector, dataset = BrightRegions(), LabelledPairs(9)
    done: list[int] = []
    evaluate(detector, dataset, MODES, batch_size=2, on_progress=done.append)
    assert dataset.read == list(range(9))
    sizes = [batch for batch in detector.batches if batch]
    assert all(len(set(batch)) == 1 and len(batch) <= 2 for batch in sizes)
    assert done[-1] == 9 and done == sorted(done)


def test_aligned_pairs_are_predicted_as_aligned_and_others_by_their_own_homography() -> None:
    detector, dataset, shift = BrightRegions(), LabelledPairs(2), np.array([[1, 0, 0.25], [0, 1, 0], [0, 0, 1.0]])
    dataset[1] = replace(dataset[1], homographies={"thermal": shift})
    evaluate(detector, dataset, (Mode.FUSED,))
    # None would stand for the homographies that the checkpoint carries.
    assert detector.homographies == [{}, {"thermal": shift.tolist()}]


def test_a_mode_is_measured_on_the_pairs_that_have_its_images() -> None:
    dataset = LabelledPairs(6)
    dataset[1] = replace(dataset[1], images={"thermal": dataset[1].images["thermal"]}, homographies={})
    dataset[2] = replace(dataset[2], images={"rgb": dataset[2].images["rgb"]})
    found = evaluate(BrightRegions(), dataset, MODES).modes
    counted = {mode: [image.name for image in item.results.images] for mode, item in found.items()}
    assert counted[Mode.FUSED] == ["pair0", "pair3", "pair4", "pair5"]
    assert counted[Mode.RGB_ONLY] == ["pair0", "pair2", "pair3", "pair4", "pair5"]
    assert counted[Mode.THERMAL_ONLY] == ["pair0", "pair1", "pair3", "pair4", "pair5"]


def test_a_mode_that_no_pair_has_images_for_is_left_out_and_refused_where_it_is_all_that_was_asked() -> None:
    dataset = LabelledPairs(3)
    for index in range(3):
        dataset[index] = replace(dataset[index], images={"thermal": dataset[index].images["thermal"]})
    assert list(evaluate(BrightRegions(), dataset, MODES).modes) == [Mode.THERMAL_ONLY]
    with pytest.raises(DatasetError, match="no pair has the images for fused, rgb_only"):
        evaluate(BrightRegions(), dataset, (Mode.FUSED, Mode.RGB_ONLY))


def test_unreadable_pair_is_skipped_and_named() -> None:
    found = evaluate(BrightRegions(), LabelledPairs(4, broken=(1,)), (Mode.FUSED,))
    assert found.skipped == {"pair1": "image 'pair1.jpg' is cut short"}
    assert found.modes[Mode.FUSED].metrics.images == 3
    assert found.to_dict()["skipped"] == found.skipped


def test_unreadable_pair_is_refused_if_asked() -> None:
    with pytest.raises(UnreadableImageError, match=r"pair1\.jpg"):
        evaluate(BrightRegions(), LabelledPairs(4, broken=(1,)), (Mode.FUSED,), refuse_unreadable=True)


def test_nothing_readable_is_an_error() -> None:
    with pytest.raises(DatasetError, match=r"no pair could be read.*pair0\.jpg"):
        evaluate(BrightRegions(), LabelledPairs(2, broken=(0, 1)), MODES)


def test_dictionary_has_the_documented_form() -> None:
    content = evaluate(BrightRegions(), LabelledPairs(6), MODES).to_dict()
    assert content["protocol"]["score_threshold"] == PROTOCOL.score_threshold == 0.001
    assert content["protocol"]["max_detections"] == 300
    assert set(content["modes"]) == {"fused", "rgb_only", "thermal_only"}
    fused = content["modes"]["fused"]
    assert fused["mAP50"] == pytest.approx(1.0) and fused["per_class"]["car"]["AP50"] == pytest.approx(1.0)
    assert fused["confusion_matrix"]["counts"] == [[6, 0, 0], [0, 6, 0], [0, 0, 0]]
    assert set(fused["groups"]) == {"day", "night"}


def test_results_survive_their_file(tmp_path: Path) -> None:
    dataset = LabelledPairs(3)
    empty = replace(
        dataset[0], name="empty", boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64), group=""
    )
    dataset.append(empty)
    results = evaluate(BrightRegions(), dataset, (Mode.THERMAL_ONLY,)).modes[Mode.THERMAL_ONLY].results
    results.save(tmp_path / "r.npz")
    loaded = DetectionResults.load(tmp_path / "r.npz")
    assert (loaded.class_names, loaded.mode) == (results.class_names, Mode.THERMAL_ONLY)
    for one, other in zip(loaded.images, results.images, strict=True):
        assert (one.name, one.group) == (other.name, other.group)
        np.testing.assert_array_equal(one.truth_boxes, other.truth_boxes)
        np.testing.assert_array_equal(one.truth_labels, other.truth_labels)
        for field in ("boxes", "scores", "labels"):
            np.testing.assert_array_equal(getattr(one.detections, field), getattr(other.detections, field))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + b"\0" * 18])
def test_file_that_is_no_result_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"r\.npz' cannot be read"):
        DetectionResults.load(tmp_path / "r.npz")


def test_pickled_arrays_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", mode=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match=r"r\.npz' cannot be read"):
        DetectionResults.load(tmp_path / "r.npz")


@pytest.mark.parametrize("package", ["pycocotools", "matplotlib"])
def test_what_evaluation_needs_is_asked_for_before_the_work(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else True)
    with pytest.raises(ImportError, match=f"pip install {package}$"):
        evaluate(lambda *images, **options: pytest.fail("predicted"), cast(Any, []))
