# SPDX-License-Identifier: Apache-2.0
"""Write annotated images to disk as files or as a video, with a contact sheet of some of them."""

from __future__ import annotations

from pathlib import Path

import cv2

from fusion_mamba_ros.perception.drawing import Image, contact_sheet, resized
from fusion_mamba_ros.perception.image_writer import write_image

_SHEET_TILE_WIDTH = 640


class AnnotationWriter:
    """Write annotated images under ``folder``. ``written`` lists the resulting files.

    Without ``as_video`` each image becomes ``NAME.jpg``. With ``as_video`` all become frames of ``annotated.mp4`` at
    ``rate_hz``; an image whose size differs from the first is resized to it. ``close`` writes ``contact_sheet.png``
    with at most ``sheet_tiles`` images, spread evenly over all of them. Raises ``OSError`` if a file cannot be written.
    """

    def __init__(self, folder: Path, *, as_video: bool, rate_hz: float, sheet_tiles: int) -> None:
        self.written: list[Path] = []
        self._folder = folder
        self._as_video = as_video
        self._rate_hz = rate_hz
        self._video: cv2.VideoWriter | None = None
        self._video_size = (0, 0)
        self._frames = 0
        self._sheet_tiles = sheet_tiles
        self._kept: list[tuple[str, Image]] = []
        self._stride = 1
        self._count = 0

    def add(self, name: str, image: Image) -> None:
        """Write one RGB image."""
        self._keep_for_sheet(name, image)
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if self._as_video:
            if self._video is None:
                self._open_video(image.shape[1], image.shape[0])
            assert self._video is not None
            if (bgr.shape[1], bgr.shape[0]) != self._video_size:
                bgr = cv2.resize(bgr, self._video_size, interpolation=cv2.INTER_AREA)
            self._video.write(bgr)
            self._frames += 1
            return
        write_image(self._folder / f"{name}.jpg", image)
        if not self.written:
            self.written.append(self._folder / "*.jpg")

    def close(self) -> None:
        """Finish the video and write the contact sheet."""
        if self._video is not None:
            self._video.release()
            self._check_video()
        if len(self._kept) > 1:
            path = self._folder / "contact_sheet.png"
            kept = self._kept[:: -(-len(self._kept) // self._sheet_tiles)]
            sheet = contact_sheet([image for _, image in kept], [name for name, _ in kept], columns=2)
            write_image(path, sheet)
            self.written.append(path)

    def _open_video(self, width: int, height: int) -> None:
        path = self._folder / "annotated.mp4"
        if not str(path).isprintable():  # OpenCV ends the process if the name is not UTF-8
            raise OSError(
                f"video {str(path)!r} cannot be written: its path is not printable text, choose another folder"
            )
        # The codec supports only even sizes.
        self._video_size = (width - width % 2, height - height % 2)
        self._video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), self._rate_hz, self._video_size)
        if not self._video.isOpened():
            raise OSError(f"video '{path}' could not be written: this OpenCV has no mp4v encoder or the disk is full")
        self.written.append(path)

    def _check_video(self) -> None:
        """Raise ``OSError`` if the video lacks frames, because OpenCV's writer does not report a full disk."""
        path = self._folder / "annotated.mp4"
        capture = cv2.VideoCapture(str(path))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if count != self._frames:
            raise OSError(f"video '{path}' could not be written: it holds {max(count, 0)} of {self._frames} frames")

    def _keep_for_sheet(self, name: str, image: Image) -> None:
        """Keep every n-th image for the contact sheet. n doubles as images arrive, so that memory stays bounded."""
        if self._count % self._stride == 0:
            self._kept.append((name, resized(image, _SHEET_TILE_WIDTH)))
            if len(self._kept) >= 2 * self._sheet_tiles:
                self._kept = self._kept[::2]
                self._stride *= 2
        self._count += 1
