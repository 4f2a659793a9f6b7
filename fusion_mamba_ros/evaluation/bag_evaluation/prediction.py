# SPDX-License-Identifier: Apache-2.0
"""Run a detector over a bag as fast as the machine can: reading and decoding overlap with inference."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy.typing as npt

from fusion_mamba_ros.bags.bag_reading import Bag, BagError
from fusion_mamba_ros.evaluation.bag_evaluation.collected_frame import CollectedBag, CollectedFrame, compacted
from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import Outcome, SkipReason
from fusion_mamba_ros.evaluation.bag_evaluation.image_topics import find_image_topics, read_images
from fusion_mamba_ros.evaluation.bag_evaluation.pairing_replay import (
    FrameFate,
    PairingReplay,
    RecordedFrame,
    ReleasedResult,
)
from fusion_mamba_ros.evaluation.bag_evaluation.prefetch import Prefetch
from fusion_mamba_ros.evaluation.bag_evaluation.result_record import result_record
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.mode import modalities_in, mode_of
from fusion_mamba_ros.perception.thresholds import Thresholds
from fusion_mamba_ros.streams.frozen_image import FrozenImage
from fusion_mamba_ros.streams.message_decoding import fault_of, image_of, rows_of
from fusion_mamba_ros.streams.pairing_limits import PairingLimits

# Results and messages that may wait. Each holds up to two images.
_RESULTS_AHEAD = 4
_MESSAGES_AHEAD = 8
_DECODERS = 2


class DetectionSource(Protocol):
    """The part of `Predictor` that the evaluation uses."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names, in the order of the labels."""

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that the predictor supports."""

    def reset_stream(self) -> None:
        """Reset the state kept from earlier images."""

    def predict_for(
        self, images: Any, thresholds: Sequence[Thresholds], *, reference_size: tuple[int, int] | None = None
    ) -> list[Detections]:
        """Return the detections under each of ``thresholds``."""


@dataclass(frozen=True)
class PredictionOptions:
    """Settings of the node that the evaluation follows, and the thresholds.

    ``published``: thresholds of the node. ``scored``: thresholds of average precision, None for the same.
    """

    topics: Mapping[str, str]
    published: Thresholds
    scored: Thresholds | None = None
    limits: PairingLimits = field(default_factory=PairingLimits)
    freeze_timeout_ns: int = 400_000_000


@dataclass(frozen=True, eq=False)
class _Decoded:
    pixels: npt.NDArray[Any]
    size: tuple[int, int]
    decode_ms: float


@dataclass(frozen=True, eq=False)
class _Job:
    result: ReleasedResult
    images: list[Future[_Decoded]]


def collect_predictions(
    bag: Bag,
    predictor: DetectionSource,
    options: PredictionOptions,
    *,
    on_progress: Callable[[int], None] = lambda messages: None,
) -> CollectedBag:
    """Return the frames of a bag with the detections of ``predictor``.

    The predictor runs in the calling thread. ``on_progress`` receives the number of image messages read so far. Raises
    `BagError` if the bag has no image topic. An error or Ctrl-C ends the threads before it leaves this function.
    """
    collected = CollectedBag(class_names=tuple(predictor.class_names))
    collected.topics = find_image_topics(bag, options.topics, collected.problems)
    if not collected.topics:
        raise BagError(f"bag '{bag.path}' has no images: {'; '.join(collected.problems)}")
    predictor.reset_stream()
    replay = PairingReplay(options.limits)
    started = time.perf_counter()
    with ExitStack() as stack:
        decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decoder")
        stack.callback(decoders.shutdown, cancel_futures=True)
        read = read_images(bag, collected.topics, collected.problems)
        messages = stack.enter_context(Prefetch(read, ahead=_MESSAGES_AHEAD, name="bag reader"))
        jobs = stack.enter_context(
            Prefetch(
                _jobs(messages, replay, decoders, collected.fates, options.freeze_timeout_ns),
                ahead=_RESULTS_AHEAD,
                name="pairing",
            )
        )
        worker = _ResultMaker(predictor, options, collected)
        for job in jobs:
            frame = worker.process(job)
            if frame is not None:
                collected.frames.append(frame)
            on_progress(len(collected.fates))
    on_progress(len(collected.fates))
    collected.seconds = time.perf_counter() - started
    collected.clock_jumps = replay.clock_jumps
    collected.add_skipped_fates()
    return collected


def _jobs(
    messages: Prefetch[tuple[FrameFate, Any]],
    replay: PairingReplay,
    decoders: ThreadPoolExecutor,
    fates: list[FrameFate],
    freeze_timeout_ns: int,
) -> Iterator[_Job]:
    """Yield the results of pairing, with their images being decoded."""
    frozen = FrozenImage(freeze_timeout_ns)

    def job(result: ReleasedResult) -> _Job:
        return _Job(result, [decoders.submit(_decode, frame) for frame in result.frames])

    for fate, fields in messages:
        fates.append(fate)
        if fields is None:
            continue
        fault = fault_of(fields)
        if fault is not None:
            fate.corrupt(fault)
            continue
        fresh = True
        if fate.camera == "thermal" and freeze_timeout_ns:
            fresh = frozen.is_fresh(rows_of(fields), arrival_ns=fate.received_ns)
        yield from map(job, replay.add(RecordedFrame(fate, fields), fresh=fresh))
    yield from map(job, replay.finish())


def _decode(frame: RecordedFrame) -> _Decoded:
    started = time.perf_counter()
    image = image_of(frame.content)
    pixels = image.to_rgb() if frame.fate.camera == "rgb" else image.to_thermal()
    return _Decoded(pixels, (image.width, image.height), 1e3 * (time.perf_counter() - started))


class _ResultMaker:
    """Turn jobs into frames with detections, in order, as the inference thread of the node does."""

    def __init__(self, predictor: DetectionSource, options: PredictionOptions, collected: CollectedBag) -> None:
        self._predictor = predictor
        self._modalities = modalities_in(predictor.modes)
        self._thresholds = [options.published] + ([] if options.scored is None else [options.scored])
        self._collected = collected

    def process(self, job: _Job) -> CollectedFrame | None:
        """Return the frame of a result. If no image of it can be used, return None and note why in the fates."""
        images: dict[str, npt.NDArray[Any]] = {}
        used: list[FrameFate] = []
        decode_ms = 0.0
        for frame, future in zip(job.result.frames, job.images, strict=True):
            fate = frame.fate
            try:
                decoded = future.result()
            except (cv2.error, MemoryError, ValueError) as error:
                fate.corrupt(str(error))
                continue
            decode_ms += decoded.decode_ms
            self._collected.sizes[fate.camera] = decoded.size
            self._collected.frame_ids[fate.camera] = frame.content.header.frame_id
            used.append(fate)
            if fate.camera in self._modalities:
                images[fate.camera] = decoded.pixels
        mode = mode_of(images, self._modalities) if images else None
        if mode is None or mode not in self._predictor.modes:
            for fate in used:
                fate.reason, fate.paired = SkipReason.UNPAIRED, False
                fate.message = "the detector has no mode for this image alone"
            return None
        if len(used) == 1:
            used[0].paired = False
        record = result_record(job.result, used, mode.value)
        started = time.perf_counter()
        try:
            found = self._predictor.predict_for(images, self._thresholds, reference_size=self._collected.image_size)
        except (ValueError, RuntimeError, MemoryError) as error:
            record.outcome, record.reason, record.mode = Outcome.SKIPPED, SkipReason.FAILED, None
            record.message = " ".join(f"inference failed: {error}".split())
            return CollectedFrame(record, released_ns=job.result.released_ns)
        predict_ms = 1e3 * (time.perf_counter() - started)
        record.times_ms |= {"decode": round(decode_ms, 3), "predict": round(predict_ms, 3)}
        compact = [compacted(item) for item in found]
        scored = compact[1] if len(compact) > 1 else None
        return CollectedFrame(record, compact[0], scored, job.result.released_ns, decode_ms + predict_ms)
