# SPDX-License-Identifier: Apache-2.0
"""Load the predictor that the node's parameters describe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointMetadata
from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
from fusion_mamba_ros.perception.engine import Engine, EngineOptions
from fusion_mamba_ros.perception.engine_loading import load_engine
from fusion_mamba_ros.perception.predictor import Predictor, Thresholds, default_thresholds
from fusion_mamba_ros.perception.registration import Homography, homography_from
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.perception.tiling import Tiling
from fusion_mamba_ros.ros.detector.parameters import CHECKPOINT_SCORE_THRESHOLD, DetectorParameters
from fusion_mamba_ros.tracking.tracker import LEAST_SCORE


def load_predictor(parameters: DetectorParameters) -> Predictor:
    """Load the checkpoint that the parameters name and return its predictor.

    An empty ``checkpoint`` loads the checkpoint that the package ships. Raises ``ValueError`` with one sentence.
    """
    path = (
        Path(parameters.checkpoint).expanduser()
        if parameters.checkpoint
        else default_checkpoint(engine=parameters.engine)
    )
    options = EngineOptions(parameters.device, parameters.precision, parameters.threads)
    return _predictor_with(*load_engine(path, parameters.engine, options), parameters)


def share_engine(predictor: Predictor, parameters: DetectorParameters) -> Predictor:
    """Return a predictor for another camera pair that uses the engine of ``predictor``.

    It has thresholds, thermal scaling and homography of its own. Raises ``ValueError`` with one sentence.
    """
    return _predictor_with(predictor.engine, predictor.metadata, parameters)


def _predictor_with(engine: Engine, metadata: CheckpointMetadata, parameters: DetectorParameters) -> Predictor:
    return Predictor(
        engine,
        metadata,
        thresholds=inference_thresholds_of(parameters, metadata),
        thermal=thermal_scaling_of(parameters, metadata),
        homography=homography_of(parameters, metadata),
        stream=True,
        tiling=Tiling.parse(parameters.tiles, parameters.tile_overlap),
    )


def inference_thresholds_of(parameters: DetectorParameters, metadata: CheckpointMetadata) -> Thresholds:
    """Return the thresholds of the predictor. With tracking it also returns weak detections, which continue tracks."""
    thresholds = thresholds_of(parameters, metadata)
    if not parameters.tracking:
        return thresholds
    return replace(thresholds, score_threshold=min(thresholds.score_threshold, LEAST_SCORE))


def thresholds_of(parameters: DetectorParameters, metadata: CheckpointMetadata) -> Thresholds:
    """Return the post-processing thresholds of what is published.

    If ``score_threshold`` is -1, the threshold stored in the checkpoint is used.
    """
    score_threshold = parameters.score_threshold
    if score_threshold == CHECKPOINT_SCORE_THRESHOLD:
        score_threshold = default_thresholds(metadata.calibration).score_threshold
    return Thresholds(
        score_threshold=score_threshold,
        nms_threshold=parameters.nms_threshold,
        max_detections=parameters.max_detections,
        classes=parameters.classes or None,
    )


def thermal_scaling_of(parameters: DetectorParameters, metadata: CheckpointMetadata) -> ThermalScaling:
    """Return the scaling of thermal counts to grey levels.

    It is the scaling used in training unless the parameters set another one.
    """
    scaling = metadata.thermal
    if parameters.thermal_polarity != "checkpoint":
        scaling = replace(scaling, polarity=parameters.thermal_polarity)
    if parameters.thermal_scaling == "checkpoint":
        return scaling
    if parameters.thermal_scaling == "range":
        return replace(
            scaling, method="range", range_min=parameters.thermal_range_min, range_max=parameters.thermal_range_max
        )
    return replace(scaling, method=parameters.thermal_scaling)


def homography_of(parameters: DetectorParameters, metadata: CheckpointMetadata) -> Homography:
    """Return the homography from thermal to RGB coordinates.

    It is the homography of the checkpoint unless the parameters set another one.
    """
    return homography_from(parameters.registration_homography or metadata.homography)
