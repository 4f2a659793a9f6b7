# SPDX-License-Identifier: Apache-2.0
"""Time one prediction with both cameras and with one, for several models.

    python benchmarks/absent_stream.py                # about a minute; a Markdown table on stdout
    python benchmarks/absent_stream.py --threads 2

The rows are measured in turn, so that a change of the machine's speed affects all of them. Weights other than the
shipped ones are random, which does not change the times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import load_checkpoint
from fusion_mamba_ros.perception.torch_engine import TorchEngine

SHIPPED = Path(__file__).parents[1] / "weights" / "fusion_mamba_nano.safetensors"
Images = dict[str, npt.NDArray[np.uint8]]


def random_engine(**fields: Any) -> TorchEngine:
    """Return an engine with random weights."""
    return TorchEngine(FusionMambaDetector(ModelConfig.from_dict({"classes": 3, **fields})), device="cpu")


def images(width: int, height: int) -> tuple[Images, Images, Images]:
    """Return a pair, the pair without RGB, and the same with one bright RGB pixel, for which nothing can be reused."""
    generator = np.random.default_rng(0)
    pair = {
        name: generator.integers(1, 256, (1, height, width, channels), np.uint8).transpose(0, 3, 1, 2)
        for name, channels in (("rgb", 3), ("thermal", 1))
    }
    without = {**pair, "rgb": np.zeros_like(pair["rgb"])}
    nearly = {**without, "rgb": without["rgb"].copy()}
    nearly["rgb"][0, 0, 0, 0] = 1
    return pair, without, nearly


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--runs", type=int, default=11, help="predictions in each cell, of which the first two are not counted"
    )
    parser.add_argument("--size", type=int, nargs=2, default=(480, 384), metavar=("WIDTH", "HEIGHT"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pair, without, nearly = images(*options.size)
    alone = {"thermal": pair["thermal"]}
    lite0 = {"backbone": "efficientnet_lite0"}
    v8, v8_alone = random_engine(fusion="add"), random_engine(modalities=["thermal"])
    lite, lite_alone = random_engine(fusion="add", **lite0), random_engine(modalities=["thermal"], **lite0)
    shipped = TorchEngine(load_checkpoint(SHIPPED)[0], device="cpu")
    rows = {
        "YOLOv8n streams, addition": (v8, v8_alone),
        "EfficientNet-Lite0 streams, addition": (lite, lite_alone),
        "shipped weights": (shipped, v8_alone),
    }
    cells: dict[tuple[str, int], Callable[[], object]] = {}
    for name, (engine, single) in rows.items():
        for column, batch in enumerate((pair, without, nearly)):
            cells[name, column] = lambda engine=engine, batch=batch: engine.run(batch)  # type: ignore[misc]
        cells[name, 3] = lambda single=single: single.run(alone)  # type: ignore[misc]
    times: dict[tuple[str, int], list[float]] = {cell: [] for cell in cells}
    for _ in range(options.runs):
        for cell, predict in cells.items():
            started = time.perf_counter()
            predict()
            times[cell].append(1e3 * (time.perf_counter() - started))
    print("| model | fused (ms) | thermal only (ms) | thermal only, nothing kept (ms) | a model of one stream (ms) |")
    print("|---|---:|---:|---:|---:|")
    for name in rows:
        print(f"| {name} | " + " | ".join(f"{np.median(times[name, column][2:]):.0f}" for column in range(4)) + " |")


if __name__ == "__main__":
    main()
