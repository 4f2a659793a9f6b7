# SPDX-License-Identifier: Apache-2.0
"""Import of YOLO weights, and the refusal of malicious or foreign files."""

import os
import pickle
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.network.convolution import Conv
from fusion_mamba_ros.training.import_weights import build_detector, read_foreign_weights
from fusion_mamba_ros.training.restricted_unpickler import UnsafePickleError

# Layers of the published models in the order of their definition, as attributes of ours.
LAYERS = {
    "yolov8": {
        **{n: f"backbones.rgb.sections.0.{n}" for n in range(5)},
        5: "backbones.rgb.sections.1.0",
        6: "backbones.rgb.sections.1.1",
        **{7 + n: f"backbones.rgb.sections.2.{n}" for n in range(3)},
        12: "neck.top_down4",
        15: "neck.top_down3",
        16: "neck.reduce3",
        18: "neck.bottom_up4",
        19: "neck.reduce4",
        21: "neck.bottom_up5",
        22: "head",
    },
    "yolov5": {
        **{n: f"backbones.rgb.sections.0.{n}" for n in range(5)},
        5: "backbones.rgb.sections.1.0",
        6: "backbones.rgb.sections.1.1",
        **{7 + n: f"backbones.rgb.sections.2.{n}" for n in range(3)},
        10: "neck.narrow5",
        13: "neck.top_down4",
        14: "neck.narrow4",
        17: "neck.top_down3",
        18: "neck.reduce3",
        20: "neck.bottom_up4",
        21: "neck.reduce4",
        23: "neck.bottom_up5",
        24: "head",
    },
}


@pytest.fixture
def foreign() -> Iterator[type[nn.Module]]:
    """A module class that pickles as `ultralytics.nn.tasks.DetectionModel`, gone again after the test."""
    module = types.ModuleType("ultralytics.nn.tasks")
    stub = type("DetectionModel", (nn.Module,), {"__module__": module.__name__})
    module.DetectionModel = stub  # type: ignore[attr-defined]
    names = ("ultralytics", "ultralytics.nn", "ultralytics.nn.tasks")
    sys.modules.update(dict.fromkeys(names, module))
    yield stub
    for name in names:
        del sys.modules[name]


def published(stub: type[nn.Module], module: nn.Module) -> nn.Module:
    """Rebuild one of our modules under the published names of its parts."""
    if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
        return module
    copy = stub()
    if isinstance(module, Conv):
        copy.conv, copy.bn = module.conv, module.norm
        return copy
    for name, child in module.named_children():
        if name == "bottlenecks":
            copy.m = nn.ModuleList(published(stub, block) for block in child.children())
        elif name.startswith("conv"):
            setattr(copy, name.replace("conv", "cv"), published(stub, child))
    return copy


def published_head(stub: type[nn.Module], head: Any) -> nn.Module:
    copy = stub()
    for name, branches in (("cv2", head.box_branches), ("cv3", head.class_branches)):
        parts = [nn.Sequential(published(stub, b[0]), published(stub, b[1]), b[2]) for b in branches]
        setattr(copy, name, nn.ModuleList(parts))
    copy.dfl = stub()
    copy.dfl.conv = nn.Conv2d(head.reg_max, 1, 1, bias=False)
    copy.dfl.conv.weight.data[:] = head.projection.data.view(1, -1, 1, 1)
    return copy


def write_checkpoint(path: Path, stub: type[nn.Module], model: FusionMambaDetector) -> Path:
    layers = LAYERS[model.config.backbone]
    foreign: Any = stub()
    children = [stub() for _ in range(max(layers) + 1)]
    for number, name in layers.items():
        part = model.get_submodule(name)
        children[number] = published_head(stub, part) if name == "head" else published(stub, part)
    foreign.model = nn.Sequential(*children)
    foreign.names = {0: "person", 1: "bicycle", 2: "car"}
    torch.save({"epoch": -1, "model": None, "ema": foreign, "train_args": {"path": Path("a")}}, path)
    return path


def yolo(backbone: str) -> FusionMambaDetector:
    torch.manual_seed(0)
    model = FusionMambaDetector(ModelConfig(backbone=backbone, classes=3, modalities={"rgb": 3})).eval()
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.1)
    return model


@pytest.mark.parametrize("backbone", ["yolov8", "yolov5"])
def test_imported_model_gives_what_the_original_gives(backbone: str, foreign: type[nn.Module], tmp_path: Path) -> None:
    original = yolo(backbone)
    weights = read_foreign_weights(write_checkpoint(tmp_path / "yolo.pt", foreign, original))
    assert (weights.backbone, weights.scale, weights.class_names) == (backbone, "n", ("person", "bicycle", "car"))
    model, found, total = build_detector(weights, {"modalities": ["rgb"]})
    assert found == total
    image = {"rgb": torch.rand(1, 3, 64, 64)}
    with torch.no_grad():
        for ours, expected in zip(model.eval()(image), original(image), strict=True):
            torch.testing.assert_close(ours, expected)


def test_thermal_stream_sees_a_grey_image_as_the_original_does(foreign: type[nn.Module], tmp_path: Path) -> None:
    original = yolo("yolov8")
    weights = read_foreign_weights(write_checkpoint(tmp_path / "yolo.pt", foreign, original))
    model, found, total = build_detector(weights, {"fusion_mamba": {"dssf_count": 1, "max_channels": 16}})
    assert 0 < found < total  # the fusion blocks have no counterpart
    grey = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        thermal = model.eval().backbones["thermal"](grey)
        rgb = original.backbones["rgb"](grey.expand(-1, 3, -1, -1))
    for ours, expected in zip(thermal, rgb, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


class Attack:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


@pytest.mark.parametrize("hidden", ["system", "eval", "getattr", "reconstructor"])
def test_malicious_pickle_is_refused_and_does_nothing(hidden: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    attacks = {
        "system": Attack(os.system, f"touch {trace}"),
        "eval": Attack(eval, f"open({str(trace)!r}, 'w')"),
        "getattr": Attack(getattr, Path, "touch"),
        "reconstructor": Attack(pickle.loads, pickle.dumps(Attack(os.system, f"touch {trace}"))),
    }
    path = tmp_path / "evil.pt"
    torch.save({"model": attacks[hidden]}, path)
    with pytest.raises(UnsafePickleError, match="no code in it ran"):
        read_foreign_weights(path)
    assert not trace.exists()


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.pt"
    path.write_text("hello")
    with pytest.raises(ValueError, match="is no file of"):
        read_foreign_weights(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"model": {"layer.weight": torch.zeros(3)}}, path)
    with pytest.raises(ValueError, match="no YOLOv8 or YOLOv5 detector"):
        read_foreign_weights(path)


def test_tensor_whose_data_are_cut_off_is_refused(tmp_path: Path) -> None:
    whole, damaged = tmp_path / "whole.pt", tmp_path / "damaged.pt"
    torch.save({"model": {"model.0.conv.weight": torch.zeros(8)}}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(damaged, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name)[: 4 if "/data/" in name else None])
    with pytest.raises(ValueError, match="is damaged"):
        read_foreign_weights(damaged)
