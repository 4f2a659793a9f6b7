# SPDX-License-Identifier: Apache-2.0
"""Training recipes: files, assignments, bad fields, checkpoint fields and old names."""

from pathlib import Path

import pytest
import torch

from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.training import recipe as recipes
from fusion_mamba_ros.training.recipe import Recipe, TrainingError, parse_assignments

RECIPES = sorted(recipes.RECIPES.glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_builds_its_model(path: Path) -> None:
    start = {"model": {"scale": "n"}, "input_size": [96, 64], "thermal": {}}
    recipe = Recipe.read(path, checkpoint=start).for_data(("person", "car"))
    with torch.device("meta"):
        model = FusionMambaDetector(recipe.model)
    assert model.head.classes == 2
    assert recipe.augmentation.size == recipe.input_size


def test_paper_recipe_is_that_of_the_paper() -> None:
    recipe = Recipe.read("paper")
    assert (recipe.optimizer, recipe.learning_rate, recipe.momentum, recipe.weight_decay) == ("sgd", 0.01, 0.937, 5e-4)
    assert (recipe.epochs, recipe.batch_size, recipe.accumulation, recipe.input_size) == (150, 8, 8, (640, 640))
    assert (recipe.box_gain, recipe.dfl_gain, recipe.cls_gain) == (7.5, 1.5, 0.5)


def test_recipe_comes_back_from_its_plain_form() -> None:
    recipe = Recipe(epochs=7, input_size=(320, 256), thermal=ThermalScaling("range", 7000, 9000, polarity="black_hot"))
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_lone_stream_is_never_dropped() -> None:
    recipe = Recipe.from_dict({"model": {"modalities": ["thermal"]}}).for_data(("person",))
    assert recipe.augmentation.modality_dropout == {}


def test_override_reaches_a_section(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("epochs: 3\nmodel: {scale: s}\nlearning_rate: 1e-3\n")
    recipe = Recipe.read(path, parse_assignments(["model.scale=m", "model.modalities=[rgb]", "epochs=5"]))
    assert (recipe.model.scale, dict(recipe.model.modalities), recipe.epochs) == ("m", {"rgb": 3}, 5)
    assert recipe.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epoch": 3}, "has no field 'epoch'"),
        ({"epochs": 0}, "epochs is 0: give at least 1"),
        ({"epochs": 2.5}, "epochs is 2.5: give a whole number"),
        ({"optimizer": "adam"}, "optimizer is 'adam': choose sgd, adamw"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast': give a number"),
        ({"learning_rate": 0}, "learning_rate is 0.0: give more than 0"),
        ({"momentum": 1.5}, "momentum is 1.5: give at least 0, at most 1"),
        ({"model": {"scale": "q"}}, "scale is 'q'"),
        ({"augmentation": {"mosaic": 1}}, "unknown keys mosaic"),
        ({"input_size": [100, 64]}, "multiples of 32"),
        ({"input_size": 320}, "input_size is 320: give [width, height]"),
        ({"input_size": [640, "abc"]}, "input_size is [640, 'abc']: give [width, height]"),
        ({"input_size": [96.0, 96]}, "input_size is [96.0, 96]: give [width, height]"),
        ({"augmentation": {"size": 640}}, "augmentation size is 640: expected (width, height)"),
        ({"augmentation": {"size": [64, "abc"]}}, "augmentation size is [64, 'abc']: expected (width, height)"),
        ({"augmentation": {"scale": float("nan")}}, "augmentation scale is nan: expected a number"),
        ({"learning_rate": float("nan")}, "learning_rate is nan: give a number"),
        ({"channels_last": "maybe"}, "channels_last is 'maybe': set it to true or false"),
        ({"augmentation": 3}, "augmentation is 3: write it as a mapping"),
        ({"thermal": "range"}, "thermal scaling is 'range': write it as a mapping"),
        ({"thermal": {"polarity": "hot"}}, "thermal polarity is 'hot': expected one of white_hot, black_hot"),
        ({"thermal": {"range_min": "cold"}}, "thermal range_min is 'cold': expected a number"),
        ({"thermal": {"scaling": "range"}}, "thermal scaling has unknown keys: scaling"),
        ({"augmentation": {"scale": "abc"}}, "augmentation scale is 'abc': expected a number"),
    ],
    ids=str,
)
def test_bad_field_is_refused_with_one_sentence(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Recipe.from_dict(values)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"cannot be read \(No such file.*one of drone_thermal, finetune, nano, paper"
    ):
        Recipe.read(tmp_path / "none.yaml")


def test_fields_come_from_the_checkpoint_where_the_recipe_says_so(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("model: checkpoint\nthermal: checkpoint\ninput_size: [320, 256]\n")
    start = {"model": {"scale": "s", "fusion": "add"}, "input_size": [480, 384], "thermal": {"polarity": "black_hot"}}
    recipe = Recipe.read(path, {"model.fusion": "concat"}, start)
    assert (recipe.model.scale, recipe.model.fusion, recipe.thermal.polarity) == ("s", "concat", "black_hot")
    assert recipe.input_size == (320, 256)
    assert Recipe.read(path, {"input_size": "checkpoint"}, start).input_size == (480, 384)
    assert start["model"] == {"scale": "s", "fusion": "add"}
    with pytest.raises(TrainingError, match="takes model, thermal from a checkpoint: pass --weights"):
        Recipe.read(path)


def test_old_names_are_read_with_a_warning_in_files_and_assignments(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("plain_epochs: 7\ndistribution_gain: 2\nclass_gain: 3\n")
    with pytest.warns(DeprecationWarning, match="is now called"):
        recipe = Recipe.read(path)
    assert (recipe.close_mosaic_epochs, recipe.dfl_gain, recipe.cls_gain) == (7, 2.0, 3.0)
    # The old name in an assignment changes a recipe that has the new one.
    with pytest.warns(DeprecationWarning, match="plain_epochs"):
        assert Recipe.read("nano", {"plain_epochs": 5}).close_mosaic_epochs == 5
    with pytest.raises(TrainingError, match="has cls_gain and its old name class_gain"):
        Recipe.from_dict({"class_gain": 1, "cls_gain": 1})


@pytest.mark.parametrize(
    ("epochs", "close", "with_mosaic"), [(200, 20, 180), (150, 10, 140), (24, 20, 18), (12, 20, 9), (1, 20, 1)]
)
def test_short_run_keeps_its_mosaic(epochs: int, close: int, with_mosaic: int) -> None:
    assert Recipe(epochs=epochs, close_mosaic_epochs=close).mosaic_epochs == with_mosaic


def test_assignment_without_a_value_is_refused() -> None:
    with pytest.raises(TrainingError, match="names no value"):
        parse_assignments(["epochs"])
