# SPDX-License-Identifier: Apache-2.0
"""Measure the speed of detectors: each engine, precision and number of threads in a process of its own."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion_mamba_ros.deployment.bench_process import BenchProcess, BenchRequest, BenchTimes
from fusion_mamba_ros.perception.checkpoint_metadata import StoredDocument
from fusion_mamba_ros.perception.engine_loading import TORCH, EngineKind, choose_engine, read_model_document

OnProgress = Callable[[int, int], None]
_TURN = 3  # predictions of a process before the next one has its turn


@dataclass(frozen=True)
class BenchPlan:
    """What to measure.

    ``models``: checkpoints and exported models; a checkpoint is also measured on the canvas of every exported model.
    ``threads``: numbers of CPU threads, 0 for the engine's default. ``precisions``: of checkpoints; an exported model
    has its own. ``predictions``: timed predictions of each row. ``starts``: processes whose start-up time is measured.
    ``peers``: whether to measure models of the same scale with random weights too.
    """

    models: tuple[Path, ...]
    threads: tuple[int, ...] = (1,)
    precisions: tuple[str, ...] = ("auto",)
    engine: str = "auto"
    device: str = "auto"
    predictions: int = 30
    starts: int = 3
    peers: bool = True

    def __post_init__(self) -> None:
        for name in ("models", "threads", "precisions"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} are {', '.join(map(str, values)) or 'none'}: give at least one, each once")


@dataclass(frozen=True)
class _Case:
    """A row to measure: its name, whether its weights are random, and the settings of its process."""

    name: str
    random_weights: bool
    request: BenchRequest
    canvas: tuple[int, int]


def measure(plan: BenchPlan, images: Path, on_progress: OnProgress, notes: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each canvas and number of threads, as plain values.

    The models of one group take turns, so that a change of the machine's speed meets all of them; while one works, the
    others sleep. ``images`` is a `.npz` file with an image for each modality. ``notes`` gets a sentence for what could
    not be measured. Raises ``ValueError`` with one sentence if a model cannot be measured.
    """
    with tempfile.TemporaryDirectory(prefix="fusion_mamba_bench_") as folder:
        cases = _cases(plan, images, Path(folder), notes)
        groups = [
            [case for case in cases if (case.canvas, case.request.threads) == key]
            for key in dict.fromkeys((case.canvas, case.request.threads) for case in cases)
        ]
        turn = min(_TURN, plan.predictions)
        rounds = -(-plan.predictions // turn)
        total, done = len(cases) * (plan.starts + rounds), 0

        def step() -> None:
            nonlocal done
            done += 1
            on_progress(done, total)

        on_progress(0, total)
        for group in groups:
            yield _measure_group(plan, group, [turn] * rounds, step)


def _cases(plan: BenchPlan, images: Path, folder: Path, notes: list[str]) -> list[_Case]:
    """Return the cases in the order of the rows, after the peers have been written to ``folder``."""
    kinds = {model: choose_engine(model, plan.engine) for model in plan.models}
    documents = {model: read_model_document(model) for model in plan.models}
    exported = {model: documents[model].metadata.input_size for model in plan.models if kinds[model].name != TORCH}
    names = _names(plan.models)
    cases: list[_Case] = []
    known_peers: set[tuple[str, str, tuple[int, int]]] = set()
    for model in plan.models:
        others = () if model in exported else exported.values()
        for canvas in dict.fromkeys((documents[model].metadata.input_size, *others)):
            files = {names[model]: (model, False)}
            key = (kinds[model].name, str(dict(documents[model].model)), canvas)
            if plan.peers and key not in known_peers:
                known_peers.add(key)
                target = folder / str(len(known_peers))
                target.mkdir()
                peers = _peers(documents[model], canvas, target, kinds[model], notes)
                files |= {name: (path, True) for name, path in peers.items()}
            for precision in ("auto",) if model in exported else plan.precisions:
                settings = (plan.engine, plan.device, precision)
                new_canvas = None if model in exported else canvas
                cases += [
                    _Case(
                        name, is_random, BenchRequest(path.absolute(), images, *settings, threads, new_canvas), canvas
                    )
                    for name, (path, is_random) in files.items()
                    for threads in plan.threads
                ]
    return cases


def _names(models: Sequence[Path]) -> dict[Path, str]:
    """Return the file names of the models, with the folder if another model has the same file name."""
    shared = {model: sum(other.name == model.name for other in models) > 1 for model in models}
    return {
        model: str(Path(model.absolute().parent.name, model.name)) if shared[model] else model.name for model in models
    }


def _peers(
    document: StoredDocument, canvas: tuple[int, int], folder: Path, kind: EngineKind, notes: list[str]
) -> dict[str, Path]:
    try:
        from fusion_mamba_ros.deployment.bench_peers import write_peers

        return write_peers(document, canvas, folder, exported=kind.name != TORCH)
    except ImportError as error:
        note = f"no models to compare with for {kind.title}: they need {error.name}, which is not installed"
        if note not in notes:
            notes.append(note)
        return {}


def _measure_group(
    plan: BenchPlan, cases: Sequence[_Case], turns: Sequence[int], step: Callable[[], None]
) -> list[dict[str, Any]]:
    starts: list[list[float]] = []
    with ExitStack() as stack:
        processes: list[BenchProcess] = []
        for case in cases:
            starts.append([])
            for number in range(plan.starts):
                process = BenchProcess(case.request)
                starts[-1].append(process.start_s)
                step()
                if number < plan.starts - 1:
                    process.close()
                else:
                    processes.append(stack.enter_context(process))
        times = [BenchTimes([], {}) for _ in cases]
        for turn in turns:
            for process, kept in zip(processes, times, strict=True):
                found = process.run(count=turn)
                kept.total.extend(found.total)
                for stage, values in found.stages.items():
                    kept.stages.setdefault(stage, []).extend(values)
                step()
        rows = [
            _row(case, process, kept, start)
            for case, process, kept, start in zip(cases, processes, times, starts, strict=True)
        ]
    for row in rows:
        row["network_ratio"] = row["stages_ms"]["network"] / rows[0]["stages_ms"]["network"]
    return rows


def _row(case: _Case, process: BenchProcess, times: BenchTimes, starts: Sequence[float]) -> dict[str, Any]:
    p50, p95, p99 = (float(value) for value in np.percentile(times.total, [50, 95, 99]))
    return {
        "model": case.name,
        "weights": "random" if case.random_weights else "of the file",
        **process.about,
        "threads": case.request.threads,
        "predictions": len(times.total),
        "latency_ms": {"p50": p50, "p95": p95, "p99": p99},
        "per_second": 1e3 / statistics.fmean(times.total),
        "stages_ms": {stage: statistics.median(values) for stage, values in times.stages.items()},
        "memory_mb": process.memory_mb(),
        "start_s": statistics.median(starts),
        "starts_s": list(starts),
    }
