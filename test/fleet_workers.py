# SPDX-License-Identifier: Apache-2.0
"""Functions that the workers of the fleet tests run. They are imported in the worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fusion_mamba_ros.evaluation.bag_evaluation.bag_job import BagJob, JobResult, run_job
from fusion_mamba_ros.evaluation.bag_evaluation.worker_processes import Ended


def killed_once(job: BagJob) -> JobResult:
    """Evaluate the bag; in the first attempt at the bag `b`, the process is killed."""
    mark = Path(os.environ["FUSION_MAMBA_TEST_MARK"])
    if job.bag.name == "b" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return run_job(job)


def always_killed(job: BagJob) -> JobResult:
    """Evaluate the bag; every attempt at the bag `b` is killed."""
    if job.bag.name == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return run_job(job)


def doubled(number: int) -> int:
    """Return twice the number; a negative one is an error, zero ends the process."""
    if number < 0:
        raise RuntimeError("a negative\nnumber")
    if number == 0:
        os._exit(7)
    return 2 * number


def run_here(
    function: Callable[[BagJob], JobResult], jobs: Sequence[BagJob], **options: object
) -> Iterator[Ended[BagJob, JobResult]]:
    """Run the jobs in this process, in the place of `run_in_processes`."""
    for job in jobs:
        yield Ended(job, function(job))
