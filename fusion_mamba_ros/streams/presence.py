# SPDX-License-Identifier: Apache-2.0
"""Track which of the two cameras currently delivers usable frames."""

from __future__ import annotations

from enum import Enum

from fusion_mamba_ros.streams.frames import Camera, Frame


class Absence(Enum):
    """Why a camera counts as missing."""

    SILENT = "no fresh image"
    FROZEN = "frozen"
    APART = "stamps that never meet those of the other camera"


class Presence:
    """Track when each camera last delivered a fresh frame, and when two frames last had matching stamps.

    A camera is missing once ``timeout_ns`` have passed since its last fresh frame. It is missing immediately while its
    image is frozen. If both cameras were silent and one of them starts, the timeout of the other is restarted. If both
    cameras deliver but their stamps never match, a clock is wrong, and thermal counts as missing.
    """

    def __init__(self, start_ns: int) -> None:
        self._fresh_ns = dict.fromkeys(Camera, start_ns)
        self._met_ns = start_ns
        self._frozen: set[Camera] = set()
        # Cameras that have not delivered a fresh frame since their timeout was restarted.
        self._awaited = set(Camera)

    def note(self, frame: Frame, timeout_ns: int, *, meets_other: bool) -> None:
        """Update from a frame that is in order.

        ``meets_other`` is True if the other camera has a frame within the offset limit.
        """
        if frame.fresh:
            self._await_other(frame, timeout_ns)
            self._awaited.discard(frame.camera)
            self._fresh_ns[frame.camera] = frame.arrival_ns
            self._frozen.discard(frame.camera)
        else:
            self._frozen.add(frame.camera)
        if meets_other:
            self._met_ns = frame.arrival_ns

    def _await_other(self, frame: Frame, timeout_ns: int) -> None:
        """Restart the timeout of the other camera if this frame ends a silence of both cameras."""
        other, awaited = frame.camera.other, self._awaited
        silent = {camera for camera in Camera if frame.arrival_ns >= self._fresh_ns[camera] + timeout_ns}
        begins = frame.camera in awaited | silent
        # Do not restart the timeout of a camera that is still awaited: a slow partner would restart it with each frame.
        if begins and (other in silent - awaited or len(awaited) == 2):
            self._fresh_ns[other] = self._met_ns = frame.arrival_ns
            awaited.add(other)

    def absences(self, now_ns: int, timeout_ns: int) -> dict[Camera, Absence]:
        """Return the cameras that are missing at ``now_ns``, each with the reason."""
        absences = {camera: Absence.SILENT for camera in Camera if now_ns >= self._fresh_ns[camera] + timeout_ns}
        absences.update(dict.fromkeys(self._frozen, Absence.FROZEN))
        if not absences and now_ns >= self._met_ns + timeout_ns:
            return {Camera.THERMAL: Absence.APART}
        return absences

    def missing(self, now_ns: int, timeout_ns: int) -> set[Camera]:
        """Return the cameras that are missing at ``now_ns``."""
        return set(self.absences(now_ns, timeout_ns))

    def missing_from_ns(self, camera: Camera, timeout_ns: int) -> int:
        """Return when a camera that is present now will count as missing if no frame arrives."""
        last_ns = self._fresh_ns[camera]
        return (min(last_ns, self._met_ns) if camera is Camera.THERMAL else last_ns) + timeout_ns
