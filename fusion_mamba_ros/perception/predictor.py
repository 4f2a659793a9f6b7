# SPDX-License-Identifier: Apache-2.0
"""Predict detections from camera images."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointMetadata
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.engine import Engine, EngineOptions, run_in_parts
from fusion_mamba_ros.perception.engine_loading import AUTO, load_engine
from fusion_mamba_ros.perception.finite_output import NonFiniteOutputError
from fusion_mamba_ros.perception.image_preparation import ImagePreparation
from fusion_mamba_ros.perception.letterbox import Size
from fusion_mamba_ros.perception.modality import Images, modality_named
from fusion_mamba_ros.perception.mode import modalities_of, modes_of
from fusion_mamba_ros.perception.preprocessing import PreparedImages, to_batch
from fusion_mamba_ros.perception.registration import Homographies, Homography, by_modality, homographies_from
from fusion_mamba_ros.perception.stage_times import StageTimes
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.perception.thresholds import Thresholds, default_thresholds, labels_of
from fusion_mamba_ros.perception.tile_merging import merged_detections
from fusion_mamba_ros.perception.tiling import Tiling

if TYPE_CHECKING:
    from fusion_mamba_ros.network import FusionMambaDetector

# Tiles that pass through the network at once. More take more memory and no less time.
_MOST_TILES_IN_A_BATCH = 8

__all__ = ["Predictor", "StageTimes", "Thresholds", "default_thresholds", "labels_of"]


class Predictor:
    """An engine ready to use. It turns images of one or more modalities into boxes in pixels of the RGB image.

    Only one thread may predict. Any thread may change ``thresholds`` at any time; the next prediction uses them. After
    a prediction ``times`` holds the times of its stages, ``prepared`` its images as the network saw them,
    a list of tiles (one without tiling) for each set of images.
    """

    def __init__(
        self,
        engine: Engine,
        metadata: CheckpointMetadata,
        *,
        device: str | None = None,
        precision: str | None = None,
        thresholds: Thresholds | None = None,
        thermal: ThermalScaling | None = None,
        homography: Homography | Homographies | None = None,
        stream: bool = False,
        calibrated: bool = True,
        tiling: Tiling | None = None,
    ) -> None:
        """Use ``engine`` with the metadata of its checkpoint.

        ``thermal`` and ``homography`` override the values of the checkpoint. ``homography`` is that of thermal, or a
        mapping from modality names to all homographies. Set ``stream`` if the images come in order from one camera per
        modality; the thermal scaling is then smoothed over time. With ``calibrated`` the checkpoint's calibration is
        applied to the scores. Without ``thresholds`` the score threshold of that calibration is used, or 0.25 if there
        is none. With ``tiling`` each image is cut into tiles, and all of them pass through the network. Raises
        ``ValueError`` with one sentence if a modality is not registered, or if a homography or threshold is invalid.

        Deprecated: a `FusionMambaDetector` in place of the engine, with ``device`` and ``precision``. Use `from_model`.
        """
        if not hasattr(engine, "run"):
            warnings.warn("Predictor(model, ...) is deprecated: use Predictor.from_model", DeprecationWarning, 2)
            engine = _torch_engine(engine, device or AUTO, precision or AUTO)
        elif device is not None or precision is not None:
            raise ValueError("device and precision belong to the engine: give them to from_checkpoint or load_engine")
        self.engine = engine
        self.device = engine.device
        self.metadata = metadata
        self.class_names = metadata.class_names
        self.times, self.prepared = StageTimes(), list[list[PreparedImages]]()
        stored: Mapping[str, Any] = metadata.homographies
        if homography is not None:
            stored = homography if isinstance(homography, Mapping) else {**stored, "thermal": homography}
        self.homographies = homographies_from(stored)
        scaling = thermal or metadata.thermal
        self._preparation = ImagePreparation(engine.modalities, metadata.input_size, scaling, stream=stream)
        self.tiling = tiling
        self.calibration = metadata.calibration if calibrated else None
        self.thresholds = thresholds or default_thresholds(self.calibration)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str],
        device: str = "auto",
        precision: str = "auto",
        *,
        engine: str = AUTO,
        threads: int | None = None,
        **options: Any,
    ) -> Predictor:
        """Load a checkpoint or an exported model and return its predictor.

        ``engine`` is a name of the engine registry; `auto` chooses by the suffix of the file. ``threads`` is the number
        of CPU threads, 0 for the default, None to leave it unchanged. ``options`` are arguments of the constructor.
        Raises :class:`CheckpointError`, a ``ValueError``, for the file, and ``ValueError`` for the other arguments.
        """
        loaded, metadata = load_engine(path, engine, EngineOptions(device, precision, threads))
        return cls(loaded, metadata, **options)

    @classmethod
    def from_model(
        cls,
        model: FusionMambaDetector,
        metadata: CheckpointMetadata,
        *,
        device: str = "auto",
        precision: str = "auto",
        **options: Any,
    ) -> Predictor:
        """Take over a PyTorch model and return its predictor. ``options`` are arguments of the constructor.

        The model is moved to the device, and its batch normalisations are folded. Raises ``ValueError`` with one
        sentence if the device or precision is not available.
        """
        return cls(_torch_engine(model, device, precision), metadata, **options)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that the model uses."""
        return tuple(self.engine.modalities)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that the model supports."""
        return modes_of(self.modalities)

    @property
    def engine_description(self) -> str:
        """The software that runs the network, its version and precision, for example ``onnxruntime 1.23.2, fp32``."""
        return f"{self.engine.name} {self.engine.version}, {self.engine.precision}"

    @property
    def homography(self) -> Homography:
        """The homography from thermal to RGB. It is the identity if the images are aligned."""
        return self.homographies.get("thermal", np.eye(3))

    @property
    def thermal_scaling(self) -> ThermalScaling:
        """The scaling of thermal counts to grey levels.

        Assign another scaling between two predictions. The smoothing of a stream then starts anew.
        """
        return self._preparation.scaling

    @thermal_scaling.setter
    def thermal_scaling(self, scaling: ThermalScaling) -> None:
        self._preparation.scaling = scaling

    @property
    def thresholds(self) -> Thresholds:
        """The post-processing thresholds. Assign new ones at any time."""
        return self._selection[0]

    @thresholds.setter
    def thresholds(self, thresholds: Thresholds) -> None:
        # Assign both values as one tuple, so that a prediction in another thread sees both or neither.
        self._selection = self._with_labels(thresholds)

    def change(self, **values: Any) -> None:
        """Change some thresholds and keep the others. Raises ``ValueError`` and changes nothing if one is invalid."""
        self.thresholds = replace(self.thresholds, **values)

    def reset_stream(self) -> None:
        """Reset the smoothing over time (the thermal window), for example after a camera was missing."""
        self._preparation.reset()

    def memory_mb(self) -> Mapping[str, float]:
        """Return the memory that the engine uses outside the process's own, in MiB by name."""
        return self.engine.memory_mb()

    def free_memory(self) -> None:
        """Return unused cached memory to the device, for example after a prediction failed."""
        self.engine.free_memory()

    def warm_up(self) -> tuple[float, ...]:
        """Run one prediction per mode and return their times in seconds.

        After the warm-up, the first real prediction is as fast as later ones. Raises :class:`NonFiniteOutputError` if
        the network's output is not finite in one of the modes.
        """
        width, height = self.metadata.input_size
        # Not the missing value of a modality: the engine may save the work for a missing image.
        grey = {
            name: modality_named(name).missing(height, width, modality_named(name).channels).squeeze() + np.uint8(128)
            for name in self.modalities
        }
        seconds = []
        for mode in self.modes:
            started = time.perf_counter()
            self.predict({name: grey[name] for name in modalities_of(mode, self.modalities)})
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
        rows = self._infer(batch, reference_size, homography)
        return self._selected(rows, [(thresholds, labels)])[0]

    def predict_for(
        self, images: Images, thresholds: Sequence[Thresholds], *, reference_size: Size | None = None
    ) -> list[Detections]:
        """Return the detections of one set of images under each of ``thresholds``, in one pass through the network.

        The predictor's own thresholds are not used. Raises ``ValueError`` as `predict` does.
        """
        selections = [self._with_labels(item) for item in thresholds]
        rows = self._infer([images], reference_size, None)
        return [found[0] for found in self._selected(rows, selections)]

    def _with_labels(self, thresholds: Thresholds) -> tuple[Thresholds, tuple[int, ...] | None]:
        return thresholds, None if thresholds.classes is None else labels_of(thresholds.classes, self.class_names)

    def _infer(
        self,
        batch: Sequence[Images],
        reference_size: Size | None,
        homography: Homography | Homographies | None,
    ) -> npt.NDArray[np.float32]:
        """Return the decoded output of the network; keep the prepared tiles of each set of images."""
        started = time.perf_counter()
        homographies = self.homographies if homography is None else by_modality(homography)
        self.prepared = [
            self._preparation.prepare_tiles(images, homographies, reference_size, self.tiling) for images in batch
        ]
        inputs = to_batch([tile for tiles in self.prepared for tile in tiles])
        ready = time.perf_counter()
        output = run_in_parts(
            self.engine, inputs, self.calibration, _MOST_TILES_IN_A_BATCH if self.tiling else len(batch)
        )
        if output.problem is not None:
            raise NonFiniteOutputError(output.problem)
        self.times = StageTimes(1e3 * (ready - started), 1e3 * (time.perf_counter() - ready))
        return output.rows

    def _selected(
        self,
        batch_rows: npt.NDArray[np.float32],
        selections: Sequence[tuple[Thresholds, tuple[int, ...] | None]],
    ) -> list[list[Detections]]:
        """Return the detections of the last batch for each pair of thresholds and labels to keep."""
        started = time.perf_counter()
        ends = np.cumsum([len(tiles) for tiles in self.prepared])
        results = [
            [
                merged_detections(batch_rows[end - len(tiles) : end], tiles, thresholds, labels)
                for end, tiles in zip(ends, self.prepared, strict=True)
            ]
            for thresholds, labels in selections
        ]
        self.times = replace(self.times, postprocess_ms=1e3 * (time.perf_counter() - started))
        return results


def _torch_engine(model: Any, device: str, precision: str) -> Engine:
    from fusion_mamba_ros.perception.torch_engine import TorchEngine

    return TorchEngine(model, device=device, precision=precision)
