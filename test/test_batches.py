# SPDX-License-Identifier: Apache-2.0
"""Batches of an epoch: reproducible, complete, and divided among processes."""

from typing import Any

import numpy as np
import pytest
import torch
import training_scenes as scenes

from fusion_mamba_ros.datasets import Augmentation, AugmentationConfig, PreparedDataset, Sample, open_dataset
from fusion_mamba_ros.perception.preprocessing import prepare
from fusion_mamba_ros.training.batches import EpochBatches, collate, load


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return PreparedDataset(open_dataset(scenes.write_pairs(tmp_path_factory.mktemp("pairs")), "train"), (64, 64))


def batches(dataset: PreparedDataset, augmentation: Augmentation | None = None, **changes: int) -> EpochBatches:
    values: dict[str, Any] = {"batch_size": 4, "seed": 0, "epoch": 0} | changes
    augmentation = augmentation or Augmentation(AugmentationConfig(size=(64, 64)))
    return EpochBatches(dataset, augmentation, {"rgb": 3, "thermal": 1}, **values)


def pixels(some: EpochBatches) -> list[torch.Tensor]:
    return [some[number].images["thermal"] for number in range(len(some))]


def test_same_seed_and_epoch_give_the_same_pixels(dataset: PreparedDataset) -> None:
    for first, second in zip(pixels(batches(dataset)), pixels(batches(dataset)), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}])
def test_other_seed_or_epoch_gives_other_pixels(dataset: PreparedDataset, change: dict[str, Any]) -> None:
    assert not torch.equal(batches(dataset)[0].images["thermal"], batches(dataset, **change)[0].images["thermal"])


def test_epoch_takes_each_pair_once(dataset: PreparedDataset) -> None:
    some = batches(dataset)
    assert sorted(some.order.tolist()) == list(range(10))
    assert [len(some[number]) for number in range(len(some))] == [4, 4, 2]


def test_processes_share_out_what_one_would_take(dataset: PreparedDataset) -> None:
    whole = batches(dataset)
    parts = [batches(dataset, rank=rank, processes=2) for rank in range(2)]
    for number in range(len(whole)):
        together = torch.stack([part[number].images["rgb"] for part in parts], dim=1).flatten(0, 1)
        assert torch.equal(together, whole[number].images["rgb"])


@pytest.mark.parametrize(("rgb_dropout", "thermal_dropout"), [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)])
@pytest.mark.parametrize("sharing", [{"batch_size": 1}, {"batch_size": 4}, {"batch_size": 2, "processes": 2}], ids=str)
def test_no_stream_is_dropped_in_every_pair_of_a_part(
    dataset: PreparedDataset, sharing: dict[str, int], rgb_dropout: float, thermal_dropout: float
) -> None:
    config = AugmentationConfig(size=(64, 64), modality_dropout={"rgb": rgb_dropout, "thermal": thermal_dropout})
    for rank in range(sharing.get("processes", 1)):
        some = batches(dataset, Augmentation(config), rank=rank, **sharing)
        assert all(image.any() for number in range(len(some)) for image in some[number].images.values())


def test_a_pair_that_keeps_its_stream_leaves_the_others_of_its_batch_as_they_are(dataset: PreparedDataset) -> None:
    some = batches(dataset, Augmentation(AugmentationConfig(size=(64, 64), modality_dropout={"rgb": 1.0})))
    assert [bool(image.any()) for image in some[0].images["rgb"]] == [True, False, False, False]


def test_epoch_can_be_entered_anywhere(dataset: PreparedDataset) -> None:
    rest = [batch.images["rgb"] for batch in load(batches(dataset), first=1)]
    assert len(rest) == 2
    assert torch.equal(rest[0], batches(dataset)[1].images["rgb"])


def test_absent_stream_is_zeros_and_grey_fills_a_stem_of_three_channels() -> None:
    thermal = np.full((32, 64), 7, np.uint8)
    lone = Sample("a", {"thermal": thermal})
    batch = collate([lone], {"rgb": 3, "thermal": 3})
    assert batch.images["rgb"].shape == batch.images["thermal"].shape == (1, 3, 32, 64)
    assert int(batch.images["rgb"].sum()) == 0
    assert bool((batch.images["thermal"] == 7).all())


def test_a_modality_without_an_image_in_the_whole_batch_is_named() -> None:
    image, thermal = np.full((32, 32, 3), 9, np.uint8), np.full((32, 32), 9, np.uint8)
    pair, lone = Sample("a", {"rgb": image, "thermal": thermal}), Sample("b", {"thermal": thermal})
    black = Sample("c", {"rgb": np.zeros_like(image), "thermal": thermal})
    both = {"rgb": 3, "thermal": 1}
    assert collate([pair, lone], both).absent == ()
    assert collate([lone, black], both).absent == ("rgb",)


def test_colour_becomes_grey_for_a_stem_of_one_channel_as_in_inference() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    shown = collate([Sample("a", {"rgb": image})], {"rgb": 1}).images["rgb"]
    served = prepare({"rgb": image}, channels={"rgb": 1}, canvas_size=(64, 32), homographies={}).canvases["rgb"]
    np.testing.assert_array_equal(shown[0].permute(1, 2, 0), served)
    # The luma of ITU-R BT.601.
    np.testing.assert_allclose(shown[0, 0], image @ [0.299, 0.587, 0.114], atol=0.51)


def test_objects_are_padded_and_marked() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    box, label = np.array([[1, 2, 3, 4]], np.float32), np.array([2])
    batch = collate([Sample("a", {"rgb": image}), Sample("b", {"rgb": image}, box, label)], {"rgb": 3})
    assert batch.targets.valid.tolist() == [[False], [True]]
    assert batch.targets.boxes[1].tolist() == [[1, 2, 3, 4]]
    assert batch.targets.labels[1].tolist() == [2]
    assert batch.inputs(torch.device("cpu"), channels_last=True)["rgb"].is_contiguous(memory_format=torch.channels_last)
