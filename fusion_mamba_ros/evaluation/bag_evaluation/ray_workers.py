# SPDX-License-Identifier: Apache-2.0
"""Run jobs on a Ray cluster, with the rules of `run_in_processes`."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from fusion_mamba_ros.evaluation.bag_evaluation.worker_processes import ATTEMPTS, Ended

Job = TypeVar("Job")
Result = TypeVar("Result")

LOCAL = "local"


def require_ray() -> None:
    """Raise ``ImportError`` with one sentence if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ImportError('--ray needs ray: pip install "fusion_mamba_ros[fleet]"')


def run_on_ray(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    address: str,
    workers: int,
    on_retry: Callable[[Job, str], None] = lambda job, error: None,
) -> Iterator[Ended[Job, Result]]:
    """Yield each job when it has ended, in the order of ending.

    ``address`` is that of a cluster, or `local` for one of ``workers`` processes on this machine. Raises ``OSError``
    if the cluster cannot be reached.
    """
    require_ray()
    import ray

    try:
        if address == LOCAL:
            ray.init(num_cpus=workers, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        else:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise OSError(f"the Ray cluster '{address}' cannot be reached: {' '.join(str(error).split())}") from error
    try:
        # Attempts are counted here: Ray's own retries would not be reported.
        task = ray.remote(max_retries=0)(function)
        attempts = [1] * len(jobs)
        running: dict[Any, int] = {task.remote(job): index for index, job in enumerate(jobs)}
        while running:
            (ready,), _ = ray.wait(list(running), num_returns=1)
            index = running.pop(ready)
            job = jobs[index]
            try:
                result = ray.get(ready)
            except ray.exceptions.RayError as error:
                reason = _reason(error)
                if attempts[index] < ATTEMPTS:
                    on_retry(job, reason)
                    attempts[index] += 1
                    running[task.remote(job)] = index
                else:
                    yield Ended(job, None, reason, attempts[index])
                continue
            yield Ended(job, result, attempts=attempts[index])
    finally:
        ray.shutdown()


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
