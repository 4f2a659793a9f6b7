# SPDX-License-Identifier: Apache-2.0
"""Images of one camera alone, mixed with pairs by ratio."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from paired_folders import write_image, write_lines, write_pair, write_paired_yolo, write_voc
from training_scenes import trainer

from fusion_mamba_ros.datasets import Augmentation, AugmentationConfig, DatasetError, PreparedDataset, open_dataset
from fusion_mamba_ros.datasets.source_traits import SourceTraits
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.training.batches import EpochBatches, collate
from fusion_mamba_ros.training.epoch_selection import EpochSelection
from fusion_mamba_ros.training.loss import DetectionLoss, Targets
from fusion_mamba_ros.training.recipe import TrainingError
from fusion_mamba_ros.training.source_summary import describe_sources, source_counts


def write_lone(root: Path, modality: str, count: int, labels: str = "0 0.5 0.5 0.5 0.5") -> Path:
    """Write a folder of images of one modality, all in `train.txt`."""
    stems = [f"{modality}{index:02d}" for index in range(count)]
    for number, stem in enumerate(stems):
        write_image(root / modality / f"{stem}.png", channels=3 if modality == "rgb" else 1, seed=100 + number)
        write_lines(root / "labels" / f"{stem}.txt", [labels])
    write_lines(root / "train.txt", stems)
    return root


def write_mixture(folder: Path, **drone: Any) -> Path:
    """Write 8 pairs, 11 thermal images (ratio 0.5) and 5 RGB images (ratio 0.25), and the YAML file that joins them."""
    write_paired_yolo(folder / "road", {"train": [f"p{index}" for index in range(8)], "val": ["v0", "v1"]})
    write_lone(folder / "drone", "thermal", 11)
    write_lone(folder / "everyday", "rgb", 5, "2 0.5 0.5 0.5 0.5")
    entries = [
        "road",
        {"path": "drone", "ratio": 0.5, **drone},
        {"path": "everyday", "ratio": 0.25},
    ]
    (folder / "mixed.yaml").write_text(yaml.safe_dump({"datasets": entries}))
    return folder / "mixed.yaml"


def names_of_epoch(data: Path, epoch: int, seed: int = 0) -> list[str]:
    dataset = open_dataset(data, "train")
    selection = EpochSelection.of(dataset.sources, seed)
    assert selection is not None
    return [dataset.names[index] for index in selection.indices(epoch)]


def test_each_epoch_has_all_pairs_and_a_share_of_each_source_with_a_ratio(tmp_path: Path) -> None:
    data = write_mixture(tmp_path)
    drawn: Counter[str] = Counter()
    for epoch in range(11):
        names = names_of_epoch(data, epoch)
        folders = Counter(name.split("/")[0] for name in names)
        assert folders == {"road": 8, "drone": 4, "everyday": 2}
        drawn.update(names)
    # 11 epochs draw 44 of 11 thermal images: each four times. 22 of 5 RGB images: four or five times.
    assert {drawn[f"drone/thermal{index:02d}"] for index in range(11)} == {4}
    assert {drawn[f"everyday/rgb{index:02d}"] for index in range(5)} == {4, 5}


def test_the_choice_depends_on_seed_and_epoch_only(tmp_path: Path) -> None:
    data = write_mixture(tmp_path)
    assert names_of_epoch(data, 3) == names_of_epoch(data, 3)
    assert names_of_epoch(data, 3) != names_of_epoch(data, 4)
    assert names_of_epoch(data, 3) != names_of_epoch(data, 3, seed=1)


def test_a_ratio_above_one_repeats_images() -> None:
    sources = [SourceTraits("pairs")] * 6 + [SourceTraits("few", 1.5)] * 4
    selection = EpochSelection(sources, 0)
    counts = Counter(selection.indices(0).tolist())
    assert sum(counts[index] for index in range(6, 10)) == 9
    assert set(counts.values()) == {1, 2, 3} and min(counts[index] for index in range(6, 10)) == 2


def test_without_a_ratio_order_and_fingerprint_are_those_of_earlier_versions(tmp_path: Path) -> None:
    write_paired_yolo(tmp_path / "road", {"train": ["a", "b", "c", "d", "e"]})
    run = trainer(tmp_path / "road")
    assert run.selection is None and "ratio" not in run.state.data
    np.testing.assert_array_equal(run._epoch_batches(3).order, np.random.default_rng((0, 3)).permutation(5))


def test_a_missing_stream_is_filled_as_in_inference_and_mosaics_do_not_mix_modalities(tmp_path: Path) -> None:
    dataset = PreparedDataset(open_dataset(write_mixture(tmp_path), "train"), (64, 64))
    config = replace(AugmentationConfig.none((64, 64)), mosaic_probability=1.0)
    batches = EpochBatches(
        dataset,
        Augmentation(config, modalities=("rgb", "thermal")),
        {"rgb": 3, "thermal": 1},
        batch_size=1,
        seed=0,
        epoch=0,
        selection=EpochSelection.of(dataset.sources, 0),
    )
    absent = Counter(batches[number].absent for number in range(len(batches)))
    assert absent == {(): 8, ("rgb",): 4, ("thermal",): 2}
    for number in range(len(batches)):
        batch = batches[number]
        for name in ("rgb", "thermal"):
            image = batch.images[name].float()
            assert bool(image.any()) == (name not in batch.absent)


def test_the_batches_of_a_resumed_run_are_those_of_an_uninterrupted_one(tmp_path: Path) -> None:
    data = write_mixture(tmp_path)
    changes = {"model": {"fusion": "add"}, "batch_size": 4, "augmentation": {"modality_dropout": {"rgb": 0.3}}}
    run, resumed = trainer(data, changes), trainer(data, changes)
    assert run.batches == 4  # 8 + 4 + 2 images in batches of 4
    for epoch in (0, 3):
        one, other = run._epoch_batches(epoch), resumed._epoch_batches(epoch)
        every = [one[number] for number in range(4)]
        for number in (3, 1):  # a resumed run starts anywhere
            batch = other[number]
            assert batch.absent == every[number].absent
            for name, image in batch.images.items():
                assert torch.equal(image, every[number].images[name])


def test_a_run_does_not_resume_with_another_ratio(tmp_path: Path) -> None:
    data = write_mixture(tmp_path)
    state = trainer(data).state
    assert state.data.endswith(", drone with ratio 0.5, everyday with ratio 0.25")
    write_mixture(tmp_path, ratio=0.75)
    with pytest.raises(TrainingError, match=r"drone with ratio 0\.5.*drone with ratio 0\.75.*give the same data"):
        trainer(data, state=state)


def test_each_source_is_described_with_its_images_in_an_epoch(tmp_path: Path) -> None:
    dataset = open_dataset(write_mixture(tmp_path, labelled=["person"]), "train")
    assert describe_sources(dataset, 0) == [
        "road: 8 images (RGB + thermal) in each epoch",
        "drone: 4 of 11 images (thermal) in each epoch, ratio 0.5; "
        "bicycle, car not labelled, not counted as background",
        "everyday: 2 of 5 images (RGB) in each epoch, ratio 0.25",
    ]
    assert describe_sources(open_dataset(tmp_path / "road", "train"), 0) == []
    assert source_counts(dataset) == [
        {"name": "road", "pairs": 8},
        {"name": "drone", "pairs": 11, "ratio": 0.5},
        {"name": "everyday", "pairs": 5, "ratio": 0.25},
    ]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"ratio": 0}, "ratio is 0: expected a number above 0"),
        ({"ratio": True}, "ratio is True: expected a number above 0"),
        ({"ratio": "half"}, "ratio is 'half'"),
        ({"ratio": 1000}, "ratio is 1000: expected a number above 0, at most 100"),
        ({"labelled": "person"}, "labelled is 'person': expected a list"),
        ({"labelled": ["truck"]}, "labelled classes of dataset 'road' include truck: use names of the class list"),
        ({"ratio": 0.5}, "every entry has a ratio"),
    ],
)
def test_bad_ratio_and_bad_labelled_are_refused(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    write_paired_yolo(tmp_path / "road", {"train": ["a"]})
    (tmp_path / "d.yaml").write_text(yaml.safe_dump({"datasets": [{"path": "road", **entry}]}))
    with pytest.raises(DatasetError, match=message):
        open_dataset(tmp_path / "d.yaml", "train")


def test_a_split_in_which_only_sources_with_a_ratio_have_pairs_cannot_be_trained_on(tmp_path: Path) -> None:
    data = write_mixture(tmp_path)
    write_lines(tmp_path / "road" / "train.txt", [])
    with pytest.raises(TrainingError, match=r"sources with a ratio \(drone, everyday\): leave ratio out"):
        trainer(data)


def test_a_source_can_be_kept_out_of_the_validation(tmp_path: Path) -> None:
    data = write_mixture(tmp_path, splits={"val": None})
    write_lines(tmp_path / "drone" / "val.txt", ["thermal00"])
    write_lines(tmp_path / "drone" / "train.txt", [f"thermal{index:02d}" for index in range(1, 11)])
    assert open_dataset(data, "val").names == ("road/v0", "road/v1")
    assert len(open_dataset(data, "train")) == 23


def test_all_splits_of_a_folder_are_one_source(tmp_path: Path) -> None:
    write_paired_yolo(tmp_path / "road", {"train": ["a"]})
    # The list of LLVIP has person only. Cars are in one of its splits.
    for number, (split, name) in enumerate((("train", "person"), ("test", "car"))):
        folder, file = tmp_path / "llvip", f"{number}.jpg"
        write_pair(folder / "visible" / split / file, folder / "infrared" / split / file)
        write_voc(folder / "Annotations" / f"{number}.xml", [(name, (10, 10, 30, 30))])
    document = {"classes": ["person", "bicycle", "car"], "datasets": ["road", {"path": "llvip", "ratio": 2}]}
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(document))
    (source,) = set(open_dataset(tmp_path / "d.yaml", "all").sources[1:])
    assert source.labelled == {"person", "car"}


def test_classes_that_a_folder_does_not_know_are_not_labelled_in_it(tmp_path: Path) -> None:
    write_paired_yolo(tmp_path / "road", {"train": ["a"]})
    write_paired_yolo(tmp_path / "people", {"train": ["a"]})
    write_lines(tmp_path / "people" / "classes.txt", ["Pedestrian"])
    entries = ["road", {"path": "people", "rename": {"pedestrian": "person"}}]
    document = {"classes": ["person", "bicycle", "car"], "datasets": entries}
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(document))
    dataset = open_dataset(tmp_path / "d.yaml", "train")
    assert dataset[0].labelled is None
    labelled = dataset[1].labelled
    assert labelled is not None and labelled.tolist() == [True, False, False]
    # A mosaic of both has labels of all its objects for the common classes only.
    config = replace(AugmentationConfig.none((64, 64)), mosaic_probability=1.0)
    augmentation = Augmentation(config, modalities=("rgb", "thermal"))
    prepared = PreparedDataset(dataset, (64, 64))
    mosaics = [augmentation(prepared, 0, np.random.default_rng(seed)) for seed in range(20)]
    known = {None if item.labelled is None else tuple(item.labelled.tolist()) for item in mosaics}
    assert known == {None, (True, False, False)}
    targets = collate(mosaics, {"rgb": 3, "thermal": 1}).targets
    assert targets.labelled is not None and targets.labelled.shape == (20, 3)


def test_unlabelled_classes_are_no_background_and_their_objects_still_count() -> None:
    torch.manual_seed(0)
    model = FusionMambaDetector(ModelConfig(classes=3, fusion="add"))
    images = {"rgb": torch.rand(2, 3, 64, 64), "thermal": torch.rand(2, 1, 64, 64)}
    levels = [level.detach().requires_grad_() for level in model(images)]
    boxes = torch.tensor([[[8.0, 8.0, 40.0, 40.0]], [[8.0, 8.0, 40.0, 40.0]]])
    labels = torch.tensor([[0], [2]])
    labelled = torch.tensor([[True, False, False], [True, True, False]])
    valid = torch.ones(2, 1, dtype=torch.bool)
    terms = DetectionLoss()(model.head, levels, Targets(labels, boxes, valid, labelled))
    terms.classes.backward()
    gradients = torch.cat([level.grad.flatten(2) for level in levels if level.grad is not None], dim=2)[:, -3:]
    assert (gradients[0, 1:] == 0).all()  # bicycle and car may be in the first image without a box
    assert (gradients[0, 0] != 0).all() and (gradients[1, :2] != 0).all()
    with_object = (gradients[1, 2] != 0).sum()
    assert 0 < with_object <= 10  # the anchors of the car that has a box, although its class is not labelled

    everything = DetectionLoss()(model.head, levels, Targets(labels, boxes, valid, torch.ones(2, 3, dtype=torch.bool)))
    plain = DetectionLoss()(model.head, levels, Targets(labels, boxes, valid))
    torch.testing.assert_close(everything.total, plain.total)
    assert terms.classes < plain.classes and torch.equal(terms.box, plain.box)
