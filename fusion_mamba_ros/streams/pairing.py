# SPDX-License-Identifier: Apache-2.0
"""Pair the frames of an RGB and a thermal camera by time. Continue with one camera if the other stops."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import Any

from fusion_mamba_ros.streams.arrivals import Arrivals, Verdict
from fusion_mamba_ros.streams.frames import Camera, Frame, LoneFrame, Pair
from fusion_mamba_ros.streams.old_frame_names import old_name
from fusion_mamba_ros.streams.pairing_counters import PairingCounters, QueueCounters
from fusion_mamba_ros.streams.pairing_limits import PairingLimits
from fusion_mamba_ros.streams.presence import Absence, Presence
from fusion_mamba_ros.streams.timeline import Match, match_timeline

__all__ = ["Camera", "Frame", "LoneFrame", "Pair", "Pairing", "PairingCounters", "PairingLimits", "QueueCounters"]

# The next frame is due exactly one period later. This grace time allows for jitter.
GRACE_NS = 10_000_000


class Pairing:
    """Pair arriving frames. Release lone frames while a camera is missing.

    `add` takes a frame. `match` returns the final pairs and lone frames. `next_wakeup_ns` returns when to call `match`
    if no frame arrives. All times except stamps are on the node's clock. The class is thread-safe: its single lock is
    held only for operations on short queues, and no code of the caller runs while the lock is held.

    The stamps of the results of `match` strictly increase. The order starts again in two cases. If a stamp or the clock
    jumps back (for example when a bag restarts), the queues are cleared. If ``thermal_offset_ns`` changes, the queues
    are kept. ``docs/explanation/pairing.md`` explains the rules.
    """

    def __init__(self, limits: PairingLimits | None = None) -> None:
        self._lock = Lock()
        self._limits = limits or PairingLimits()
        self._counters = PairingCounters()
        self._forget_time()

    def _forget_time(self) -> None:
        self._cameras = {camera: Arrivals() for camera in Camera}
        self._presence: Presence | None = None
        self._clock_ns = 0
        self._last_output_ns: int | None = None

    @property
    def limits(self) -> PairingLimits:
        """Current limits. They can be assigned at any time."""
        return self._limits

    @limits.setter
    def limits(self, limits: PairingLimits) -> None:
        with self._lock:
            if limits.thermal_offset_ns != self._limits.thermal_offset_ns:
                self._drop_overtaken()
                self._last_output_ns = None
            self._limits = limits

    def add(self, frame: Frame) -> None:
        """Add one frame. `match` returns the pair of this frame once it is final."""
        with self._lock:
            presence = self._tick(frame.arrival_ns)
            counters = self._counters_of(frame.camera)
            counters.received += 1
            if frame.stamp_ns <= 0:
                counters.refused += 1
                return
            self._place(frame, presence)

    def match(self, *, now_ns: int) -> list[Pair | LoneFrame]:
        """Return the final results at ``now_ns``: pairs that no expected frame can improve, and lone frames.

        A pair waits for at most one period of the faster camera, plus up to 10 ms of grace. A frame is released alone
        as soon as the other camera is missing.
        """
        with self._lock:
            presence = self._tick(now_ns)
            self._drop_aged()
            self._drop_overtaken()
            missing = presence.missing(self._clock_ns, self._limits.timeout_ns)
            released: list[Pair | LoneFrame] = []
            self._release_pairs(released, everything=bool(missing))
            for camera in Camera:
                if camera.other in missing and camera not in missing:
                    self._release_alone(camera, released)
            return released

    def next_wakeup_ns(self) -> int | None:
        """Return when to call `match` next if no frame arrives, None if no frame is waiting."""
        with self._lock:
            presence, timeout_ns = self._presence, self._limits.timeout_ns
            if presence is None:
                return None
            times = [self._deadline_ns(match) for match in self._matches() if not match.final][:1]
            for camera, arrivals in self._cameras.items():
                if arrivals.queue:
                    times.append(arrivals.queue[0].arrival_ns + self._limits.hold_ns)
                    if not presence.missing(self._clock_ns, timeout_ns):
                        times.append(presence.missing_from_ns(camera.other, timeout_ns))
                if arrivals.held is not None:
                    times.append(arrivals.held.arrival_ns + self._limits.hold_ns)
            return min(times, default=None)

    def absences(self, *, now_ns: int) -> dict[Camera, Absence]:
        """Return the missing cameras at ``now_ns``, each with the reason. See `missing`."""
        with self._lock:
            return self._tick(now_ns).absences(self._clock_ns, self._limits.timeout_ns)

    def missing(self, *, now_ns: int | None = None) -> set[Camera]:
        """Return the cameras without a fresh frame, at ``now_ns`` or at the time of the last call if it is None.

        Thermal also counts as missing if both cameras deliver, but for ``timeout_ns`` no two frames were within
        ``max_offset_ns`` of each other. In this case one of the clocks is wrong, and the node continues with RGB.
        """
        with self._lock:
            presence = self._presence if now_ns is None else self._tick(now_ns)
            return set() if presence is None else presence.missing(self._clock_ns, self._limits.timeout_ns)

    def counters(self) -> PairingCounters:
        """Return a copy of the counters."""
        with self._lock:
            copy = PairingCounters(
                replace(self._counters.rgb),
                replace(self._counters.thermal),
                self._counters.clock_jumps,
            )
            for camera, arrivals in self._cameras.items():
                getattr(copy, camera.value).queued = len(arrivals.queue) + (arrivals.held is not None)
            return copy

    def count_refused(self, camera: Camera) -> None:
        """Count a message that could not be decoded as a received and refused frame."""
        with self._lock:
            self._counters_of(camera).received += 1
            self._counters_of(camera).refused += 1

    def clear(self) -> None:
        """Drop all waiting frames and forget all stamps. The counters are kept."""
        with self._lock:
            for camera, arrivals in self._cameras.items():
                self._counters_of(camera).unpaired += len(arrivals.queue) + (arrivals.held is not None)
            self._forget_time()

    # The caller of each method below must hold the lock.

    def _counters_of(self, camera: Camera) -> QueueCounters:
        return self._counters.rgb if camera is Camera.RGB else self._counters.thermal

    def _reference_ns(self, frame: Frame) -> int:
        return frame.stamp_ns + (self._limits.thermal_offset_ns if frame.camera is Camera.THERMAL else 0)

    def _tick(self, now_ns: int) -> Presence:
        if self._presence is not None and now_ns < self._clock_ns - self._limits.max_age_ns:
            self._jump_back()
            for arrivals in self._cameras.values():
                self._refuse_held(arrivals)
            self._presence = None
        if self._presence is None:
            self._presence, self._clock_ns = Presence(now_ns), now_ns
        self._clock_ns = max(now_ns, self._clock_ns)
        return self._presence

    def _jump_back(self) -> None:
        self._counters.clock_jumps += 1
        for camera, arrivals in self._cameras.items():
            self._counters_of(camera).unpaired += arrivals.restart()
        self._last_output_ns = None

    def _refuse_held(self, arrivals: Arrivals) -> None:
        if arrivals.held is not None:
            self._counters_of(arrivals.held.camera).refused += 1
            arrivals.held = None

    def _place(self, frame: Frame, presence: Presence) -> None:
        arrivals = self._cameras[frame.camera]
        tolerance_ns = self._limits.max_age_ns
        verdict = arrivals.judge(frame, tolerance_ns)
        if arrivals.held is not None:
            if arrivals.continues_held(frame, tolerance_ns):
                held, arrivals.held = arrivals.held, None
                self._accept(held, presence)
                self._accept(frame, presence)
                return
            self._refuse_held(arrivals)
        if verdict is Verdict.AHEAD:
            arrivals.held = frame
        elif verdict is Verdict.LATE:
            arrivals.note_late(frame)
            self._counters_of(frame.camera).late += 1
        else:
            if verdict is Verdict.JUMPED_BACK:
                self._jump_back()
            self._accept(frame, presence)

    def _accept(self, frame: Frame, presence: Presence) -> None:
        arrivals, counters = self._cameras[frame.camera], self._counters_of(frame.camera)
        arrivals.note(frame)
        presence.note(frame, self._limits.timeout_ns, meets_other=self._meets_other(frame))
        if not frame.fresh:
            counters.unpaired += 1
        elif frame.camera is Camera.RGB and self._last_output_ns is not None and frame.stamp_ns <= self._last_output_ns:
            counters.late += 1
        else:
            arrivals.insert(frame)
            counters.unpaired += arrivals.drop_oldest(len(arrivals.queue) - self._limits.queue_size)

    def _meets_other(self, frame: Frame) -> bool:
        """Return whether the other camera has a recent frame within ``max_offset_ns``, not older than ``hold_ns``."""
        limits = self._limits
        shift_ns = limits.thermal_offset_ns if frame.camera is Camera.THERMAL else -limits.thermal_offset_ns
        since_ns = frame.arrival_ns - limits.hold_ns
        other = self._cameras[frame.camera.other]
        return other.had_frame_near(frame.stamp_ns + shift_ns, limits.max_offset_ns, limits.queue_size, since_ns)

    def _drop_aged(self) -> None:
        born_ns = self._clock_ns - self._limits.hold_ns
        for camera, arrivals in self._cameras.items():
            aged = [i for i, frame in enumerate(arrivals.queue) if frame.arrival_ns <= born_ns]
            if aged:
                self._counters_of(camera).unpaired += arrivals.drop_oldest(aged[-1] + 1)
            if arrivals.held is not None and arrivals.held.arrival_ns <= born_ns:
                self._refuse_held(arrivals)

    def _drop_overtaken(self) -> None:
        """Drop RGB frames that are not newer than the last output, which may be a lone thermal frame."""
        queue = self._cameras[Camera.RGB].queue
        overtaken = sum(self._last_output_ns is not None and f.stamp_ns <= self._last_output_ns for f in queue)
        self._counters.rgb.unpaired += self._cameras[Camera.RGB].drop_oldest(overtaken)

    def _matches(self) -> list[Match]:
        rgb, thermal = self._cameras[Camera.RGB], self._cameras[Camera.THERMAL]
        if not (rgb.queue and thermal.queue):
            return []

        def next_expected_ns(is_rgb: bool) -> int | None:
            if is_rgb:
                return rgb.next_expected_ns
            expected_ns = thermal.next_expected_ns
            return None if expected_ns is None else expected_ns + self._limits.thermal_offset_ns

        return match_timeline(
            [self._reference_ns(frame) for frame in rgb.queue],
            [self._reference_ns(frame) for frame in thermal.queue],
            self._limits.max_offset_ns,
            next_expected_ns,
        )

    def _deadline_ns(self, match: Match) -> int:
        rgb, thermal = self._cameras[Camera.RGB], self._cameras[Camera.THERMAL]
        periods = [arrivals.period_ns for arrivals in (rgb, thermal)]
        wait_ns = min((p for p in periods if p is not None), default=self._limits.max_offset_ns)
        wait_ns += min(wait_ns // 2, GRACE_NS)
        return max(rgb.queue[match.rgb].arrival_ns, thermal.queue[match.thermal].arrival_ns) + wait_ns

    def _release_pairs(self, released: list[Pair | LoneFrame], *, everything: bool) -> None:
        final = []
        for match in self._matches():
            if not (everything or match.final or self._clock_ns >= self._deadline_ns(match)):
                break
            final.append(match)
        rgb_taken = thermal_taken = 0
        for match in final:
            rgb, rgb_older = self._cameras[Camera.RGB].take(match.rgb - rgb_taken)
            thermal, thermal_older = self._cameras[Camera.THERMAL].take(match.thermal - thermal_taken)
            rgb_taken, thermal_taken = match.rgb + 1, match.thermal + 1
            self._counters.rgb.unpaired += rgb_older
            self._counters.thermal.unpaired += thermal_older
            self._counters.rgb.paired += 1
            self._counters.thermal.paired += 1
            self._last_output_ns = rgb.stamp_ns
            released.append(
                Pair(
                    rgb,
                    thermal,
                    rgb.stamp_ns,
                    self._reference_ns(thermal) - rgb.stamp_ns,
                )
            )

    def _release_alone(self, camera: Camera, released: list[Pair | LoneFrame]) -> None:
        arrivals, counters = self._cameras[camera], self._counters_of(camera)
        while arrivals.queue:
            frame, _ = arrivals.take(0)
            stamp_ns = self._reference_ns(frame)
            if self._last_output_ns is not None and stamp_ns <= self._last_output_ns:
                counters.late += 1
                continue
            counters.alone += 1
            self._last_output_ns = stamp_ns
            released.append(LoneFrame(frame, stamp_ns))


def __getattr__(name: str) -> Any:
    return old_name(__name__, name, Camera)
