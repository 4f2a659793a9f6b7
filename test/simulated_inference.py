# SPDX-License-Identifier: Apache-2.0
"""Inference threads without threads: they begin with the next event of a simulated world."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from simulated_world import World

from fusion_mamba_ros.ros.detector.inference_turns import Turns


class SimulatedWorker:
    """An inference worker without a thread: it begins with the world's next event."""

    def __init__(self, world: World, process: Callable[[Any], None], on_error: Callable[[Exception], None]) -> None:
        self._world = world
        self._process = process
        self._on_error = on_error
        self._waiting: Any = None
        self._busy = False

    def submit(self, item: Any) -> Any:
        replaced, self._waiting = self._waiting, item
        if not self._busy:
            self._busy = True
            self._world.at(self._world.steady_ns, self._run)
        return replaced

    def stop(self, *, timeout_sec: float) -> bool:
        self._waiting = None
        return not self._busy

    def _run(self) -> None:
        item, self._waiting = self._waiting, None
        try:
            self._process(item)
        except Exception as error:
            self._on_error(error)
        self._busy = self._waiting is not None
        if self._busy:
            self._world.at(self._world.steady_ns, self._run)


class SimulatedScheduler:
    """One inference thread that several pairs share in turns, without a thread."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._turns: Turns[Any] = Turns()
        self._lanes: dict[int, tuple[Callable[[Any], None], Callable[[Exception], None]]] = {}
        self._busy = False

    def lane(self, process: Callable[[Any], None], *, on_error: Callable[[Exception], None]) -> Any:
        """Return a lane, as `InferenceScheduler.lane` does."""
        number = self._turns.add_lane()
        self._lanes[number] = process, on_error
        return SimpleNamespace(
            submit=lambda item: self._submit(number, item), stop=lambda timeout_sec: self._stop(number)
        )

    def _submit(self, number: int, item: Any) -> Any:
        replaced = self._turns.submit(number, item)
        if not self._busy:
            self._busy = True
            self._world.at(self._world.steady_ns, self._run)
        return replaced

    def _stop(self, number: int) -> bool:
        self._turns.remove_lane(number)
        return not self._turns.is_busy(number)

    def _run(self) -> None:
        taken = self._turns.take()
        self._busy = taken is not None
        if taken is None:
            return
        process, on_error = self._lanes[taken[0]]
        try:
            process(taken[1])
        except Exception as error:
            on_error(error)
        self._turns.finish(taken[0])
        self._world.at(self._world.steady_ns, self._run)
