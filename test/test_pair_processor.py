# SPDX-License-Identifier: Apache-2.0
"""Results of the inference thread for whole and damaged pairs: mode, header and outcome of the frames."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from ros_cameras import RGB_SIZE, THERMAL_SIZE, compressed_message
from stand_in_detector import StandIn

from fusion_mamba_ros.perception.detections import Mode
from fusion_mamba_ros.perception.finite_output import NonFiniteOutputError
from fusion_mamba_ros.ros.detector import pair_processor
from fusion_mamba_ros.ros.detector.frame_ledger import FrameLedger, Outcome
from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds, to_stamp
from fusion_mamba_ros.ros.detector.pair_processor import Job, PairProcessor, Result
from fusion_mamba_ros.ros.detector.pairing_filter import ReceivedImage
from fusion_mamba_ros.ros.detector.parameters import SPECS, DetectorParameters
from fusion_mamba_ros.ros.detector.refusals import Refusals
from fusion_mamba_ros.streams.frames import Camera, Frame, LoneFrame, Pair

MS = 1_000_000
STAMP_NS = 1_700_000_000 * 10**9
CLOCK_OFFSET_NS, PAIR_OFFSET_NS = -40 * MS, 3 * MS
THERMAL_ON_RGB_CLOCK_NS = STAMP_NS + PAIR_OFFSET_NS


class Processing:
    """A processor with a stand-in for the network, and everything that it hands on."""

    def __init__(self, *, continue_alone: bool = True) -> None:
        self.ledger = FrameLedger()
        self.refusals = Refusals()
        self.published: list[Result] = []
        self.reports: list[str] = []
        self.processor = PairProcessor(
            StandIn(DetectorParameters.from_values({spec.name: spec.default for spec in SPECS})),
            self.ledger,
            publish=self._publish,
            on_published=lambda result: None,
            report=self.reports.append,
            continue_alone=lambda: continue_alone,
            refusals=self.refusals,
        )

    def _publish(self, result: Result) -> bool:
        self.published.append(result)
        return True

    def outcomes(self) -> dict[Camera, dict[Outcome, int]]:
        return {camera: dict(counts) for camera, counts in self.ledger.snapshot()[0].items()}


def frame(camera: Camera, *, damaged: bool = False) -> Frame:
    shape = (*RGB_SIZE, 3) if camera is Camera.RGB else THERMAL_SIZE
    message = compressed_message(camera, np.full(shape, 7, np.uint8))
    if damaged:
        message.data = array.array("B", bytes(message.data[:40]))
    stamp_ns = STAMP_NS if camera is Camera.RGB else THERMAL_ON_RGB_CLOCK_NS - CLOCK_OFFSET_NS
    message.header.stamp = to_stamp(stamp_ns)
    return Frame(camera, stamp_ns, STAMP_NS, ReceivedImage(message, 0))


def pair(*, damaged: Camera | None = None) -> Job:
    rgb, thermal = (frame(camera, damaged=camera is damaged) for camera in Camera)
    return Job(Pair(rgb, thermal, STAMP_NS, PAIR_OFFSET_NS), 0)


def header_of(result: Result) -> tuple[int, str]:
    return to_nanoseconds(result.header.stamp), result.header.frame_id


def test_a_pair_carries_the_header_of_its_rgb_frame() -> None:
    processing = Processing()
    processing.processor.process(pair())
    (result,) = processing.published
    assert (result.mode, result.offset_ns) == (Mode.FUSED, PAIR_OFFSET_NS)
    assert header_of(result) == (STAMP_NS, "rgb_camera")
    assert processing.outcomes() == {camera: {Outcome.PAIRED: 1} for camera in Camera}


@pytest.mark.parametrize("rgb_was_there", [False, True])
def test_thermal_whose_partner_is_damaged_goes_on_with_the_stamp_of_the_pair(rgb_was_there: bool) -> None:
    processing = Processing()
    if rgb_was_there:
        processing.processor.process(pair())
    processing.processor.process(pair(damaged=Camera.RGB))
    result = processing.published[-1]
    assert (result.mode, result.offset_ns) == (Mode.THERMAL_ONLY, None)
    assert header_of(result) == (STAMP_NS, "rgb_camera" if rgb_was_there else "thermal_camera")
    assert result.reference_size == ((RGB_SIZE[1], RGB_SIZE[0]) if rgb_was_there else None)
    assert processing.outcomes()[Camera.RGB][Outcome.REFUSED] == 1
    assert processing.outcomes()[Camera.THERMAL][Outcome.ALONE] == 1
    assert processing.reports[0].startswith("rgb image refused: ")
    assert processing.reports[0] == f"rgb image refused: {processing.refusals.recent()[Camera.RGB]}"


def test_rgb_whose_partner_is_damaged_goes_on_alone() -> None:
    processing = Processing()
    processing.processor.process(pair(damaged=Camera.THERMAL))
    (result,) = processing.published
    assert (result.mode, header_of(result)) == (Mode.RGB_ONLY, (STAMP_NS, "rgb_camera"))


def test_a_partner_is_not_used_alone_where_that_is_not_wanted() -> None:
    processing = Processing(continue_alone=False)
    processing.processor.process(pair(damaged=Camera.RGB))
    assert processing.published == []
    assert processing.outcomes() == {Camera.RGB: {Outcome.REFUSED: 1}, Camera.THERMAL: {Outcome.UNPAIRED: 1}}


@pytest.mark.parametrize("mode", [Mode.RGB_ONLY, Mode.THERMAL_ONLY])
def test_a_model_of_one_camera_uses_its_image_of_a_pair(mode: Mode) -> None:
    processing = Processing()
    predictor: Any = processing.processor._predictor
    predictor.modes = (mode,)
    processing.processor.process(pair())
    (result,) = processing.published
    assert (result.mode, result.offset_ns) == (mode, None)
    stamp_ns = STAMP_NS if mode is Mode.RGB_ONLY else THERMAL_ON_RGB_CLOCK_NS
    assert header_of(result) == (stamp_ns, "rgb_camera")
    assert [f"{name}_only" for name in result.images] == [mode.value]
    processing.processor.process(Job(LoneFrame(frame(camera := _other(mode)), STAMP_NS), 0))
    assert len(processing.published) == 1
    assert processing.outcomes()[camera] == {Outcome.PAIRED: 1, Outcome.UNPAIRED: 1}


def _other(mode: Mode) -> Camera:
    return Camera.THERMAL if mode is Mode.RGB_ONLY else Camera.RGB


def test_a_lone_thermal_frame_carries_its_stamp_on_the_clock_of_rgb() -> None:
    processing = Processing()
    processing.processor.process(Job(LoneFrame(frame(Camera.THERMAL), THERMAL_ON_RGB_CLOCK_NS), 0))
    assert header_of(processing.published[0]) == (THERMAL_ON_RGB_CLOCK_NS, "thermal_camera")


def test_a_decoder_that_runs_out_of_memory_costs_its_frames_only(monkeypatch: pytest.MonkeyPatch) -> None:
    processing = Processing()

    def exhaust(message: object) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(pair_processor, "image_of", exhaust)
        processing.processor.process(pair())
    assert processing.published == []
    assert processing.outcomes() == {camera: {Outcome.FAILED: 1} for camera in Camera}
    assert processing.reports[0] == "rgb image could not be decoded and is lost: out of memory: no room"
    processing.processor.process(pair())
    assert len(processing.published) == 1


def test_an_array_that_cannot_be_sent_is_counted_as_failed() -> None:
    processing = Processing()

    def refuse(result: Result) -> bool:
        raise RuntimeError("no publisher")

    processing.processor._publish = refuse
    with pytest.raises(RuntimeError, match="no publisher"):
        processing.processor.process(Job(LoneFrame(frame(Camera.RGB), STAMP_NS), 0))
    assert processing.outcomes()[Camera.RGB] == {Outcome.FAILED: 1}


def test_an_output_that_is_not_finite_is_a_failed_inference_with_a_count_of_its_own() -> None:
    processing = Processing()
    predictor: Any = processing.processor._predictor
    monitor, predict = processing.processor.monitor, predictor.predict
    stages: list[str | None] = []

    def overflow(images: object, **options: object) -> None:
        stages.append(monitor.observe().stage)
        raise NonFiniteOutputError("the output is not finite: try precision bf16 or fp32")

    predictor.predict = overflow
    for _ in range(3):
        processing.processor.process(pair())
    seen = monitor.observe()
    assert processing.published == []
    assert processing.outcomes() == {camera: {Outcome.FAILED: 3} for camera in Camera}
    assert (seen.non_finite, seen.failures_in_a_row) == (3, 3)
    assert seen.last_failure == "the output is not finite: try precision bf16 or fp32"
    assert (stages, seen.stage) == (["inference"] * 3, None)
    predictor.predict = predict
    processing.processor.process(pair())
    assert len(processing.published) == 1
    assert (monitor.observe().non_finite, monitor.observe().failures_in_a_row) == (3, 0)


def test_a_detached_processor_publishes_nothing_and_keeps_no_callback() -> None:
    import weakref

    processing = Processing()
    published, processor = processing.published, processing.processor
    processor.detach()
    processor.process(pair())
    processor.process(pair(damaged=Camera.RGB))
    assert not published and not processing.reports
    assert processing.outcomes()[Camera.THERMAL] == {Outcome.DROPPED: 1, Outcome.UNPAIRED: 1}
    # The callbacks are bound to `processing`.
    alive = weakref.ref(processing)
    del processing
    assert alive() is None
