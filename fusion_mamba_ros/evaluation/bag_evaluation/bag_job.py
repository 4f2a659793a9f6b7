# SPDX-License-Identifier: Apache-2.0
"""The evaluation of one bag of a fleet, in a process of its own: what goes in and what comes out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_mamba_ros import __version__
from fusion_mamba_ros.evaluation.bag_evaluation.bag_list import ListedBag
from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import REPORT_FILE, evaluate_bag, load_predictor
from fusion_mamba_ros.evaluation.bag_evaluation.options import BagEvaluationOptions
from fusion_mamba_ros.evaluation.bag_evaluation.report_schema import SCHEMA_VERSION
from fusion_mamba_ros.evaluation.bag_evaluation.scenario import Scenario
from fusion_mamba_ros.evaluation.bag_evaluation.scored_frame import FramePicker
from fusion_mamba_ros.evaluation.bag_report.page import PAGE_FILE
from fusion_mamba_ros.evaluation.bag_report.report_files import PageOptions, remove_old_worst_frames, report_files
from fusion_mamba_ros.perception.atomic_write import write_atomically

if TYPE_CHECKING:
    from fusion_mamba_ros.perception.predictor import Predictor

FINGERPRINT_FILE = "evaluated.json"
_NAME = "{name}"


@dataclass(frozen=True)
class BagJob:
    """One bag and how to evaluate it. Another process or machine can take it."""

    bag: ListedBag
    options: BagEvaluationOptions
    scenario: Scenario | None = None
    page: PageOptions = field(default_factory=PageOptions)

    def fingerprint(self) -> str:
        """Return a digest of all that the result depends on: files by size and time of change, options, version."""
        options = self.options
        paths = [self.bag.path, options.detections_bag, options.detector.checkpoint, options.detector.registration]
        if options.ground_truth is not None:
            paths.append(Path(options.ground_truth))
        content = {
            "version": [__version__, SCHEMA_VERSION],
            "options": asdict(options),
            "scenario": None if self.scenario is None else asdict(self.scenario),
            "worst": self.page.worst,
            "files": [_files_of(path) for path in paths if path is not None],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class JobResult:
    """The files of an evaluated bag by name, or why it could not be evaluated."""

    name: str
    files: dict[str, bytes] | None = None
    error: str | None = None


def make_job(
    bag: ListedBag,
    options: BagEvaluationOptions,
    scenario: Scenario | None = None,
    page: PageOptions | None = None,
) -> BagJob:
    """Return the job of ``bag``. `{name}` in the paths of ground truth and detections stands for the bag's name."""
    if options.ground_truth is not None:
        options = replace(options, ground_truth=options.ground_truth.replace(_NAME, bag.name))
    if options.detections_bag is not None:
        options = replace(options, detections_bag=Path(str(options.detections_bag).replace(_NAME, bag.name)))
    return BagJob(bag, options, scenario, page or PageOptions())


def run_job(job: BagJob) -> JobResult:
    """Evaluate the bag. An error of this bag is in the result, so that it does not stop the others."""
    picker = FramePicker(job.page.worst)
    try:
        evaluation = evaluate_bag(
            job.bag.path,
            job.options,
            load_predictor=_predictor_of(job.options),
            scenario=job.scenario,
            on_scored=picker.offer,
        )
        files = report_files(evaluation, picker, name=job.bag.name, command=job.page.command)
    except (ImportError, MemoryError, OSError, ValueError) as error:
        return JobResult(job.bag.name, error=" ".join(str(error).split()) or type(error).__name__)
    return JobResult(job.bag.name, files)


def write_result(folder: Path, result: JobResult, fingerprint: str) -> None:
    """Write the files of an evaluated bag to ``folder``, the fingerprint last."""
    assert result.files is not None
    remove_old_worst_frames(folder)
    for name, data in result.files.items():
        write_atomically(folder / name, data, durable=False)
    write_atomically(folder / FINGERPRINT_FILE, json.dumps({"fingerprint": fingerprint}).encode())


def is_finished(folder: Path, fingerprint: str) -> bool:
    """Return whether ``folder`` has the result of a job with this fingerprint."""
    try:
        known: Any = json.loads((folder / FINGERPRINT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    same = isinstance(known, dict) and known.get("fingerprint") == fingerprint
    return same and all((folder / name).exists() for name in (REPORT_FILE, PAGE_FILE))


@lru_cache(maxsize=1)
def _cached_predictor(options: BagEvaluationOptions) -> Predictor:
    return load_predictor(options)


def _predictor_of(options: BagEvaluationOptions) -> Callable[[], Predictor]:
    """Return a loader that keeps the predictor for the next bag of this process."""
    # Only these options change the predictor.
    key = BagEvaluationOptions(detector=options.detector, score_threshold=options.score_threshold)
    return lambda: _cached_predictor(key)


def _files_of(path: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time of change of a file, or of the files in a folder."""
    files = sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]
    found = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        found.append((str(file), status.st_size, status.st_mtime_ns))
    return found
