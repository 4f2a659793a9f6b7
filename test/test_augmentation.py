# SPDX-License-Identifier: Apache-2.0
"""One geometry for both images and the boxes: held by images that show their boxes in bright pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fusion_mamba_ros.datasets import Augmentation, AugmentationConfig, DatasetError, Sample, UnreadableImageError
from fusion_mamba_ros.datasets.paired_geometry import letterbox_matrix, warp_boxes, warp_into
from fusion_mamba_ros.perception.letterbox import Letterbox

SIZE = (320, 256)
PLAIN = AugmentationConfig.none(SIZE)
GEOMETRY = replace(PLAIN, scale=0.5, translate=0.2, flip_probability=0.5, minimum_visibility=0.2, minimum_side_px=2.0)


def patch_sample(seed: int, *, size: tuple[int, int] = (640, 480), patches: int = 1) -> Sample:
    """Return a black pair with bright rectangles exactly where its boxes are."""
    rng = np.random.default_rng(seed)
    rgb, thermal = np.zeros((size[1], size[0], 3), np.uint8), np.zeros((size[1], size[0]), np.uint8)
    boxes = []
    for _ in range(patches):
        width, height = rng.integers(np.array(size) // 8, np.array(size) // 4)
        x, y = rng.integers(0, (size[0] - width, size[1] - height))
        rgb[y : y + height, x : x + width] = thermal[y : y + height, x : x + width] = 255
        boxes.append((x, y, x + width, y + height))
    return Sample(
        f"pair{seed}", {"rgb": rgb, "thermal": thermal}, np.array(boxes, np.float32), np.zeros(patches, np.int64), "day"
    )


def bright_box(image: np.ndarray) -> np.ndarray:
    # Padding is grey: bright is only what a patch covers by more than half.
    rows, columns = np.nonzero(image > 184)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


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


def test_each_stream_is_dropped_whole_as_often_as_asked_and_never_both() -> None:
    grey = np.full((64, 96), 120, np.uint8)
    dataset = [Sample("grey", {"rgb": np.dstack([grey] * 3), "thermal": grey})]
    augment = Augmentation(AugmentationConfig(size=(96, 64), modality_dropout={"thermal": 0.2, "rgb": 0.3}))
    generator = np.random.default_rng(0)
    changed = [augment(dataset, 0, generator).images for _ in range(1000)]
    missing = np.array([["rgb" not in images, "thermal" not in images] for images in changed])
    assert not missing.all(axis=1).any()
    # Four standard deviations of a binomial count.
    assert abs(missing[:, 0].mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 1000)
    assert abs(missing[:, 1].mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 1000)


@pytest.mark.parametrize("dropout", [{"thermal": 1.0}, {"rgb+thermal": 1.0}], ids=str)
def test_nothing_is_dropped_where_nothing_would_be_left(dropout: dict[str, float]) -> None:
    lone = Sample("a", {"thermal": patch_sample(0).images["thermal"]})
    changed = Augmentation(replace(PLAIN, modality_dropout=dropout))([lone], 0, np.random.default_rng(0))
    assert list(changed.images) == ["thermal"]


def test_objects_that_only_a_dropped_image_shows_are_dropped_with_it() -> None:
    first, pair = patch_sample(1), patch_sample(2)
    lone = replace(first, images={"rgb": first.images["rgb"]}, name="rgb alone")
    config = replace(PLAIN, mosaic_probability=1.0, modality_dropout={"rgb": 1.0})
    seen = 0
    for seed in range(40):
        changed = Augmentation(config)([lone, pair], 0, np.random.default_rng(seed))
        if "rgb" in changed.images:  # a mosaic of the lone image alone, of which nothing would be left
            continue
        for x1, y1, x2, y2 in np.round(changed.boxes).astype(int):
            if min(x2 - x1, y2 - y1) > 4:
                seen += 1
                assert changed.images["thermal"][y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].min() > 184, f"seed {seed}"
    assert seen > 20


def test_dropout_leaves_one_of_the_modalities_that_the_model_sees() -> None:
    pair = patch_sample(0)
    for seen, left in ((("rgb",), ["rgb", "thermal"]), (("rgb", "thermal"), ["thermal"])):
        augment = Augmentation(replace(PLAIN, modality_dropout={"rgb": 1.0}), modalities=seen)
        assert list(augment([pair], 0, np.random.default_rng(0)).images) == left
    blind = Augmentation(PLAIN, modalities=("thermal",))
    lone = replace(pair, images={"rgb": pair.images["rgb"]})
    assert len(blind([lone], 0, np.random.default_rng(0)).boxes) == 0 < len(pair.boxes)


def test_thermal_that_the_boxes_were_drawn_on_is_not_moved_against_them() -> None:
    lone = replace(patch_sample(2, size=SIZE), images={"thermal": patch_sample(2, size=SIZE).images["thermal"]})
    changed = Augmentation(replace(PLAIN, misalignment=0.05))([lone], 0, np.random.default_rng(0))
    np.testing.assert_array_equal(changed.images["thermal"], lone.images["thermal"])


def test_misalignment_moves_thermal_alone_and_by_no_more_than_asked() -> None:
    config = replace(PLAIN, misalignment=0.05)
    sample = patch_sample(2, size=SIZE)
    shifts = []
    for seed in range(60):
        changed = Augmentation(config)([sample], 0, np.random.default_rng(seed))
        np.testing.assert_array_equal(changed.images["rgb"], sample.images["rgb"])
        np.testing.assert_allclose(changed.boxes, sample.boxes)
        shifts.append(bright_box(changed.images["thermal"])[:2] - sample.boxes[0, :2])
    assert np.abs(shifts).max() <= 0.05 * SIZE[0] + 1
    assert np.abs(shifts).max(axis=0).min() > 0.03 * SIZE[0]


def test_large_misalignment_shifts_thermal_by_up_to_so_many_pixels_and_not_the_boxes() -> None:
    config = replace(PLAIN, large_misalignment_probability=0.5, large_misalignment_px=20.0)
    rgb, thermal = np.zeros((SIZE[1], SIZE[0], 3), np.uint8), np.zeros((SIZE[1], SIZE[0]), np.uint8)
    rgb[100:140, 150:190] = thermal[100:140, 150:190] = 255
    box = np.array([[150, 100, 190, 140]], np.float32)
    sample = Sample("centre", {"rgb": rgb, "thermal": thermal}, box, np.zeros(1, np.int64))
    shifts = []
    for seed in range(200):
        changed = Augmentation(config)([sample], 0, np.random.default_rng(seed))
        np.testing.assert_array_equal(changed.images["rgb"], rgb)
        np.testing.assert_array_equal(changed.boxes, box)
        rows, columns = np.nonzero(changed.images["thermal"] > 127)
        shifts.append((columns.mean() - 169.5, rows.mean() - 119.5))
    lengths = np.hypot(*np.array(shifts).T)
    moved = lengths > 0.5
    # Four standard deviations of a binomial count; lengths are uniform from 0 to 20.
    assert abs(moved.mean() - 0.5 * 19.5 / 20) < 4 * np.sqrt(0.25 / 200)
    assert 17 < lengths.max() <= 20.5 and abs(lengths[moved].mean() - 10.25) < 4 * 20 / np.sqrt(12 * moved.sum())
    angles = np.arctan2(*np.array(shifts)[moved].T)
    assert np.abs(np.histogram(angles, 4, (-np.pi, np.pi))[0] / moved.sum() - 0.25).max() < 0.2


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


def test_missing_image_stays_missing() -> None:
    sample = replace(patch_sample(0), images={"rgb": patch_sample(0).images["rgb"]})
    changed = Augmentation(PLAIN)([sample], 0, np.random.default_rng(0))
    # No padding either: the batch puts there what inference puts in place of a missing image.
    assert list(changed.images) == ["rgb"]


class BrokenDataset(list[Any]):
    names = ("a", "b", "c")

    def __getitem__(self, index: Any) -> Any:
        if index == 1:
            raise UnreadableImageError("image 'b.jpg' is cut short")
        return super().__getitem__(index)


def test_unreadable_pair_is_replaced_named_and_counted() -> None:
    dataset = BrokenDataset([patch_sample(0), None, patch_sample(2)])
    augment = Augmentation(PLAIN)
    names = {augment(dataset, 1, np.random.default_rng(seed)).name for seed in range(30)}
    assert names == {"pair0", "pair2"}
    assert augment.skipped == {"b": "image 'b.jpg' is cut short"}


def test_unreadable_pair_is_refused_if_asked() -> None:
    with pytest.raises(UnreadableImageError, match=r"b.jpg"):
        Augmentation(PLAIN, refuse_unreadable=True)(BrokenDataset([patch_sample(0), None]), 1, np.random.default_rng(0))


def test_nothing_readable_ends_with_an_error_instead_of_a_loop() -> None:
    class AllBroken(BrokenDataset):
        def __getitem__(self, index: Any) -> Any:
            raise UnreadableImageError("gone")

    with pytest.raises(DatasetError, match=r"none of the pairs"):
        Augmentation(PLAIN)(AllBroken([0, 0, 0]), 1, np.random.default_rng(0))


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
