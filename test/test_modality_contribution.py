# SPDX-License-Identifier: Apache-2.0
"""Contributions of modalities: models whose answer is known, the gates against the fusion, the shipped weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import training_scenes as scenes
from typer.testing import CliRunner

from fusion_mamba_ros.analysis.degradations import FACTORS, with_levels
from fusion_mamba_ros.analysis.gate_terms import GateTerms, gate_shares, own_share, why_no_gates
from fusion_mamba_ros.analysis.modality import ContributionStudy
from fusion_mamba_ros.analysis.modality_figures import ModalityFigures, Step, verdict
from fusion_mamba_ros.analysis.robustness import ChosenPairs
from fusion_mamba_ros.analysis.robustness_plan import RobustnessPlan
from fusion_mamba_ros.analysis.robustness_results import Value
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.datasets import PreparedDataset, open_dataset
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.network import FusionMamba, FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
from fusion_mamba_ros.perception.occlusion import shares
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds
from fusion_mamba_ros.synthetic.procedural_scene import ProceduralScene

SOME = Thresholds(score_threshold=1e-6, max_detections=5)


class Pairs:
    """Prepared samples in memory."""

    def __init__(self, samples: list[Sample], class_names: tuple[str, ...] = ("person",)) -> None:
        self.samples, self.class_names = samples, class_names
        self.names, self.skipped = tuple(sample.name for sample in samples), dict[str, str]()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Sample:
        return self.samples[number]


def model_of(fusion: str = "add", channels: int = 3, **settings: Any) -> FusionMambaDetector:
    torch.manual_seed(0)
    operator = FusionMamba(**{"dssf_count": 1, "max_channels": 8, "state_size": 2, **settings})
    model = FusionMambaDetector(
        ModelConfig(
            classes=1,
            fusion=fusion,
            operator=operator if fusion == "fusion_mamba" else None,
            modalities={"rgb": 3, "thermal": channels},
        )
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    # Without statistics of some images, the scores of an untrained model do not depend on the images.
    with torch.no_grad():
        model({"rgb": torch.rand(4, 3, 64, 64), "thermal": torch.rand(4, channels, 64, 64)})
    for branch in model.head.class_branches:
        # With this sign, images raise the scores above those of black images.
        branch.get_parameter("2.weight").data = -0.2 * torch.randn_like(branch.get_parameter("2.weight"))
        torch.nn.init.zeros_(branch.get_parameter("2.bias"))
    return model.eval()


def predictor_of(model: FusionMambaDetector, thresholds: Thresholds = SOME) -> Predictor:
    return Predictor.from_model(model, CheckpointMetadata(("person",), (64, 64)), thresholds=thresholds)


def grey_pairs(count: int = 2) -> Pairs:
    """Pairs whose two images show the same."""
    found = []
    for seed in range(count):
        grey = np.random.default_rng(seed).integers(0, 256, (64, 64), dtype=np.uint8)
        found.append(Sample(f"pair_{seed}", {"rgb": np.stack([grey] * 3, axis=-1), "thermal": grey}))
    return Pairs(found)


def study_of(predictor: Predictor, pairs: Any, *factors: Any) -> ContributionStudy:
    study = ContributionStudy(predictor, pairs)
    study.run(RobustnessPlan(tuple(factors)).conditions())
    return study


def test_twin_streams_that_see_the_same_share_every_detection_equally() -> None:
    model = model_of()
    model.backbones["thermal"].load_state_dict(model.backbones["rgb"].state_dict())
    for frame in study_of(predictor_of(model), grey_pairs()).frames["clean"]:
        assert len(frame.detections)
        np.testing.assert_allclose(frame.contributions[:, 0], frame.contributions[:, 1], rtol=1e-3, atol=1e-9)


def test_stream_without_effect_contributes_nothing() -> None:
    model = model_of()
    for section in model.backbones["thermal"].sections:
        section.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    study = study_of(predictor_of(model), grey_pairs(), with_levels(FACTORS["rgb_missing"], [100]))
    for frame in study.frames["clean"]:
        np.testing.assert_allclose(frame.contributions[:, 1], 0, atol=1e-6)
        assert (np.abs(frame.contributions[:, 0]) > 0.01).any()
    # Without RGB, thermal is the only image, and all that is found is its work.
    for frame in study.frames["rgb_missing=100"]:
        np.testing.assert_array_equal(frame.contributions[:, 0], 0)
        np.testing.assert_allclose(frame.contributions[:, 1], frame.detections.scores)


def test_own_and_cross_terms_are_what_the_fusion_adds_to_each_stream() -> None:
    model = model_of("fusion_mamba", sscs=False)
    module: Any = model.get_submodule("fusions.0.enhance.dssf.0")
    seen: dict[str, Any] = {}
    module.register_forward_hook(lambda _, maps, out: seen.update(maps=maps, out=out))
    terms = GateTerms(model)
    images = {name: torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) for name in ("rgb", "thermal")}
    with torch.no_grad():
        model(images)
        found = terms.terms()
        encoded = [stream.encode(x) for stream, x in zip(module.streams, seen["maps"], strict=True)]
        states = [
            stream.normalise(y)
            for stream, y in zip(module.streams, module._scan([hidden for hidden, _ in encoded]), strict=True)
        ]
        for reader, stream in enumerate(module.streams):
            vectors = [stream.out_proj(state * encoded[reader][1]) for state in states]
            for source, vector in enumerate(vectors):
                expected = vector.norm(dim=-1).view(8, 8).numpy()
                np.testing.assert_allclose(found[3][reader, source], expected, rtol=1e-3, atol=1e-6)
            # Together, the terms are what the module adds.
            added = (seen["out"][reader] - seen["maps"][reader]).flatten(2).transpose(1, 2)
            torch.testing.assert_close(vectors[0] + vectors[1], added, rtol=1e-3, atol=1e-6)
    assert set(found) == {3, 4, 5}
    terms.close()
    assert not module.streams[0].inner_norm._forward_hooks


def test_shares_of_the_gates_count_the_positions_in_a_box() -> None:
    part = np.ones((2, 2, 4, 8))
    part[:, 0, 1:3, 2:5] = 9  # what both streams read from stream 0 in a part of the map
    terms = {3: part}
    assert gate_shares(terms, np.array([16, 8, 40, 24], np.float32)).tolist() == [0.9, 0.1]
    # A box without the centre of a cell takes the cell at its own centre.
    assert gate_shares(terms, np.array([17, 9, 19, 11], np.float32)).tolist() == [0.9, 0.1]
    assert gate_shares(terms, np.array([60, 30, 90, 50], np.float32)).tolist() == [0.5, 0.5]
    inside, positions = 6, 32
    expected = (9 * inside + positions - inside) / (9 * inside + positions - inside + positions)
    assert gate_shares(terms)[0] == pytest.approx(expected)
    assert own_share(terms) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("fusion", "settings", "words"),
    [
        ("add", {}, "fuses by add"),
        ("concat", {}, "fuses by concat"),
        ("fusion_mamba", {"gate": False}, "no gates"),
        ("fusion_mamba", {"dual_attention": False}, "no dual attention"),
        ("fusion_mamba", {"gating": "sequential"}, "one after the other"),
        ("fusion_mamba", {"dssf_count": 0}, "no gated hidden states"),
    ],
    ids=str,
)
def test_model_without_own_and_cross_terms_says_that_occlusion_alone_is_measured(
    fusion: str, settings: dict[str, Any], words: str
) -> None:
    model = model_of(fusion, **settings)
    reason = why_no_gates(model)
    assert reason is not None and words in reason and "occlusion alone is measured" in reason
    study = study_of(predictor_of(model), grey_pairs(1))
    assert study.no_gates == reason and study.frames["clean"][0].gates is None
    assert ModalityFigures(study, 100).agreement() is None


@pytest.mark.parametrize("constant", [0, 1])
def test_shares_that_are_all_the_same_have_no_correlation(constant: int) -> None:
    found = [np.array([0.2, 0.4, 0.5, 0.9]), np.array([0.3, 0.1, 0.6, 0.7])]
    found[constant] = np.ones(4)
    answer = (*found, np.array([0.0, 0.0, 1.0, 1.0]))
    study: Any = SimpleNamespace(no_gates=None, pairs=grey_pairs(2), agreement=lambda: answer)
    assert ModalityFigures(study, 100).agreement() is None
    answer = (np.array([0.2, 0.4, 0.5, 0.9]), np.array([0.3, 0.1, 0.6, 0.7]), answer[2])
    assert ModalityFigures(study, 100).agreement() is not None


def test_last_module_alone_gives_the_terms_of_an_unchained_loop() -> None:
    model = model_of("fusion_mamba", dssf_count=2, dssf_loop="last", sscs=False)
    terms = GateTerms(model)
    with torch.no_grad():
        model({"rgb": torch.rand(1, 3, 64, 64)})
    assert [part.shape for part in terms.terms().values()] == [(2, 2, 8, 8), (2, 2, 4, 4), (2, 2, 2, 2)]


def step(level: float, share: float, low: float, high: float) -> Step:
    value = Value(share, share, share)
    return Step(level, 3, value, Value((low + high) / 2, low, high), None, None)


def test_verdict_follows_the_interval_of_the_change() -> None:
    factor = FACTORS["darkness"]
    first = step(0, 0.5, 0, 0)
    falls = verdict(factor, [first, step(1, 0.4, -0.2, 0.1), step(2, 0.2, -0.4, -0.2)])
    assert "the share of rgb falls, as expected: 50 % to 20 %" in falls and "falls at 2 of 2 steps" in falls
    assert "is undecided" in verdict(factor, [first, step(1, 0.4, -0.2, 0.1)])
    assert "rises, against expectation" in verdict(factor, [first, step(1, 0.7, 0.1, 0.3)])
    assert verdict(factor, [first]) == "darkness: too few detections."


def test_shares_of_the_shipped_weights_move_with_the_camera_that_gets_worse() -> None:
    """The steps move the share down, for RGB and for thermal; the faults of one camera are the control of the other."""
    model, metadata = load_checkpoint(default_checkpoint())
    # A smaller canvas takes a third of the time.
    small = CheckpointMetadata(metadata.class_names, (320, 256))
    predictor = Predictor.from_model(model, small, thresholds=Thresholds(score_threshold=0.25))
    scene = ProceduralScene(4, night=False, rgb_size=(320, 240), thermal_size=(320, 240)).render(0)
    samples = [Sample("scene", scene.images)]
    factors = with_levels(FACTORS["darkness"], [3, 6]), with_levels(FACTORS["thermal_contrast"], [80, 95])
    study = study_of(predictor, Pairs(samples, metadata.class_names), *factors)
    figures = ModalityFigures(study, 100)
    for factor in factors:
        steps = figures.steps(factor)
        values = [item.share.value for item in steps]
        assert values == sorted(values, reverse=True) and values[0] - values[-1] > 0.1, (factor.name, values)
    for frame in study.frames["clean"]:
        assert frame.gates is not None and frame.frame_gates is not None
        np.testing.assert_allclose(frame.gates.sum(axis=1), 1)
        np.testing.assert_allclose(shares(frame.contributions).sum(axis=1), 1)


def test_command_writes_shares_steps_and_overlays(tmp_path: Path) -> None:
    data = scenes.write_pairs(tmp_path / "pairs", train=2, val=3)
    model = model_of("fusion_mamba", channels=1)
    save_checkpoint(tmp_path / "m.safetensors", model, CheckpointMetadata(("person",), (64, 64)))
    out = tmp_path / "out"
    arguments = ["analyze", "modality", str(tmp_path / "m.safetensors"), "--data", str(data), "--out", str(out)]
    arguments += ["--samples", "100", "--threads", "1", "--draw", "2", "--limit", "2"]
    result = CliRunner().invoke(app, [*arguments, "--degrade", "darkness", "--levels", "darkness=4"])
    assert result.exit_code == 0, result.output
    assert "darkness: the share of rgb" in result.output
    document = json.loads((out / "modality.json").read_text())
    assert len(document["frames"]) == 2 and document["gates"] == "read"
    for frame in document["frames"]:
        assert sum(frame["shares"].values()) == pytest.approx(1)
        assert sum(frame["gate_shares"].values()) == pytest.approx(1)
    rows = list(csv.DictReader((out / "modality.csv").read_text().splitlines()))
    assert {row["condition"] for row in rows} == {"clean", "darkness=4"}
    assert len(list((out / "overlays").glob("*.jpg"))) == 2 and (out / "modality_steps.png").exists()
    refused = CliRunner().invoke(app, [*arguments, "--levels", "darkness=4"])
    assert refused.exit_code == 2 and "--levels belongs to --degrade" in refused.stderr


def test_pairs_of_a_prepared_dataset_give_contributions_too(tmp_path: Path) -> None:
    data = scenes.write_pairs(tmp_path, train=2, val=2)
    pairs = ChosenPairs(PreparedDataset(open_dataset(data, "val"), (64, 64), headroom=None), ("rgb", "thermal"))
    study = study_of(predictor_of(model_of(channels=1)), pairs)
    assert [frame.name for frame in study.frames["clean"]] == list(pairs.names)
