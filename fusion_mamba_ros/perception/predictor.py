# SPDX-License-Identifier: Apache-2.0
"""Predict detections from camera images."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.perception.checkpoint import CheckpointError, CheckpointMetadata, load_checkpoint
from fusion_mamba_ros.perception.compute import choose_device, choose_precision, fold_batch_norms
from fusion_mamba_ros.perception.decoding import detections_from
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.finite_output import NonFiniteOutputError, are_finite, cause_of_non_finite_output
from fusion_mamba_ros.perception.letterbox import Size
from fusion_mamba_ros.perception.modality import REFERENCE, Images, LevelStream, known_modalities, modality_named
from fusion_mamba_ros.perception.mode import modalities_of, modes_of
from fusion_mamba_ros.perception.preprocessing import PreparedImages, prepare, to_tensors
from fusion_mamba_ros.perception.registration import Homographies, Homography, by_modality, homographies_from
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.perception.thresholds import Thresholds, default_thresholds, labels_of

__all__ = ["Predictor", "StageTimes", "Thresholds", "default_thresholds", "labels_of"]


@dataclass(frozen=True)
class StageTimes:
    """The times of the stages of one prediction, in milliseconds."""

    preprocess_ms: float = 0.0
    inference_ms: float = 0.0
    postprocess_ms: float = 0.0


class Predictor:
    """A detector ready to use. It turns images of one or more modalities into boxes in pixels of the RGB image.

    Only one thread may predict. Any thread may change ``thresholds`` at any time; the next prediction uses them. After
    a prediction ``times`` holds the times of its stages.
    """

    def __init__(
        self,
        model: FusionMambaDetector,
        metadata: CheckpointMetadata,
        *,
        device: str = "auto",
        precision: str = "auto",
        thresholds: Thresholds | None = None,
        thermal: ThermalScaling | None = None,
        homography: Homography | Homographies | None = None,
        stream: bool = False,
        calibrated: bool = True,
    ) -> None:
        """Take over ``model``: move it to the device and fold its batch normalisations.

        ``thermal`` and ``homography`` override the values of the checkpoint. ``homography`` is that of thermal, or a
        mapping from modality names to all homographies. Set ``stream`` if the images come in order from one camera per
        modality; the thermal scaling is then smoothed over time. With ``calibrated`` the checkpoint's calibration is
        applied to the scores. Without ``thresholds`` the score threshold of that calibration is used, or 0.25 if there
        is none. Raises ``ValueError`` with one sentence if the device, precision or a modality is not available, or if
        a homography or threshold is invalid.
        """
        known = known_modalities()
        unknown = [name for name in model.config.modalities if name not in known]
        if unknown:
            raise CheckpointError(
                f"the model wants the modalities {', '.join(unknown)}: only {', '.join(known)} are registered"
            )
        self.device = choose_device(device)
        self.dtype = choose_precision(precision, self.device)
        self.metadata = metadata
        self.class_names = metadata.class_names
        self.times = StageTimes()
        self._channels = dict(model.config.modalities)
        if homography is None:
            self.homographies = homographies_from(metadata.homographies)
        elif isinstance(homography, Mapping):
            self.homographies = homographies_from(homography)
        else:
            self.homographies = homographies_from({**metadata.homographies, "thermal": homography})
        self._streams = stream
        self.thermal_scaling = thermal or metadata.thermal
        fold_batch_norms(model)
        self._model = model.to(self.device)
        self._model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.calibration = metadata.calibration if calibrated else None
        self.thresholds = thresholds or default_thresholds(self.calibration)

    @classmethod
    def from_checkpoint(
        cls, path: str | os.PathLike[str], device: str = "auto", precision: str = "auto", **options: Any
    ) -> Predictor:
        """Load a checkpoint and return its predictor. ``options`` are arguments of the constructor.

        Raises :class:`CheckpointError`, a ``ValueError``, for the file, and ``ValueError`` for the other arguments.
        """
        # Check the device and precision first: a wrong name should fail before the file is read.
        choose_precision(precision, choose_device(device))
        model, metadata = load_checkpoint(path)
        return cls(model, metadata, device=device, precision=precision, **options)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that the model uses."""
        return tuple(self._channels)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that the model supports."""
        return modes_of(self.modalities)

    @property
    def homography(self) -> Homography:
        """The homography from thermal to RGB. It is the identity if the images are aligned."""
        return self.homographies.get("thermal", np.eye(3))

    @property
    def thermal_scaling(self) -> ThermalScaling:
        """The scaling of thermal counts to grey levels.

        Assign another scaling between two predictions. The smoothing of a stream then starts anew.
        """
        return self._thermal_scaling

    @thermal_scaling.setter
    def thermal_scaling(self, scaling: ThermalScaling) -> None:
        self._thermal_scaling = scaling
        self._level_streams: dict[str, LevelStream] = {}
        for name in self._channels if self._streams else ():
            stream = modality_named(name).stream
            if stream is not None:
                self._level_streams[name] = stream(scaling)

    @property
    def thresholds(self) -> Thresholds:
        """The post-processing thresholds. Assign new ones at any time."""
        return self._selection[0]

    @thresholds.setter
    def thresholds(self, thresholds: Thresholds) -> None:
        labels = None
        if thresholds.classes is not None:
            labels = labels_of(thresholds.classes, self.class_names)
        # Assign both values as one tuple, so that a prediction in another thread sees both or neither.
        self._selection = (thresholds, labels)

    def change(self, **values: Any) -> None:
        """Change some thresholds and keep the others. Raises ``ValueError`` and changes nothing if one is invalid."""
        self.thresholds = replace(self.thresholds, **values)

    def reset_stream(self) -> None:
        """Reset the smoothing over time (the thermal window), for example after a camera was missing."""
        for stream in self._level_streams.values():
            stream.reset()

    def warm_up(self) -> tuple[float, ...]:
        """Run one prediction per mode and return their times in seconds.

        After the warm-up, the first real prediction is as fast as later ones. Raises :class:`NonFiniteOutputError` if
        the network's output is not finite in one of the modes.
        """
        width, height = self.metadata.input_size
        black = {
            name: np.zeros((height, width) if modality_named(name).channels == 1 else (height, width, 3), np.uint8)
            for name in self.modalities
        }
        seconds = []
        for mode in self.modes:
            started = time.perf_counter()
            self.predict({name: black[name] for name in modalities_of(mode, self.modalities)})
            seconds.append(time.perf_counter() - started)
        return tuple(seconds)

    def predict(self, images: Images, *, reference_size: Size | None = None) -> Detections:
        """Return the detections of one pair, or of one set of images, best first.

        ``images`` holds any of the checkpoint's modalities, for example ``rgb`` (H, W, 3) uint8 RGB and ``thermal``
        (h, w) uint8 or uint16. A thermal image (h, w, 3) uint8 is converted to luma. Each image may be None or absent,
        and sizes may differ. Boxes are in pixels of the RGB image. Without an RGB image they are in pixels of an RGB
        image of ``reference_size`` (width, height) or, if that is None too, of the first image that is present.

        Raises ``ValueError`` if an image is malformed or all images are missing, and its subclass
        :class:`NonFiniteOutputError` if the network's output contains NaN or infinity.
        """
        return self.predict_batch([images], reference_size=reference_size)[0]

    def predict_batch(
        self,
        batch: Sequence[Images],
        *,
        reference_size: Size | None = None,
        homography: Homography | Homographies | None = None,
    ) -> list[Detections]:
        """Return the detections of several pairs in one pass through the network. The sizes of the pairs may differ.

        ``homography`` overrides the predictor's for these pairs. It is that of thermal, or a mapping by modality.
        """
        if not batch:
            return []
        thresholds, labels = self._selection
        decoded, prepared = self._infer(batch, reference_size, homography)
        return self._selected(decoded, prepared, [(thresholds, labels)])[0]

    def predict_for(
        self, images: Images, thresholds: Sequence[Thresholds], *, reference_size: Size | None = None
    ) -> list[Detections]:
        """Return the detections of one set of images under each of ``thresholds``, in one pass through the network.

        The predictor's own thresholds are not used. Raises ``ValueError`` as `predict` does.
        """
        selections = [
            (item, None if item.classes is None else labels_of(item.classes, self.class_names)) for item in thresholds
        ]
        decoded, prepared = self._infer([images], reference_size, None)
        return [found[0] for found in self._selected(decoded, prepared, selections)]

    def _infer(
        self,
        batch: Sequence[Images],
        reference_size: Size | None,
        homography: Homography | Homographies | None,
    ) -> tuple[torch.Tensor, list[PreparedImages]]:
        """Return the decoded output of the network and the prepared images."""
        started = time.perf_counter()
        homographies = self.homographies if homography is None else by_modality(homography)
        prepared = [self._prepare(images, homographies, reference_size) for images in batch]
        tensors = to_tensors(prepared, self.device)
        ready = time.perf_counter()
        with torch.inference_mode(), torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            levels = self._model(tensors)
            # Check before decoding: a softmax or the score threshold would hide NaN and infinity.
            finite = are_finite(levels)
            decoded = self._model.decode(levels)
        if self.calibration is not None:
            decoded = torch.cat((decoded[..., :4].float(), self.calibration.apply(decoded[..., 4:])), dim=-1)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if not finite:
            raise NonFiniteOutputError(cause_of_non_finite_output(self._model, self.dtype))
        self.times = StageTimes(1e3 * (ready - started), 1e3 * (time.perf_counter() - ready))
        return decoded, prepared

    def _selected(
        self,
        decoded: torch.Tensor,
        prepared: Sequence[PreparedImages],
        selections: Sequence[tuple[Thresholds, tuple[int, ...] | None]],
    ) -> list[list[Detections]]:
        """Return the detections of the whole batch for each pair of thresholds and labels to keep."""
        started = time.perf_counter()
        results = [
            [
                detections_from(
                    rows,
                    item.letterbox,
                    item.mode,
                    score_threshold=thresholds.score_threshold,
                    nms_threshold=thresholds.nms_threshold,
                    max_detections=thresholds.max_detections,
                    classes=labels,
                    multi_label=thresholds.multi_label,
                )
                for rows, item in zip(decoded, prepared, strict=True)
            ]
            for thresholds, labels in selections
        ]
        self.times = replace(self.times, postprocess_ms=1e3 * (time.perf_counter() - started))
        return results

    def _prepare(self, images: Images, homographies: Homographies, reference_size: Size | None) -> PreparedImages:
        known = known_modalities()
        unknown = sorted(set(images) - set(known))
        if unknown:
            raise ValueError(f"unknown image {', '.join(unknown)}: expected {' and '.join(known)}")
        levels = {}
        for name, image in images.items():
            # Prepare the reference image even if the model has no stream for it: its size defines the box coordinates.
            if image is not None and (name in self._channels or name == REFERENCE):
                stream = self._level_streams.get(name)
                levels[name] = (
                    modality_named(name).levels(image, self._thermal_scaling) if stream is None else stream.scale(image)
                )
        return prepare(
            levels,
            channels=self._channels,
            canvas_size=self.metadata.input_size,
            homographies=homographies,
            reference_size=reference_size,
        )
