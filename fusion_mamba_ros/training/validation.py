# SPDX-License-Identifier: Apache-2.0
"""Validation of the averaged model between epochs: losses, mAP of each mode, and images with detections."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from fusion_mamba_ros.datasets import Augmentation, AugmentationConfig, PreparedDataset, UnreadableImageError
from fusion_mamba_ros.evaluation.evaluate import PROTOCOL, Evaluation, evaluate
from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata
from fusion_mamba_ros.perception.drawing import contact_sheet, draw_images
from fusion_mamba_ros.perception.image_writer import encode_image
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.perception.tiling import Tiling
from fusion_mamba_ros.training.batches import EpochBatches
from fusion_mamba_ros.training.loss import DetectionLoss

_DRAWN_SCORE = 0.25


class Validation:
    """Evaluate a model on the validation pairs with the protocol of `fusion-mamba eval`.

    ``dataset`` should hold images at their original size, so that the figures are those of the finished checkpoint.
    The metrics are those of images cut by ``tiling``, the losses those of crops as in training.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        metadata: CheckpointMetadata,
        loss: DetectionLoss,
        *,
        device: torch.device,
        batch_size: int,
        drawn: int,
        tiling: Tiling | None = None,
        native_crop_probability: float = 0.0,
    ):
        self.dataset, self.metadata, self.loss = dataset, metadata, loss
        self.device, self.batch_size = device, batch_size
        self.tiling, self.native_crop_probability = tiling, native_crop_probability
        step = max(1, len(dataset) // drawn) if drawn else 1
        self.drawn = [index * step for index in range(min(drawn, len(dataset)))]
        self.evaluation: Evaluation | None = None

    def measure(self, model: FusionMambaDetector) -> dict[str, float]:
        """Return the losses, the mAP of each mode and the fitness: the mean of mAP and mAP50 of the model's own mode.

        The attribute ``evaluation`` holds the complete result.
        """
        predictor = self._predictor(model, PROTOCOL)
        self.evaluation = evaluate(
            predictor.predict_batch,
            self.dataset,
            predictor.modes,
            modalities=predictor.modalities,
            batch_size=self.batch_size,
        )
        row = self._losses(model)
        for mode, item in self.evaluation.modes.items():
            row[f"{mode.value}_mAP50"] = item.metrics.map50 or 0.0
            row[f"{mode.value}_mAP"] = item.metrics.map or 0.0
        # The first mode is the model's own mode, unless the data lack a modality that it needs.
        own = next(iter(self.evaluation.modes)).value
        row["fitness"] = (row[f"{own}_mAP50"] + row[f"{own}_mAP"]) / 2
        return row

    @torch.no_grad()
    def _losses(self, model: FusionMambaDetector) -> dict[str, float]:
        plain = replace(
            AugmentationConfig.none(self.metadata.input_size), native_crop_probability=self.native_crop_probability
        )
        batches = EpochBatches(
            self.dataset,
            Augmentation(plain, modalities=model.config.modalities),
            model.config.modalities,
            batch_size=self.batch_size,
            seed=0,
            epoch=0,
        )
        totals = dict.fromkeys(("box", "distribution", "classes"), 0.0)
        for batch in (batches[number] for number in range(len(batches))):
            levels = model(batch.inputs(self.device, channels_last=True))
            terms = self.loss(model.head, levels, batch.targets.to(self.device))
            for name in totals:
                totals[name] += float(getattr(terms, name)) / len(batches)
        return {f"val_{name}": value for name, value in totals.items()}

    def draw(self, model: FusionMambaDetector) -> bytes | None:
        """Return a JPEG of some validation pairs with their detections, or None if none of the pairs can be read."""
        if not self.drawn:
            return None
        predictor = self._predictor(model, Thresholds(score_threshold=_DRAWN_SCORE))
        tiles, captions = [], []
        for index in self.drawn:
            try:
                sample = self.dataset[index]
            except UnreadableImageError:  # ``skipped`` reports it
                continue
            images = {name: sample.images.get(name) for name in predictor.modalities}
            detections = predictor.predict(images, reference_size=sample.size)
            tiles.append(draw_images({**images, **sample.images}, detections, self.metadata.class_names))
            captions.append(f"{sample.name}: {len(sample.labels)} true boxes")
        if not tiles:
            return None
        sheet = contact_sheet(tiles, captions, columns=1, tile_width=960)
        return encode_image(sheet, ".jpg", jpeg_quality=85)

    @property
    def skipped(self) -> dict[str, str]:
        """Pairs that could not be read in the last evaluation, with the reason."""
        return {} if self.evaluation is None else self.evaluation.skipped

    def finished_metadata(self) -> CheckpointMetadata:
        """Return the metadata with the metrics of the last evaluation."""
        metrics = {} if self.evaluation is None else self.evaluation.to_dict()
        return replace(self.metadata, metrics=metrics)

    def _predictor(self, model: FusionMambaDetector, thresholds: Thresholds) -> Predictor:
        # Copy the model, because the predictor folds its batch normalisations.
        return Predictor.from_model(
            copy.deepcopy(model),
            self.metadata,
            device=str(self.device),
            precision="fp32",
            thresholds=thresholds,
            # The dataset's thermal images are already white-hot grey levels, aligned with the RGB images.
            thermal=ThermalScaling(),
            homography={},
            tiling=self.tiling,
        )
