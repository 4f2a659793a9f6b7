# SPDX-License-Identifier: Apache-2.0
"""Measure the correlation between the modalities inside the Fusion-Mamba blocks of a model, stage by stage."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fusion_mamba_ros.analysis.feature_correlation import FeatureSums, channel_correlation, jackknife, linear_cka
from fusion_mamba_ros.datasets import Augmentation, AugmentationConfig, PreparedDataset
from fusion_mamba_ros.network import FusionMambaBlock, FusionMambaDetector
from fusion_mamba_ros.network.channel_swapping import swap_channels
from fusion_mamba_ros.network.config import LEVELS
from fusion_mamba_ros.training.batches import Batch, EpochBatches

ALL = "all"
MEASURES: dict[str, Callable[[FeatureSums], float]] = {"cka": linear_cka, "channel": channel_correlation}
_GROUPS = 10

# Level and stage of some features, and the object class whose boxes they lie in (or `all`).
_Key = tuple[int, str, str]


@dataclass(frozen=True)
class StageCorrelation:
    """Correlation at one stage of one level, over the positions inside the boxes of one class, or all positions.

    ``real``, ``shuffled``: value for real pairs, and for pairs of the RGB image with another pair's other images.
    ``difference_error``: standard error of their difference (jackknife over groups of images). ``untrained``: value for
    real pairs in a model of the same form with random weights.
    """

    level: int
    stage: str
    label: str
    measure: str
    positions: int
    real: float
    shuffled: float
    difference_error: float
    untrained: float

    @property
    def standard_errors(self) -> float:
        """The difference between real and shuffled pairs in standard errors; NaN if the error is unknown."""
        if not self.difference_error > 0:
            return math.nan
        return (self.real - self.shuffled) / self.difference_error

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; a value that does not exist is None."""
        values = {**vars(self), "standard_errors": self.standard_errors}
        return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in values.items()}


def measure_correlation(
    model: FusionMambaDetector,
    dataset: PreparedDataset,
    input_size: tuple[int, int],
    *,
    seed: int = 0,
    on_progress: Callable[[], None] = lambda: None,
) -> list[StageCorrelation]:
    """Return the correlation of the first two streams at each stage of each level, by class and in all positions.

    Stages: `before SSCS` (the block's input after its projection), `after swap`, `after VSS`, `after DSSF 1` and so on.
    ``on_progress`` is called after each pair, three times for each. Raises ``ValueError`` if the model has fewer than
    two modalities or no Fusion-Mamba block, or if there are fewer than two pairs.
    """
    if len(model.config.modalities) < 2 or not _blocks(model):
        raise ValueError(
            f"the model fuses {' + '.join(model.config.modalities)} by {model.config.fusion}: "
            "give a model of two modalities with fusion_mamba"
        )
    if len(dataset) < 2:
        raise ValueError(f"the data have {len(dataset)} pairs: shuffled pairs need at least 2")
    torch.manual_seed(seed)
    untrained = FusionMambaDetector(model.config)
    batches = EpochBatches(
        dataset,
        Augmentation(AugmentationConfig.none(input_size), modalities=model.config.modalities),
        model.config.modalities,
        batch_size=1,
        seed=seed,
        epoch=0,
    )
    # A shift by half of the random order gives no pair its own images.
    shift = len(batches) // 2
    arguments = (batches, dataset.class_names, on_progress)
    real, shuffled, random = (
        _collect(copy.deepcopy(network).eval(), offset, *arguments)
        for network, offset in ((model, 0), (model, shift), (untrained, 0))
    )
    return list(_compare(real, shuffled, random))


def _blocks(model: FusionMambaDetector) -> dict[int, FusionMambaBlock]:
    found = {level: getattr(fusion, "enhance", None) for level, fusion in zip(LEVELS, model.fusions, strict=True)}
    return {level: block for level, block in found.items() if isinstance(block, FusionMambaBlock)}


@torch.no_grad()
def _collect(
    model: FusionMambaDetector,
    shift: int,
    batches: EpochBatches,
    class_names: Sequence[str],
    on_progress: Callable[[], None],
) -> dict[_Key, dict[int, FeatureSums]]:
    """Return the sums of each stage by group of images; the first modality decides boxes and group."""
    seen: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}
    _record(model, seen)
    first = next(iter(model.config.modalities))
    device = next(model.parameters()).device
    collected: dict[_Key, dict[int, FeatureSums]] = {}
    for index in range(len(batches)):
        batch = batches[index]
        images = batch.inputs(device, channels_last=False)
        if shift:
            other = batches[(index + shift) % len(batches)].inputs(device, channels_last=False)
            images = {name: images[name] if name == first else other[name] for name in images}
        model(images)
        for (level, stage), maps in seen.items():
            height, width = maps[0].shape[2:]
            x, y = (m[0].flatten(1).T for m in maps)
            for label, mask in _masks(batch, class_names, 2**level, height, width):
                if mask.any():
                    sums = FeatureSums.of(x[mask], y[mask])
                    groups = collected.setdefault((level, stage, label), {})
                    group = index % _GROUPS
                    groups[group] = groups[group] + sums if group in groups else sums
        on_progress()
    return collected


def _record(model: FusionMambaDetector, seen: dict[tuple[int, str], tuple[Tensor, Tensor]]) -> None:
    """Keep the maps of the first two streams at each stage in ``seen`` during each forward pass."""

    def keep(level: int, stage: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, outputs: tuple[Tensor, ...]) -> None:
            seen[level, stage] = (outputs[0], outputs[1])

        return hook

    def before(level: int, stage: str, swapped: str | None) -> Callable[..., None]:
        def hook(module: Any, inputs: tuple[Tensor, ...]) -> None:
            seen[level, stage] = (inputs[0], inputs[1])
            if swapped is not None:
                after = swap_channels(inputs)
                seen[level, swapped] = (after[0], after[1])

        return hook

    for level, block in _blocks(model).items():
        if block.sscs is not None:
            block.sscs.register_forward_pre_hook(before(level, "before SSCS", "after swap"))
            block.sscs.register_forward_hook(keep(level, "after VSS"))
        elif len(block.dssf):
            block.dssf[0].register_forward_pre_hook(before(level, "before DSSF", None))
        for number, dssf in enumerate(block.dssf, start=1):
            dssf.register_forward_hook(keep(level, f"after DSSF {number}"))


def _masks(
    batch: Batch, class_names: Sequence[str], stride: int, height: int, width: int
) -> Iterator[tuple[str, Tensor]]:
    """Yield each class, and `all`, with the positions (H * W,) whose centres lie in a true box of it."""
    yield ALL, torch.ones(height * width, dtype=torch.bool)
    ys = (torch.arange(height).view(-1, 1) + 0.5) * stride
    xs = (torch.arange(width).view(1, -1) + 0.5) * stride
    valid, boxes, labels = batch.targets.valid[0], batch.targets.boxes[0], batch.targets.labels[0]
    for number, name in enumerate(class_names):
        inside = torch.zeros(height, width, dtype=torch.bool)
        for x1, y1, x2, y2 in boxes[valid & (labels == number)].tolist():
            inside |= (xs >= x1) & (xs < x2) & (ys >= y1) & (ys < y2)
        yield name, inside.flatten()


def _compare(
    real: dict[_Key, dict[int, FeatureSums]],
    shuffled: dict[_Key, dict[int, FeatureSums]],
    untrained: dict[_Key, dict[int, FeatureSums]],
) -> Iterator[StageCorrelation]:
    for key, groups in real.items():
        level, stage, label = key
        pairs = [(groups[group], shuffled[key][group]) for group in sorted(groups)]
        for name, measure in MEASURES.items():

            def difference(first: FeatureSums, second: FeatureSums, measure: Any = measure) -> float:
                return float(measure(first) - measure(second))

            value, _ = jackknife([(one,) for one, _ in pairs], measure)
            apart, error = jackknife(pairs, difference)
            control, _ = jackknife([(one,) for one in untrained[key].values()], measure)
            positions = sum(sums.count for sums in groups.values())
            yield StageCorrelation(level, stage, label, name, positions, value, value - apart, error, control)
