# SPDX-License-Identifier: Apache-2.0
"""The whole detector: parameters, shapes, switches and modalities."""

import pytest
import torch

from fusion_mamba_ros.network import BACKBONES, OPERATORS, FusionMambaDetector, ModelConfig

BLOCK = {"dssf_count": 1, "max_channels": 16, "state_size": 4}
SMALL = {"scale": "n", "classes": 3, "fusion_mamba": BLOCK}


def images(height: int = 64, width: int = 96, batch: int = 1, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "rgb": torch.rand(batch, 3, height, width, generator=generator),
        "thermal": torch.rand(batch, 1, height, width, generator=generator),
    }


def detector(**changes: object) -> FusionMambaDetector:
    torch.manual_seed(0)
    return FusionMambaDetector(ModelConfig.from_dict({**SMALL, **changes})).eval()


def parameters(config: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in FusionMambaDetector(config).parameters())


@pytest.mark.parametrize(
    ("backbone", "scale", "published"),
    [
        ("yolov8", "n", 3_157_200),
        ("yolov8", "s", 11_166_560),
        ("yolov8", "m", 25_902_640),
        ("yolov8", "l", 43_691_520),
        ("yolov8", "x", 68_229_648),
        ("yolov5", "n", 2_654_816),
        ("yolov5", "s", 9_153_152),
    ],
)
def test_single_stream_has_the_published_parameters(backbone: str, scale: str, published: int) -> None:
    assert parameters(ModelConfig(backbone=backbone, scale=scale, modalities={"rgb": 3})) == published


@pytest.mark.parametrize(("name", "ours"), [("paper-yolov5", 251_198_912), ("paper-yolov8", 294_196_544)])
def test_configuration_after_the_paper_differs_from_it_by_the_head(name: str, ours: int) -> None:
    config = ModelConfig.named(name)
    published = {"paper-yolov5": 244.6e6, "paper-yolov8": 287.6e6}[name]
    with torch.device("meta"):
        model = FusionMambaDetector(config)
    total = sum(p.numel() for p in model.parameters())
    head = sum(p.numel() for p in model.head.parameters())
    # YOLOv5's anchor head: one 1x1 convolution for each level, 3 anchors of 80 classes and 5 box values.
    anchor_head = sum((channels + 1) * 3 * 85 for channels in (256, 512, 1024))
    assert total == ours
    assert abs(total - head + anchor_head - published) < 0.1e6


@pytest.mark.parametrize("fusion", sorted(OPERATORS))
@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_levels_have_the_shapes_of_the_contract(fusion: str, backbone: str) -> None:
    with torch.no_grad():
        levels = detector(fusion=fusion, backbone=backbone)(images(batch=2))
    assert [tuple(level.shape) for level in levels] == [(2, 67, 8, 12), (2, 67, 4, 6), (2, 67, 2, 3)]


@pytest.mark.parametrize(
    "changes",
    [
        {"fusion_mamba": {**BLOCK, "sscs": False}},
        {"fusion_mamba": {**BLOCK, "gate": False}},
        {"fusion_mamba": {**BLOCK, "dual_attention": False}},
        {"fusion_mamba": {**BLOCK, "share_ssm": False}},
        {"levels": [5]},
        {"fusion_mamba": {**BLOCK, "dssf_count": 2}},
        {"fusion_mamba": {**BLOCK, "scan_directions": 2}},
        {"fusion_mamba": {**BLOCK, "gating": "sequential"}},
        {"fusion": "add"},
        {"fusion": "concat"},
        {"fusion": "cross_attention"},
        {"fusion": "cft"},
        {"fusion": "icafusion"},
        {"fusion_mamba": {**BLOCK, "state_size": 8}},
    ],
    ids=str,
)
def test_every_switch_changes_the_network(changes: dict[str, object]) -> None:
    with torch.no_grad():
        plain, changed = detector()(images()), detector(**changes)(images())
    assert any((a - b).abs().max() > 1e-6 for a, b in zip(plain, changed, strict=True))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_one_to_four_modalities(count: int) -> None:
    channels = {"rgb": 3, "thermal": 1, "depth": 1, "radar": 2}
    modalities = dict(list(channels.items())[:count])
    with torch.no_grad():
        levels = detector(modalities=modalities)({name: torch.rand(1, c, 32, 32) for name, c in modalities.items()})
    assert levels[0].shape == (1, 67, 4, 4)


@pytest.mark.parametrize("fusion", ["fusion_mamba", "cross_attention"])
def test_image_alone_gives_what_it_gives_in_a_batch(fusion: str) -> None:
    model, batch = detector(fusion=fusion), images(batch=3, seed=1)
    with torch.no_grad():
        together = model(batch)
        for index in range(3):
            alone = model({name: image[index : index + 1] for name, image in batch.items()})
            for a, b in zip(alone, together, strict=True):
                assert (a[0] - b[index]).abs().max() <= 1e-5 * b[index].abs().max()


def test_forward_is_deterministic() -> None:
    model = detector()
    with torch.no_grad():
        for a, b in zip(model(images()), model(images()), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 32), (32, 160), (224, 64)])
def test_any_size_divisible_by_32(height: int, width: int) -> None:
    with torch.no_grad():
        levels = detector()(images(height, width))
    assert [level.shape[2:] for level in levels] == [(height // s, width // s) for s in (8, 16, 32)]


def test_other_sizes_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="divisible by 32"):
        detector()(images(64, 100))


def test_unknown_modality_is_refused() -> None:
    with pytest.raises(ValueError, match="'infrared'"):
        detector()({"infrared": torch.zeros(1, 1, 32, 32)})


def test_wrong_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="'thermal'"):
        detector()({"rgb": torch.zeros(1, 3, 32, 32), "thermal": torch.zeros(1, 3, 32, 32)})


def test_absent_modality_counts_as_zeros() -> None:
    model, both = detector(), images()
    with torch.no_grad():
        absent = model({"thermal": both["thermal"]})
        zeroed = model({"rgb": torch.zeros_like(both["rgb"]), "thermal": both["thermal"]})
    for a, b in zip(absent, zeroed, strict=True):
        assert torch.equal(a, b)


def test_constructs_on_the_meta_device_without_memory() -> None:
    with torch.device("meta"):
        model = FusionMambaDetector(ModelConfig.named("paper-yolov8"))
    assert all(tensor.is_meta for tensor in model.state_dict().values())


def test_gradients_reach_every_parameter_but_the_fixed_projection() -> None:
    model = detector().train()
    levels = model(images(batch=2))
    sum(level.square().mean() for level in levels).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missing == ["head.projection"]


def test_exported_program_gives_what_the_network_gives() -> None:
    model, both = detector(), images(64, 64)
    with torch.no_grad():
        exported = torch.export.export(model, (both,)).module()(both)
        for a, b in zip(exported, model(both), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
