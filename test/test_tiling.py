# SPDX-License-Identifier: Apache-2.0
"""Detection in large images tile by tile."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointMetadata
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.engine import EngineOutput
from fusion_mamba_ros.perception.finite_output import NonFiniteOutputError
from fusion_mamba_ros.perception.modality import modality_named
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds
from fusion_mamba_ros.perception.preprocessing import prepare, prepare_tiles
from fusion_mamba_ros.perception.tiling import MOST_TILES, Tiling

CANVAS = (96, 64)
METADATA = CheckpointMetadata(("person", "car"), CANVAS)


class BrightObjects:
    """An engine that finds each connected bright region, exactly, and scores it by its area."""

    name, version, device, precision = "bright", "1", "cpu", "fp32"

    def __init__(self, modalities: tuple[str, ...] = ("rgb", "thermal"), problem_at: int | None = None) -> None:
        self.modalities = {name: modality_named(name).channels for name in modalities}
        self.batches: list[int] = []
        self.problem_at = problem_at

    def run(self, images: Mapping[str, npt.NDArray[np.uint8]], calibration: object = None) -> EngineOutput:
        looked_at = np.max([batch.max(axis=1) for batch in images.values()], axis=0)
        self.batches.append(len(looked_at))
        rows = np.zeros((len(looked_at), 4000, 6), np.float32)
        for number, image in enumerate(looked_at):
            count, _, stats, _ = cv2.connectedComponentsWithStats((image > 200).astype(np.uint8), connectivity=4)
            for anchor, (x, y, width, height, area) in enumerate(stats[1:count].tolist()):
                rows[number, anchor] = (x, y, x + width, y + height, 0.3 + area / 20_000, 0.0)
        problem = "no number" if self.problem_at == len(self.batches) - 1 else None
        return EngineOutput(rows, problem)

    def memory_mb(self) -> dict[str, float]:
        return {}

    def free_memory(self) -> None:
        pass


def predictor(tiling: Tiling | None, *modalities: str, **options: Any) -> Predictor:
    engine = BrightObjects(modalities or ("rgb", "thermal"))
    return Predictor(engine, METADATA, tiling=tiling, **options)


def thermal_scene(size: tuple[int, int], *boxes: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    image = np.full((size[1], size[0]), 20, np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return image


def sorted_boxes(found: Detections) -> list[tuple[float, ...]]:
    return sorted(tuple(round(float(value), 3) for value in box) for box in found.boxes)


@pytest.mark.parametrize("seed", range(40))
def test_tiles_cover_the_image_with_the_overlap_and_fit_the_canvas(seed: int) -> None:
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 900)), int(generator.integers(1, 900))
    overlap = float(generator.choice([0.0, 0.2, 0.5]))
    columns, rows = (int(count) for count in generator.integers(0, 5, 2))
    tiles = Tiling(columns, rows, overlap).tiles(size, CANVAS)
    covered = np.zeros((size[1], size[0]), int)
    for tile in tiles:
        assert tile.x >= 0 and tile.y >= 0 and tile.x + tile.width <= size[0] and tile.y + tile.height <= size[1]
        covered[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] += 1
    assert covered.min() >= 1, f"seed {seed}"
    for axis, (count, length) in enumerate(zip((columns, rows), size, strict=True)):
        spans = sorted({(tile.x, tile.width) if axis == 0 else (tile.y, tile.height) for tile in tiles})
        if count == 0:
            assert all(extent == min(length, CANVAS[axis]) for _, extent in spans)  # never shrunk
        elif length >= 8 * count:
            assert len(spans) == count
        for (start, extent), (following, _) in pairwise(spans):
            assert start + extent - following >= np.floor(overlap * extent) - 1, f"seed {seed}"


@pytest.mark.parametrize("tiling", [Tiling(1, 1), Tiling(), Tiling(0, 1), Tiling(1, 1, 0.5)])
def test_one_tile_gives_what_the_whole_image_gives(tiling: Tiling) -> None:
    generator = np.random.default_rng(5)
    size = (90, 50)  # fits the canvas, so that an automatic tiling has one tile
    images = {
        "rgb": generator.integers(0, 256, (50, 90, 3), np.uint8),
        "thermal": generator.integers(0, 65536, (40, 70), np.uint16),
    }
    homography = [1.05, 0.02, -0.02, 0.01, 0.97, 0.03, 0.0, 0.0, 1.0]
    options: dict[str, Any] = {"homography": np.array(homography).reshape(3, 3)}
    for call in (images, {"thermal": images["thermal"]}, {"rgb": images["rgb"]}):
        whole, tiled = predictor(None, **options).predict(call), predictor(tiling, **options).predict(call)
        assert len(whole) > 3 and whole.mode == tiled.mode
        for name in ("boxes", "scores", "labels"):
            np.testing.assert_array_equal(getattr(whole, name), getattr(tiled, name))
    assert len(tiling.tiles(size, CANVAS)) == 1


def test_small_objects_of_a_large_image_come_back_in_its_pixels() -> None:
    size = (400, 300)
    boxes = [(3, 4, 9, 12), (100, 100, 104, 108), (395, 290, 400, 300), (60, 55, 70, 62), (200, 0, 206, 8)]
    image = thermal_scene(size, *boxes)
    found = predictor(Tiling(), "thermal").predict({"thermal": image})
    assert sorted_boxes(found) == sorted(tuple(map(float, box)) for box in boxes)
    assert found.mode is Mode.THERMAL_ONLY and (np.diff(found.scores) <= 0).all()
    # The same objects are too small in the shrunk image: they come back wrong by pixels, or not at all.
    assert sorted_boxes(predictor(None, "thermal").predict({"thermal": image})) != sorted_boxes(found)


def test_an_object_on_a_border_of_tiles_is_found_once_and_whole() -> None:
    # The two tiles of 96 pixels start at 0 and 54: columns 54 to 96 are in both.
    size = (150, 60)
    tiles = Tiling().tiles(size, CANVAS)
    assert [(tile.x, tile.width) for tile in tiles] == [(0, 96), (54, 96)]
    for left in range(40, 100):
        box = (left, 20, left + 30, 45)  # shorter than the overlap of 42
        found = predictor(Tiling(), "thermal").predict({"thermal": thermal_scene(size, box)})
        assert sorted_boxes(found) == [tuple(map(float, box))], f"left {left}"


def test_an_object_that_is_larger_than_the_overlap_may_come_in_parts() -> None:
    found = predictor(Tiling(), "thermal").predict({"thermal": thermal_scene((150, 60), (30, 20, 130, 45))})
    assert sorted_boxes(found) == [(30, 20, 96, 45), (54, 20, 130, 45)]


def test_a_cut_object_beside_a_whole_one_of_another_class_or_in_the_same_tile_stays() -> None:
    # Touches the right border of the first tile only by its place: the tile is the last one, so nothing is cut.
    size = (150, 60)
    boxes = [(140, 10, 150, 20), (0, 10, 10, 20)]
    found = predictor(Tiling(), "thermal").predict({"thermal": thermal_scene(size, *boxes)})
    assert len(found) == 2


@pytest.mark.parametrize("homography", [None, [1.04, 0.01, -0.03, 0.02, 0.96, 0.02, 0.03, -0.02, 1.0]])
def test_tiles_show_both_cameras_as_the_whole_registered_image_does(homography: list[float] | None) -> None:
    generator = np.random.default_rng(2)
    size = (256, 192)
    coarse = generator.integers(0, 256, (12, 16, 3), np.uint8)
    rgb = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    thermal = np.asarray(cv2.resize(coarse[..., 0], (200, 150), interpolation=cv2.INTER_CUBIC), np.uint8)
    options: dict[str, Any] = {
        "channels": {"rgb": 3, "thermal": 1},
        "homographies": {} if homography is None else {"thermal": np.array(homography).reshape(3, 3)},
    }
    whole = prepare({"rgb": rgb, "thermal": thermal}, canvas_size=size, **options)
    tiles = prepare_tiles({"rgb": rgb, "thermal": thermal}, canvas_size=CANVAS, tiling=Tiling(), **options)
    assert len(tiles) == 16
    for item in tiles:
        assert item.tile is not None and item.tile.size == CANVAS
        place = np.s_[item.tile.y : item.tile.y + 64, item.tile.x : item.tile.x + 96]
        np.testing.assert_array_equal(item.canvases["rgb"], whole.canvases["rgb"][place])
        difference = item.canvases["thermal"].astype(int) - whole.canvases["thermal"][place]
        assert np.abs(difference).max() <= 1


def test_boxes_of_thermal_alone_are_in_pixels_of_the_rgb_image() -> None:
    shift = np.array([[1.0, 0.0, 0.1], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    tiled = predictor(Tiling(), homography=shift)
    found = tiled.predict({"thermal": thermal_scene((200, 100), (20, 30, 24, 33))}, reference_size=(400, 200))
    # Twice the size, shifted by a tenth of the width.
    np.testing.assert_allclose(found.boxes, [[80, 60, 88, 66]], atol=1.0)


def test_a_batch_of_images_with_different_numbers_of_tiles() -> None:
    small, large = thermal_scene((96, 64), (10, 10, 20, 20)), thermal_scene((300, 200), (250, 150, 260, 160))
    tiled = predictor(Tiling(), "thermal")
    found = tiled.predict_batch([{"thermal": small}, {"thermal": large}, {"thermal": small}])
    assert [sorted_boxes(item) for item in found] == [[(10, 10, 20, 20)], [(250, 150, 260, 160)], [(10, 10, 20, 20)]]
    engine = tiled.engine
    assert isinstance(engine, BrightObjects)
    assert sum(engine.batches) == 2 + 16 and max(engine.batches) == 8


def test_all_tiles_of_a_thermal_image_have_one_scaling() -> None:
    image = np.full((128, 384), 7000, np.uint16)
    image[:, 192:] += np.arange(192, dtype=np.uint16) * 10  # the left half alone is flat
    preparation = predictor(Tiling())._preparation
    tiles = preparation.prepare_tiles({"thermal": image}, {}, None, Tiling())
    whole = preparation.prepare({"thermal": image}, {}, None)
    assert {int(item.canvases["thermal"][32, 48, 0]) for item in tiles[:2]} == {
        int(whole.canvases["thermal"][32, 8, 0])
    }


def test_a_failure_in_any_part_of_the_batch_is_a_failure() -> None:
    engine = BrightObjects(("thermal",), problem_at=1)
    tiled = Predictor(engine, METADATA, tiling=Tiling())
    with pytest.raises(NonFiniteOutputError, match="no number"):
        tiled.predict({"thermal": thermal_scene((400, 300))})


def test_the_number_of_detections_is_that_of_the_whole_image() -> None:
    corners = [(10 + 40 * column, 10 + 30 * row) for column in range(9) for row in range(9)]
    boxes = [(x, y, x + 6, y + 8) for x, y in corners]
    tiled = predictor(Tiling(), "thermal", thresholds=Thresholds(max_detections=7))
    assert len(tiled.predict({"thermal": thermal_scene((400, 300), *boxes)})) == 7
    tiled.change(max_detections=300)
    assert len(tiled.predict({"thermal": thermal_scene((400, 300), *boxes)})) == 81


@pytest.mark.parametrize(
    ("text", "overlap", "message"),
    [
        ("3", 0.2, "tiles is '3': expected auto, COLUMNSxROWS such as 3x2, or empty"),
        ("0x2", 0.2, "tiles is '0x2'"),
        ("2x-1", 0.2, "tiles is '2x-1'"),
        ("20x20", 0.2, "tiles is 20x20: expected at most 256 tiles"),
        ("2x2", 0.9, "tile_overlap is 0.9: expected 0 to 0.8"),
        ("", -0.1, "tile_overlap is -0.1: expected 0 to 0.8"),
        ("2x2", float("nan"), "tile_overlap is nan"),
    ],
)
def test_bad_tilings_are_refused(text: str, overlap: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tiling.parse(text, overlap)


def test_texts_of_tilings() -> None:
    assert Tiling.parse("") is None
    assert Tiling.parse("auto") == Tiling(0, 0, 0.2)
    assert Tiling.parse("3x2", 0.5) == Tiling(3, 2, 0.5)


def test_an_image_with_too_many_automatic_tiles_is_refused() -> None:
    with pytest.raises(ValueError, match=rf"an image of 4000x3000 has 52x59 tiles of 96x64: name at most {MOST_TILES}"):
        predictor(Tiling(), "thermal").predict({"thermal": np.zeros((3000, 4000), np.uint8)})


def test_the_warm_up_predicts_with_tiles() -> None:
    tiled = predictor(Tiling(2, 2))
    assert len(tiled.warm_up()) == 3
    engine = tiled.engine
    assert isinstance(engine, BrightObjects) and engine.batches == [4, 4, 4]
