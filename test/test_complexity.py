# SPDX-License-Identifier: Apache-2.0
"""Multiply-adds against independent counts, and the command on a tiny plan."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from fusion_mamba_ros.analysis import complexity
from fusion_mamba_ros.analysis.multiply_adds import count_multiply_adds, scan_exponentials, scan_multiply_adds
from fusion_mamba_ros.cli import app
from fusion_mamba_ros.network import FusionMamba, FusionMambaDetector, ModelConfig, SelectiveScan2d


class Counted:
    """A number that counts what is done with it."""

    multiplications = additions = exponentials = 0

    def __init__(self, value: float) -> None:
        self.value = value

    def __mul__(self, other: Counted) -> Counted:
        Counted.multiplications += 1
        return Counted(self.value * other.value)

    def __add__(self, other: Counted) -> Counted:
        Counted.additions += 1
        return Counted(self.value + other.value)

    def exp(self) -> Counted:
        Counted.exponentials += 1
        return Counted(math.exp(self.value))

    def log1p(self) -> Counted:
        return Counted(math.log1p(self.value))


def test_formula_of_the_scan_is_what_a_naive_loop_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("multiplications", "additions", "exponentials"):
        monkeypatch.setattr(Counted, name, 0)
    batch, directions, channels, pixels, states = 2, 4, 3, 6, 5
    for _ in range(batch * directions * channels):
        rates, skip, bias = [Counted(-1.0 - n) for n in range(states)], Counted(1.0), Counted(0.1)
        hidden = [Counted(0.0)] * states
        for pixel in range(pixels):
            u, raw = Counted(0.1 * pixel), Counted(-0.2 * pixel)
            step = (raw + bias).exp().log1p()
            entering = step * u
            y = skip * u
            for n in range(states):
                decay = (step * rates[n]).exp()
                hidden[n] = decay * hidden[n] + entering * Counted(0.3)
                y = y + hidden[n] * Counted(0.7)
    sizes = (batch, directions, channels, pixels, states)
    assert Counted.multiplications == scan_multiply_adds(*sizes)
    assert Counted.exponentials == scan_exponentials(*sizes)
    # Fewer additions than multiplications, so counting a multiplication with its addition as one hides none.
    assert Counted.additions <= Counted.multiplications


def test_scan_layer_counts_its_scan_and_its_two_projections() -> None:
    counts = count_multiply_adds(SelectiveScan2d(12, 2, 5), torch.zeros(3, 12, 4, 6))
    assert counts.scan == scan_multiply_adds(3, 4, 12, 24, 5)
    assert counts.scan_exponentials == scan_exponentials(3, 4, 12, 24, 5)
    assert counts.matrix == 3 * 24 * (12 * 4 * (2 + 2 * 5) + 4 * 12 * 2)


def convolution_formula(model: nn.Module, images: dict[str, torch.Tensor]) -> int:
    """Output positions times the weights of each convolution, from the shapes that a forward pass has."""
    total = 0

    def count(layer: Any, inputs: Any, out: torch.Tensor) -> None:
        nonlocal total
        total += out.shape[0] * out.shape[2] * out.shape[3] * layer.weight.numel()

    handles = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize("fusion", ["add", "fusion_mamba"])
def test_convolutions_agree_with_their_formula_and_with_the_counter_of_torch(fusion: str) -> None:
    operator = FusionMamba(dssf_count=1, state_size=2, max_channels=16) if fusion == "fusion_mamba" else None
    model = FusionMambaDetector(ModelConfig(fusion=fusion, operator=operator, classes=3)).eval()
    images = {"rgb": torch.zeros(1, 3, 64, 96), "thermal": torch.zeros(1, 1, 64, 96)}
    counts = count_multiply_adds(model, images)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    by_torch = sum(n for op, n in counter.get_flop_counts()["Global"].items() if "convolution" in str(op)) / 2
    assert counts.convolution == pytest.approx(convolution_formula(model, images), rel=0.01)
    assert counts.convolution == pytest.approx(by_torch, rel=0.01)
    assert counts.total == counts.convolution + counts.matrix + counts.attention + counts.scan


def test_attention_of_cft_is_counted_once_for_each_layer_and_level() -> None:
    model = FusionMambaDetector(ModelConfig(fusion="cft", classes=3)).eval()
    counts = count_multiply_adds(model, {"rgb": torch.zeros(2, 3, 64, 64), "thermal": torch.zeros(2, 1, 64, 64)})
    tokens, layers = 2 * 8 * 8, 8
    assert counts.attention == 2 * layers * sum(2 * tokens**2 * channels for channels in (64, 128, 256))


def test_command_writes_figures_that_grow_with_the_tokens(tmp_path: Path) -> None:
    arguments = [
        *("--scale", "n", "--size", "64", "--size", "32", "--operator", "add", "--operator", "fusion_mamba"),
        *("--dssf", "1", "--max-channels", "8", "--repeats", "2", "--limit", "1000"),
    ]
    result = CliRunner().invoke(app, ["analyze", "complexity", "--out", str(tmp_path), *arguments])
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "complexity.json").read_text())["rows"]
    assert [(row["size"], row["operator"]) for row in rows] == [
        (size, name) for size in (32, 64) for name in ("add", "fusion_mamba 1")
    ]
    assert [row["tokens"] for row in rows] == [21, 21, 84, 84]
    for small, large in zip(rows[:2], rows[2:], strict=True):
        assert len(small["detector"]["seconds"]) == 2 and min(small["detector"]["seconds"]) > 0
        assert large["fusion"]["multiply_adds"]["total"] == 4 * small["fusion"]["multiply_adds"]["total"]
        assert large["detector"]["parameters"] == small["detector"]["parameters"]
    table = (tmp_path / "complexity.md").read_text()
    assert table.count("| fusion_mamba 1 |") == 4 and "84 tokens of a stream" in table
    assert {path.name for path in tmp_path.glob("*.png")} == {
        f"complexity_{name}.png" for name in ("multiply_adds", "latency", "memory")
    }


def test_memory_of_a_call_on_a_gpu_is_without_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1700)
    result = [torch.zeros(50), torch.zeros(25)]
    assert complexity._peak_memory(lambda: result, torch.device("cuda")) == 700 - 4 * 75


def test_call_that_should_take_too_long_is_counted_but_not_timed(tmp_path: Path) -> None:
    arguments = ["--scale", "n", "--size", "32", "--size", "64", "--operator", "add", "--repeats", "1", "--limit", "0"]
    result = CliRunner().invoke(app, ["analyze", "complexity", "--out", str(tmp_path), *arguments])
    assert result.exit_code == 0, result.output
    first, second = json.loads((tmp_path / "complexity.json").read_text())["rows"]
    assert len(first["detector"]["seconds"]) == 1 and second["detector"]["seconds"] == []
    assert second["detector"]["multiply_adds"]["total"] > first["detector"]["multiply_adds"]["total"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "100"], "image size 100: give multiples of 32"),
        (["--operator", "magic"], "fusion is 'magic': choose fusion_mamba, add"),
        (["--scale", "z"], "scale is 'z'"),
    ],
    ids=str,
)
def test_bad_option_is_refused_before_anything_is_measured(tmp_path: Path, arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["analyze", "complexity", "--out", str(tmp_path / "new"), *arguments])
    assert result.exit_code == 2 and words in result.stderr
    assert not (tmp_path / "new").exists()
