# SPDX-License-Identifier: Apache-2.0
"""Prepare camera images for a network: convert them to 8-bit levels, register and letterbox them."""

from __future__ import annotations

from collections.abc import Mapping

from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointError
from fusion_mamba_ros.perception.letterbox import Size
from fusion_mamba_ros.perception.modality import REFERENCE, Images, LevelStream, known_modalities, modality_named
from fusion_mamba_ros.perception.preprocessing import PreparedImages, prepare_tiles
from fusion_mamba_ros.perception.registration import Homographies
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.perception.tiling import Tiling


class ImagePreparation:
    """The preparation of images for a network with the inputs ``channels`` (modality name to channel count).

    ``canvas_size`` is (width, height) of the network's canvas. With ``stream`` the images come in order from one camera
    per modality, and the conversion to levels may smooth over time. Raises `CheckpointError` if a modality is not
    registered.
    """

    def __init__(
        self, channels: Mapping[str, int], canvas_size: Size, scaling: ThermalScaling, *, stream: bool
    ) -> None:
        known = known_modalities()
        unknown = [name for name in channels if name not in known]
        if unknown:
            raise CheckpointError(
                f"the model has inputs for the modalities {', '.join(unknown)}: only {', '.join(known)} are registered"
            )
        self._channels = dict(channels)
        self._canvas_size = canvas_size
        self._streams_wanted = stream
        self.scaling = scaling

    @property
    def scaling(self) -> ThermalScaling:
        """The scaling of thermal counts to grey levels. Assigning another one resets the smoothing."""
        return self._scaling

    @scaling.setter
    def scaling(self, scaling: ThermalScaling) -> None:
        self._scaling = scaling
        self._streams: dict[str, LevelStream] = {}
        for name in self._channels if self._streams_wanted else ():
            stream = modality_named(name).stream
            if stream is not None:
                self._streams[name] = stream(scaling)

    def reset(self) -> None:
        """Reset the smoothing over time."""
        for stream in self._streams.values():
            stream.reset()

    def prepare(self, images: Images, homographies: Homographies, reference_size: Size | None) -> PreparedImages:
        """Return the canvases of one set of images. See `prepare_tiles`."""
        return self.prepare_tiles(images, homographies, reference_size, None)[0]

    def prepare_tiles(
        self, images: Images, homographies: Homographies, reference_size: Size | None, tiling: Tiling | None
    ) -> list[PreparedImages]:
        """Return the canvases of each tile of one set of images. See `preprocessing.prepare_tiles`.

        The levels are those of the whole image, so that all tiles of a thermal image have the same scaling. Raises
        ``ValueError`` if an image is malformed, a modality is unknown, all images are missing or there are too many
        tiles.
        """
        known = known_modalities()
        unknown = sorted(set(images) - set(known))
        if unknown:
            raise ValueError(f"unknown image {', '.join(unknown)}: expected {' and '.join(known)}")
        levels = {}
        for name, image in images.items():
            # Prepare the reference image even if the model has no stream for it: its size defines the box coordinates.
            if image is not None and (name in self._channels or name == REFERENCE):
                stream = self._streams.get(name)
                levels[name] = (
                    modality_named(name).levels(image, self._scaling) if stream is None else stream.scale(image)
                )
        return prepare_tiles(
            levels,
            channels=self._channels,
            canvas_size=self._canvas_size,
            homographies=homographies,
            reference_size=reference_size,
            tiling=tiling,
        )
