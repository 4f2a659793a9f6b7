# SPDX-License-Identifier: Apache-2.0
"""A fresh process that loads one model and times its predictions on request. `bench_worker` is its program."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

_END_SEC = 30.0


@dataclass(frozen=True)
class BenchRequest:
    """What a process loads and predicts on.

    ``images``: `.npz` file with one image for each modality; a modality that it lacks gets random values. ``canvas``:
    (width, height) that replaces the checkpoint's, None to keep it. The other fields are those of
    `Predictor.from_checkpoint`.
    """

    model: Path
    images: Path
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    canvas: tuple[int, int] | None = None

    def to_text(self) -> str:
        """Return the request as one line."""
        return json.dumps(dataclasses.asdict(self) | {"model": str(self.model), "images": str(self.images)})

    @classmethod
    def from_text(cls, text: str) -> BenchRequest:
        """Return the request that ``to_text`` wrote."""
        values = json.loads(text)
        canvas = values.pop("canvas")
        model, images = Path(values.pop("model")), Path(values.pop("images"))
        return cls(model, images, **values, canvas=None if canvas is None else (canvas[0], canvas[1]))


@dataclass(frozen=True)
class BenchTimes:
    """Times of successive predictions in milliseconds: in total, and of each stage by its name."""

    total: list[float]
    stages: dict[str, list[float]]


class BenchProcess:
    """A process with one model. It sleeps between the calls.

    ``start_s`` is the time from the start of the process to its first detections. ``about`` names the engine, its
    version, precision and device, and the canvas.
    """

    def __init__(self, request: BenchRequest, environment: Mapping[str, str] | None = None) -> None:
        """Start the process and wait for its first detections.

        Raises ``ValueError`` with one sentence if it cannot load the model or predict.
        """
        self._request = request
        command = [sys.executable, "-m", "fusion_mamba_ros.deployment.bench_worker", request.to_text()]
        started = time.monotonic()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.about = self._answer()
        # The clock is the same in all processes of a machine.
        self.start_s: float = self.about.pop("ready_s") - started

    def __enter__(self) -> BenchProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, *, count: int = 1, seconds: float = 0.0) -> BenchTimes:
        """Time at least ``count`` predictions, and more until ``seconds`` have passed."""
        answer = self._ask({"count": count, "seconds": seconds})
        return BenchTimes(answer["total"], answer["stages"])

    def memory_mb(self) -> dict[str, float]:
        """Return the memory in MiB by name: resident now, resident at the peak, and what the engine reports."""
        answer: dict[str, float] = self._ask({"memory": True})
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(_END_SEC)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ask(self, question: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        # If the process has ended, its answer is missing too, and the error names the exit code.
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(question), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except BaseException:
            self._process.kill()
            raise
        if not line:
            code = self._process.wait()
            self.close()
            raise ValueError(f"the process that ran '{self._request.model}' ended with exit code {code}")
        answer = json.loads(line)
        if "error" in answer:
            self.close()
            raise ValueError(answer["error"])
        return answer
