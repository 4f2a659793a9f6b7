# SPDX-License-Identifier: Apache-2.0
"""One geometry for both images and the boxes: held by images that show their boxes in bright pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bright_patches import PLAIN, SIZE, bright_box, patch_sample

from fusion_mamba_ros.datasets import Augmentation, AugmentationConfig, Sample
from fusion_mamba_ros.datasets.paired_geometry import letterbox_matrix, warp_boxes, warp_into
from fusion_mamba_ros.perception.letterbox import Letterbox

GEOMETRY = replace(PLAIN, scale=0.5, translate=0.2, flip_probability=0.5, minimum_visibility=0.2, minimum_side_px=2.0)


def test_boxes_stay_on_what_they_enclose_in_both_images() -> None:
    seen = 0
    for seed in range(60):
        changed = Augmentation(GEOMETRY)([patch_sample(seed)], 0, np.random.default_rng(seed))
        for box in changed.boxes:
            seen += 1
            for image in (changed.images["rgb"][..., 0], changed.images["thermal"]):
                np.testing.assert_allclose(bright_box(image), box, atol=1.01, err_msg=f"seed {seed}")
    assert seen > 40


def test_rotated_and_sheared_boxes_bound_what_they_enclose() -> None:
    config = replace(GEOMETRY, rotation_degrees=20.0, shear_degrees=8.0, scale=0.1, translate=0.0)
    seen = 0
    for seed in range(60):
        changed = Augmentation(config)([patch_sample(seed)], 0, np.random.default_rng(seed))
        for box in changed.boxes:
            # A turned box that the image's edge cuts may be larger than what is left of its object.
            if (box[:2] > 0).all() and (box[2:] < SIZE).all():
                seen += 1
                np.testing.assert_allclose(bright_box(changed.images["thermal"]), box, atol=2.0, err_msg=f"seed {seed}")
    assert seen > 30


@pytest.mark.parametrize("seed", range(20))
def test_mosaic_keeps_the_boxes_of_all_four_pairs_on_their_patches(seed: int) -> None:
    config = replace(GEOMETRY, mosaic_probability=1.0, minimum_visibility=0.0)
    dataset = [patch_sample(100 + index, size=size) for index, size in enumerate([(640, 480), (500, 300), (320, 256)])]
    changed = Augmentation(config)(dataset, 0, np.random.default_rng(seed))
    covered = np.zeros((SIZE[1], SIZE[0]), bool)
    for x1, y1, x2, y2 in changed.boxes:
        # A pixel inside each edge is bright ...
        assert (changed.images["thermal"][int(y1 + 1.5) : int(y2 - 1.5), int(x1 + 1.5) : int(x2 - 1.5)] > 200).all()
        covered[max(0, int(y1) - 1) : int(y2) + 2, max(0, int(x1) - 1) : int(x2) + 2] = True
    # ... and nothing is bright without a box, but for slivers below the smallest box side.
    stray = (changed.images["thermal"] > 200) & ~covered
    assert stray.sum(axis=0).astype(bool).sum() <= 3 or stray.sum(axis=1).astype(bool).sum() <= 3
    np.testing.assert_array_equal(changed.images["thermal"] > 200, changed.images["rgb"][..., 0] > 200)


@pytest.mark.parametrize("size", [(640, 480), (520, 301), (320, 256), (200, 400), (80, 64)])
def test_without_changes_it_is_the_letterbox_of_inference(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    smooth = np.clip(np.add.outer(np.linspace(0, 120, size[1]), np.linspace(0, 120, size[0])), 0, 255).astype(np.uint8)
    sample = Sample(
        "a",
        {"rgb": np.dstack([smooth] * 3), "thermal": smooth},
        np.array([[10, 20, 70, 60]], np.float32),
        np.zeros(1, np.int64),
    )
    changed = Augmentation(PLAIN)([sample], 0, rng)
    letterbox = Letterbox(size, SIZE)
    np.testing.assert_allclose(changed.boxes, letterbox.boxes_to_canvas(sample.boxes), atol=1e-3)
    difference = np.abs(changed.images["rgb"].astype(int) - letterbox.place(sample.images["rgb"]).astype(int))
    assert difference.max() <= 2


@pytest.mark.parametrize("zoom", [0.4, 1.0, 3.7])
@pytest.mark.parametrize("degrees", [0.0, 12.0])
def test_image_fills_exactly_the_pixels_whose_centre_it_covers(zoom: float, degrees: float) -> None:
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.array([[zoom * cosine, -zoom * sine, 60.3], [zoom * sine, zoom * cosine, 20.2], [0, 0, 1]])
    canvas = np.full((256, 320), 7, np.uint8)
    warp_into(canvas, np.full((40, 50), 200, np.uint8), matrix)
    x, y = np.meshgrid(np.arange(320) + 0.5, np.arange(256) + 0.5)
    source = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(matrix).T
    inside = ((source[..., :2] >= 0) & (source[..., :2] < (50, 40))).all(axis=-1)
    # OpenCV places to 1/1024 of a pixel.
    near_an_edge = (np.abs(source[..., :2] - np.round(source[..., :2] / (50, 40)) * (50, 40)) < 0.01).any(axis=-1)
    expected = np.where(inside, 200, 7)
    assert inside.sum() > 300
    np.testing.assert_array_equal(canvas[~near_an_edge], expected[~near_an_edge])


def test_flip_exchanges_left_and_right() -> None:
    sample = patch_sample(1, size=SIZE)
    changed = Augmentation(replace(PLAIN, flip_probability=1.0))([sample], 0, np.random.default_rng(0))
    np.testing.assert_array_equal(changed.images["thermal"], sample.images["thermal"][:, ::-1])
    np.testing.assert_allclose(changed.boxes[:, [0, 2]], SIZE[0] - sample.boxes[:, [2, 0]])


def test_same_generator_state_gives_the_same_pair_and_nothing_else_matters() -> None:
    dataset = [patch_sample(seed, patches=3) for seed in range(5)]
    config = AugmentationConfig(size=SIZE, rotation_degrees=5.0)
    first, second = Augmentation(config), Augmentation(config)
    second(dataset, 3, np.random.default_rng(99))  # an earlier call leaves no trace
    one, other = (item(dataset, 1, np.random.default_rng(7)) for item in (first, second))
    for name in ("boxes", "labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.images.keys() == other.images.keys()
    for name, image in one.images.items():
        np.testing.assert_array_equal(image, other.images[name])


def test_changes_that_are_off_draw_no_number() -> None:
    dataset = [patch_sample(seed, patches=3) for seed in range(5)]
    config = AugmentationConfig(size=SIZE)
    other = replace(
        config,
        copy_paste_objects=9,
        haze_contrast=0.9,
        smoke_contrast=0.9,
        darkness_gain=0.9,
        thermal_blur_px=9.0,
        large_misalignment_px=99.0,
    )
    for seed in range(5):
        generators = [np.random.default_rng(seed) for _ in range(2)]
        one, two = (Augmentation(c)(dataset, 1, g) for c, g in zip((config, other), generators, strict=True))
        for name in ("rgb", "thermal", "boxes", "labels"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert generators[0].random() == generators[1].random()


def test_box_that_is_hardly_visible_goes_and_one_that_is_half_visible_stays() -> None:
    boxes = np.array([[0, 0, 640, 480], [300, 200, 340, 240]], np.float32)
    grey = np.zeros((480, 640), np.uint8)
    sample = Sample("a", {"rgb": np.dstack([grey] * 3), "thermal": grey}, boxes, np.array([0, 1]))
    # Four times enlarged about the centre: a sixteenth of the first box shows, all of the second.
    config = replace(PLAIN, minimum_visibility=0.2)
    zoom = np.array([[4, 0, -1.5 * SIZE[0]], [0, 4, -1.5 * SIZE[1]], [0, 0, 1]])
    _, keep = warp_boxes(sample.boxes, zoom @ letterbox_matrix(sample.size, SIZE), SIZE, config)
    assert keep.tolist() == [False, True]


def test_network_size_of_a_batch_varies_in_steps_of_32() -> None:
    augment = Augmentation(replace(AugmentationConfig(), size=SIZE, multi_scale=0.5))
    sizes = {augment.draw_size(np.random.default_rng(seed)) for seed in range(100)}
    assert all(width % 32 == 0 and height % 32 == 0 for width, height in sizes)
    assert min(sizes) < SIZE < max(sizes)
    changed = augment([patch_sample(0)], 0, np.random.default_rng(0), size=max(sizes))
    assert changed.images["thermal"].shape == max(sizes)[::-1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": (300, 256)}, "multiples of 32"),
        ({"mosaic_probability": 1.5}, "mosaic_probability is 1.5"),
        ({"modality_dropout": {"rgb": 0.6, "thermal": 0.5}}, "exclude each other"),
        ({"modality_dropout": {"sonar": 0.6}}, "names 'sonar': use rgb, thermal"),
        ({"modality_dropout": {"rgb": 2}}, "of rgb is 2"),
        ({"modality_dropout": 0.1}, "write it as a mapping"),
        ({"scale": 1.0}, "scale is 1.0"),
        ({"translate": -0.1}, "translate is -0.1"),
        ({"smoke_probability": 1.5}, "smoke_probability is 1.5"),
        ({"smoke_contrast": 1.5}, "smoke_contrast is 1.5"),
        ({"copy_paste_objects": 1.5}, "copy_paste_objects is 1.5: expected a whole number"),
        ({"mosaik": 1}, "unknown keys mosaik"),
    ],
)
def test_bad_configuration_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentationConfig.from_dict(values)


def test_configuration_survives_its_dictionary() -> None:
    config = AugmentationConfig(size=SIZE, modality_dropout={"thermal": 0.25, "rgb+thermal": 0.1})
    assert AugmentationConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"rgb_dropout": 0.2, "thermal_dropout": 0.3}, (0.2, 0.3)),
        ({"rgb_dropout": 0.2}, (0.2, 0.1)),
        # An override of a recipe that has the new key, as published command lines make it.
        ({"modality_dropout": {"rgb": 0.15, "thermal": 0.15}, "rgb_dropout": 0.2}, (0.2, 0.15)),
    ],
)
def test_dropout_keys_of_older_recipes_still_load(old: dict[str, Any], new: tuple[float, float]) -> None:
    with pytest.warns(DeprecationWarning, match="use modality_dropout"):
        config = AugmentationConfig.from_dict(old)
    assert config.modality_dropout == {"rgb": new[0], "thermal": new[1]}
