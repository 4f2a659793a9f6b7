# SPDX-License-Identifier: Apache-2.0
"""The program of `BenchProcess`: answer each line of stdin with one line of JSON on stdout. Ends with stdin."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.deployment.bench_process import BenchRequest
from fusion_mamba_ros.perception.engine import EngineOptions
from fusion_mamba_ros.perception.engine_loading import load_engine
from fusion_mamba_ros.perception.modality import modality_named
from fusion_mamba_ros.perception.predictor import Predictor
from fusion_mamba_ros.perception.process_memory import peak_resident_mb, resident_mb

_STAGES = {"preprocess": "preprocess_ms", "network": "inference_ms", "postprocess": "postprocess_ms"}


def main() -> None:
    """Load the model of the request in ``sys.argv[1]``, predict once, then answer."""
    # The starting process ends this one by closing its stdin, also after Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = BenchRequest.from_text(sys.argv[1])
    try:
        worker = BenchWorker(request)
    except (ValueError, MemoryError, OSError) as error:
        _write(answers, {"error": str(error) or type(error).__name__})
        sys.exit(2)
    _write(answers, worker.about)
    for line in sys.stdin:
        _write(answers, worker.answer(json.loads(line)))


class BenchWorker:
    """A loaded model that has predicted once, and the answers to the questions of `BenchProcess`."""

    def __init__(self, request: BenchRequest) -> None:
        """Load the model and predict once. Raises ``ValueError`` if this is not possible."""
        self._predictor = _predictor(request)
        self._images = _images(request.images, self._predictor.modalities)
        self._predictor.predict(self._images)
        engine = self._predictor.engine
        self.about = {
            "ready_s": time.monotonic(),
            "engine": engine.name,
            "version": engine.version,
            "precision": engine.precision,
            "device": engine.device,
            "canvas": list(self._predictor.metadata.input_size),
        }

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Return the memory in MiB, or the times of predictions in milliseconds."""
        if question.get("memory"):
            own = {"resident": resident_mb(), "peak": peak_resident_mb()}
            known = {name: value for name, value in own.items() if value is not None}
            return known | dict(self._predictor.engine.memory_mb())
        return _times(self._predictor, self._images, question["count"], question["seconds"])


def _predictor(request: BenchRequest) -> Predictor:
    engine, metadata = load_engine(
        request.model, request.engine, EngineOptions(request.device, request.precision, request.threads)
    )
    if request.canvas is not None:
        metadata = dataclasses.replace(metadata, input_size=request.canvas)
    return Predictor(engine, metadata)


def _images(path: Path, modalities: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    random = np.random.default_rng(0)
    with np.load(path, allow_pickle=False) as stored:
        images = {name: stored[name] for name in modalities if name in stored}
    for name in modalities:
        if name not in images:
            channels = modality_named(name).channels
            images[name] = random.integers(0, 256, (480, 640) if channels == 1 else (480, 640, channels), np.uint8)
    return images


def _times(predictor: Predictor, images: dict[str, npt.NDArray[Any]], count: int, seconds: float) -> dict[str, Any]:
    total: list[float] = []
    stages: dict[str, list[float]] = {stage: [] for stage in _STAGES}
    deadline = time.perf_counter() + seconds
    while len(total) < count or time.perf_counter() < deadline:
        start = time.perf_counter()
        predictor.predict(images)
        total.append(1e3 * (time.perf_counter() - start))
        for stage, field in _STAGES.items():
            stages[stage].append(getattr(predictor.times, field))
    return {"total": total, "stages": stages}


def _write(answers: IO[str], answer: Any) -> None:
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
