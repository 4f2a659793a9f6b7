# SPDX-License-Identifier: Apache-2.0
"""A third modality works offline by one registry entry and data that have it: depth of the procedural street."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import training_scenes as scenes
from paired_folders import write_lines
from rich.console import Console
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.datasets import DatasetError, open_dataset
from fusion_mamba_ros.datasets.scene_source import SceneRecord
from fusion_mamba_ros.perception.checkpoint import load_checkpoint
from fusion_mamba_ros.perception.detections import Mode
from fusion_mamba_ros.perception.engine import EngineOutput
from fusion_mamba_ros.perception.modality import Modality, linear_levels, register_modality, unregister_modality
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds
from fusion_mamba_ros.synthetic.procedural_scene import CLASS_NAMES, ProceduralScene
from fusion_mamba_ros.training.recipe import Recipe
from fusion_mamba_ros.training.train import Run, train

MODES = {"fused", "rgb_only", "thermal_only", "depth_only", "rgb+thermal", "rgb+depth", "thermal+depth"}
YAML = "classes: [person, bicycle, car]\ndatasets:\n  - scene: {train: 4, val: 2, modalities: [rgb, thermal, depth]}\n"


@pytest.fixture(scope="module")
def depth() -> Iterator[Modality]:
    """Register depth, millimetres up to 60 m; this entry is all that the package is told about it."""
    entry = Modality("depth", to_levels=linear_levels("depth", 0, 60_000), registered=False, augmentation="thermal")
    yield register_modality(entry)
    unregister_modality("depth")


@pytest.fixture(scope="module")
def trained(depth: Modality, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Train two steps on streets with RGB, thermal and depth; return data and checkpoint."""
    folder = tmp_path_factory.mktemp("depth")
    (folder / "data.yaml").write_text(YAML)
    recipe = Recipe.from_dict(
        {
            **scenes.RECIPE,
            "model": {**scenes.RECIPE["model"], "modalities": ["rgb", "thermal", "depth"]},
            "augmentation": {"modality_dropout": {"depth": 0.2, "rgb+thermal": 0.2}},
            "epochs": 1,
            "nominal_batch_size": 2,
        }
    )
    assert train(Run(recipe, folder / "data.yaml", folder / "run"), Console(file=io.StringIO()))
    return folder / "data.yaml", folder / "run" / "last.safetensors"


def test_depth_stream_is_trained_and_every_subset_is_validated(trained: tuple[Path, Path]) -> None:
    model, metadata = load_checkpoint(trained[1])
    assert dict(model.config.modalities) == {"rgb": 3, "thermal": 1, "depth": 1}
    assert set(metadata.metrics["modes"]) == MODES
    backbone: Any = model.backbones["depth"]
    statistics = backbone.sections[0][0].norm.running_mean
    assert bool(statistics.abs().sum() > 0)


def test_checkpoint_is_evaluated_in_every_subset(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, checkpoint = trained
    arguments = ["eval", "--checkpoint", str(checkpoint), "--data", str(data), "--out", str(tmp_path / "eval")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert set(json.loads((tmp_path / "eval" / "metrics.json").read_text())["modes"]) == MODES
    assert (tmp_path / "eval" / "detections_rgb+depth.npz").is_file()


@pytest.mark.parametrize("mode", sorted(MODES))
def test_predictor_takes_any_of_the_modalities_and_names_the_mode_by_them(
    trained: tuple[Path, Path], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, checkpoint = trained
    sample = open_dataset(data, "val")[0]
    predictor = Predictor.from_checkpoint(checkpoint, "cpu", thresholds=Thresholds(score_threshold=0.0))
    names = {"fused": tuple(sample.images)}.get(mode, mode.removesuffix("_only").split("+"))
    seen: list[dict[str, np.ndarray]] = []
    run = predictor.engine.run

    def record(images: dict[str, np.ndarray], *others: Any) -> EngineOutput:
        seen.append(images)
        return run(images, *others)

    monkeypatch.setattr(predictor.engine, "run", record)
    detections = predictor.predict({name: sample.images[name] for name in names}, reference_size=sample.size)
    assert detections.mode is Mode(mode) and len(detections) > 0
    assert {name for name, image in seen[0].items() if bool(image.any())} == set(names)
    if "depth" in names:
        # 640 x 480 at a tenth in 64 x 64: 48 rows from row 8 on. Median, for what resampling does at an edge.
        shown = 60 / 255 * seen[0]["depth"][0, 0, 8:56]
        metres = sample.images["depth"][5::10, 5::10] / 1000
        assert float(np.median(np.abs(shown - np.minimum(metres, 60)))) < 0.3


def test_check_data_counts_depth_images(depth: Modality, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(YAML)
    result = CliRunner().invoke(app, ["check-data", str(tmp_path / "data.yaml"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "images: RGB 6, thermal 6, depth 6" in result.output and "depth 640x480 uint16" in result.output
    drawn = next((tmp_path / "out" / "samples").glob("*.jpg"))
    assert cv2.imread(str(drawn)).shape[1] == 3 * 640 + 2 * 4  # three images and the gaps between them


def test_folder_of_depth_images_is_read_by_its_name(depth: Modality, tmp_path: Path) -> None:
    image = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    for folder in ("rgb", "depth", "labels"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "rgb" / "a.png"), np.zeros((48, 64, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "depth" / "a.png"), image)
    write_lines(tmp_path / "labels" / "a.txt", ["0 0.5 0.5 0.5 0.5"])
    dataset = open_dataset(tmp_path, "all")
    assert dataset.modalities == ("rgb", "depth")
    np.testing.assert_array_equal(dataset[0].images["depth"], image)


def test_depth_of_the_street_is_that_of_its_geometry() -> None:
    scene = ProceduralScene(3, night=False, modalities=("rgb", "depth"))
    sample = scene.render(0)
    metres = sample.images["depth"].astype(float) / 1000
    assert list(sample.images) == ["rgb", "depth"] and metres.shape == (480, 640)
    # The ground under an actor's feet is as far away as the actor; its box is nearer than what is behind it.
    seen = 0
    for index, depth_m, sprite in scene._sprites(0.0):
        inside = sprite.coverage > 250
        rows, columns = np.nonzero(inside)
        rows, columns = rows + sprite.top, columns + sprite.left
        visible = (rows >= 0) & (rows < 480) & (columns >= 0) & (columns < 640)
        found = metres[rows[visible], columns[visible]]
        if found.size > 200 and index >= 0:
            seen += 1
            # What hides the actor is nearer.
            assert found.max() <= depth_m + 0.01
            assert np.isclose(found, depth_m, atol=0.01).mean() > 0.2 or found.mean() < depth_m
    assert seen > 2
    # Rows of the road: focal length times camera height by rows below the horizon.
    row = 479
    ground = scene.camera.focal_px * scene.camera.height / (row + 0.5 - scene.camera.horizon_px)
    assert np.isclose(metres[row], ground, atol=0.01).mean() > 0.3
    assert (sample.images["depth"][0] > 0).all()


def test_a_scene_with_a_modality_that_is_not_registered_says_so(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(YAML.replace("depth", "sonar"))
    with pytest.raises(DatasetError, match="list some of rgb, thermal, depth"):
        open_dataset(tmp_path / "data.yaml", "train")


def test_images_do_not_depend_on_which_others_are_asked_for() -> None:
    both, all_three = (ProceduralScene(5, modalities=m).render(7) for m in (("rgb", "thermal"), ("thermal", "depth")))
    np.testing.assert_array_equal(both.images["thermal"], all_three.images["thermal"])


@pytest.mark.parametrize("wanted", [["rgb", "thermal"], ["thermal"]], ids=str)
def test_data_with_and_without_a_modality_train_together(tmp_path: Path, wanted: list[str]) -> None:
    paired = scenes.write_pairs(tmp_path / "paired", train=4)
    thermal = scenes.write_pairs(tmp_path / "thermal_set", train=4)
    colour = scenes.write_pairs(tmp_path / "rgb_set", train=4)
    for folder, lacking in ((thermal, "rgb"), (colour, "thermal")):
        for path in (folder / lacking).iterdir():
            path.unlink()
        (folder / lacking).rmdir()
    write_lines(tmp_path / "data.yaml", ["datasets:", *(f"- {path}" for path in (paired, thermal, colour))])
    recipe = Recipe.from_dict({**scenes.RECIPE, "model": {"fusion": "add", "modalities": wanted}, "epochs": 1})
    console = Console(file=io.StringIO(), width=200)
    assert train(Run(recipe, tmp_path / "data.yaml", tmp_path / "run"), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    model, metadata = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())
    images = {mode: item["images"] for mode, item in metadata.metrics["modes"].items()}
    if len(wanted) == 2:
        assert images == {"fused": 2, "rgb_only": 4, "thermal_only": 4}
        assert "they are left out" not in text
    else:
        assert images == {"thermal_only": 4}
        assert "4 pairs of split train have no image of thermal: they are left out" in text


def test_data_without_any_modality_of_the_model_are_refused(tmp_path: Path) -> None:
    data = scenes.write_pairs(tmp_path / "data", train=2)
    for path in (data / "thermal").iterdir():
        path.unlink()
    (data / "thermal").rmdir()
    recipe = Recipe.from_dict({**scenes.RECIPE, "model": {"modalities": ["thermal"]}})
    with pytest.raises(ValueError, match="no pair of split 'train' has an image of thermal: the data have RGB"):
        train(Run(recipe, data, tmp_path / "run"), Console(file=io.StringIO()))


def test_boxes_of_a_scene_without_rgb_are_in_pixels_of_its_first_image() -> None:
    arguments = ("night_5_000007", "night", 5, 7)
    with_rgb, _ = SceneRecord(*arguments, modalities=("rgb", "thermal")).read(CLASS_NAMES)
    without, _ = SceneRecord(*arguments, modalities=("thermal",)).read(CLASS_NAMES)
    assert len(with_rgb.labels) and with_rgb.size == (640, 480) and without.size == (640, 512)
    np.testing.assert_allclose(without.boxes, with_rgb.boxes * [1, 512 / 480, 1, 512 / 480], rtol=1e-5)
