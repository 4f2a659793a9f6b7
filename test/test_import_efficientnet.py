# SPDX-License-Identifier: Apache-2.0
"""Import of EfficientNet-Lite0 weights in every published file format."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.perception.checkpoint import load_checkpoint
from fusion_mamba_ros.training.import_efficientnet import build_efficientnet_detector, read_efficientnet

# Kernel, expansion, input and output channels of the 16 blocks, and stage and number in the stage, written out from the
# published description: an independent source for the names and shapes.
BLOCKS = [
    (3, 1, 32, 16, "0.0"),
    (3, 6, 16, 24, "1.0"),
    (3, 6, 24, 24, "1.1"),
    (5, 6, 24, 40, "2.0"),
    (5, 6, 40, 40, "2.1"),
    (3, 6, 40, 80, "3.0"),
    (3, 6, 80, 80, "3.1"),
    (3, 6, 80, 80, "3.2"),
    (5, 6, 80, 112, "4.0"),
    (5, 6, 112, 112, "4.1"),
    (5, 6, 112, 112, "4.2"),
    (5, 6, 112, 192, "5.0"),
    (5, 6, 192, 192, "5.1"),
    (5, 6, 192, 192, "5.2"),
    (5, 6, 192, 192, "5.3"),
    (3, 6, 192, 320, "6.0"),
]


def layers(style: str) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return names of convolution and normalisation and the filter's shape of all layers, as `style` names them."""
    timm = style == "timm"
    found: list[tuple[str, str, tuple[int, ...]]] = [
        ("conv_stem", "bn1", (32, 3, 3, 3)) if timm else ("_conv_stem", "_bn0", (32, 3, 3, 3))
    ]
    for number, (kernel, expansion, inputs, outputs, place) in enumerate(BLOCKS):
        inner = expansion * inputs
        shapes = [(inner, inputs, 1, 1)] * (expansion > 1) + [(inner, 1, kernel, kernel), (outputs, inner, 1, 1)]
        if timm:
            convs = ["conv_pw", "conv_dw", "conv_pwl"] if expansion > 1 else ["conv_dw", "conv_pw"]
            norms = ["bn1", "bn2", "bn3"]
            prefix = f"blocks.{place}."
        else:
            convs = ["_expand_conv"] * (expansion > 1) + ["_depthwise_conv", "_project_conv"]
            norms = ["_bn0", "_bn1", "_bn2"][-len(convs) :]
            prefix = f"_blocks.{number}."
        found += [
            (prefix + conv, prefix + norm, shape) for conv, norm, shape in zip(convs, norms, shapes, strict=False)
        ]
    return found


def state_dict(style: str, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for conv, norm, shape in layers(style):
        tensors[f"{conv}.weight"] = torch.randn(shape, generator=generator) / np.prod(shape[1:]) ** 0.5
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{norm}.{leaf}"] = torch.rand(shape[0], generator=generator) + 0.5
        tensors[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    tensors["_fc.weight" if style == "published" else "classifier.weight"] = torch.zeros(1000, 1280)
    return tensors


def reference(tensors: dict[str, Tensor], style: str, image: Tensor) -> list[Tensor]:
    """Return the features at strides 8, 16, 32 by plain functions, straight from the published description."""
    place = iter(layers(style))
    strides = {1: 2, 3: 2, 5: 2, 11: 2}

    def layer(x: Tensor, stride: int, *, groups: int = 1, relu: bool = True) -> Tensor:
        conv, norm, shape = next(place)
        total = shape[2] - stride
        x = torch.nn.functional.pad(x, (total // 2, total - total // 2) * 2)
        x = torch.nn.functional.conv2d(x, tensors[f"{conv}.weight"], stride=stride, groups=groups)
        mean, variance, weight, bias = (
            tensors[f"{norm}.{leaf}"].view(1, -1, 1, 1) for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (variance + 1e-3).sqrt() * weight + bias
        return x.clamp(0, 6) if relu else x

    x = layer((image * 255 - 127) / 128, 2)
    features = []
    for number, (_, expansion, inputs, outputs, _) in enumerate(BLOCKS):
        before, stride = x, strides.get(number, 1)
        if expansion > 1:
            x = layer(x, 1)
        x = layer(x, stride, groups=expansion * inputs)
        x = layer(x, 1, relu=False)
        if stride == 1 and inputs == outputs:
            x = x + before
        if number in (4, 10, 15):
            features.append(x)
    return features


@pytest.mark.parametrize("style", ["published", "timm"])
def test_every_stream_gives_what_the_published_description_gives(style: str) -> None:
    tensors = state_dict(style)
    model, found, _ = build_efficientnet_detector(tensors, {"fusion": "add", "classes": 2})
    assert found == 2 * 5 * len(layers(style))
    model.double().eval()
    tensors = {name: value.double() for name, value in tensors.items()}
    grey = torch.rand(1, 1, 64, 96, dtype=torch.float64)
    colour = torch.rand(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        for ours, expected in zip(model.backbones["rgb"](colour), reference(tensors, style, colour), strict=True):
            torch.testing.assert_close(ours, expected)
        repeated = reference(tensors, style, grey.expand(-1, 3, -1, -1))
        for ours, expected in zip(model.backbones["thermal"](grey), repeated, strict=True):
            torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("suffix", [".pth", ".pt-legacy", ".safetensors"])
def test_command_reads_every_kind_of_file(suffix: str, tmp_path: Path) -> None:
    tensors, source = state_dict("published"), tmp_path / f"lite0{suffix}"
    if suffix == ".safetensors":
        save_file(tensors, source)
    else:
        # The published file has the form of torch 1.5, which is no zip archive.
        torch.save(tensors, source, _use_new_zipfile_serialization=suffix == ".pth")
    out = tmp_path / "start.safetensors"
    result = CliRunner().invoke(app, ["import-weights", str(source), "--out", str(out), "--set", "fusion=add"])
    assert result.exit_code == 0, result.output
    assert "efficientnet_lite0, scale n: 480 of" in result.output
    model, metadata = load_checkpoint(out)
    assert model.config.backbone == "efficientnet_lite0"
    assert metadata.training["imported_from"] == source.name
    assert torch.equal(model.state_dict()["backbones.rgb.sections.0.1.conv.weight"], tensors["_conv_stem.weight"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("_blocks.3._bn1.running_var"), "no tensor '_blocks.3._bn1.running_var'"),
        (lambda t: t.update({"_blocks.0._project_conv.weight": torch.zeros(24, 32, 1, 1)}), "import the Lite0 model"),
    ],
    ids=["missing tensor", "another size of the family"],
)
def test_weights_of_another_model_are_refused_with_one_sentence(change: Any, words: str) -> None:
    tensors = state_dict("published")
    change(tensors)
    with pytest.raises(ValueError, match=r".") as caught:
        build_efficientnet_detector(tensors, {"fusion": "add"})
    assert words in str(caught.value)


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_with_code_is_not_run(zipped: bool, tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil.pth"
    torch.save({"_conv_stem.weight": Attack(trace)}, path, _use_new_zipfile_serialization=zipped)
    assert read_efficientnet(path) is None
    result = CliRunner().invoke(app, ["import-weights", str(path), "--out", str(tmp_path / "out.safetensors")])
    assert result.exit_code == 2
    assert "error: " in result.output
    assert not trace.exists()


def test_imagenet_weights_classify_a_known_image_by_the_published_preprocessing() -> None:
    """The real file, where it is at hand (`FUSION_MAMBA_LITE0`): a zebra in COCO's image 34."""
    file, data = os.environ.get("FUSION_MAMBA_LITE0"), os.environ.get("FUSION_MAMBA_DATA")
    if not file or not data:
        pytest.skip("FUSION_MAMBA_LITE0 and FUSION_MAMBA_DATA name the published weights and the data")
    import cv2

    tensors = read_efficientnet(file)
    assert tensors is not None
    model, _, _ = build_efficientnet_detector(tensors, {"fusion": "add"})
    image = cv2.cvtColor(cv2.imread(f"{data}/coco/rgb/000000000034.jpg"), cv2.COLOR_BGR2RGB)
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    crop = cv2.resize(image[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)
    with torch.no_grad():
        x = model.eval().backbones["rgb"](torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255)[-1]
        x = torch.nn.functional.conv2d(x, tensors["_conv_head.weight"])
        norm = [tensors[f"_bn1.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")]
        x = torch.nn.functional.batch_norm(x, norm[0], norm[1], norm[2], norm[3], eps=1e-3).clamp(0, 6).mean(dim=(2, 3))
        probabilities = (x @ tensors["_fc.weight"].T + tensors["_fc.bias"]).softmax(dim=1)[0]
    zebra = 340
    assert int(probabilities.argmax()) == zebra
    assert float(probabilities[zebra]) > 0.9
