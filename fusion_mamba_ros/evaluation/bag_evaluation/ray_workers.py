# SPDX-License-Identifier: Apache-2.0
"""Run jobs on a Ray cluster, with the rules of `run_in_processes`."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from fusion_mamba_ros.evaluation.bag_evaluation.worker_processes import ATTEMPTS, Ended

Job = TypeVar("Job")
Result = TypeVar("Result")

LOCAL = "local"
_MISSING = '--ray needs ray: pip install "fusion_mamba_ros[fleet]"'


def require_ray() -> None:
    """Raise ``ImportError`` with one sentence if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ImportError(_MISSING)


def connect_ray(address: str, workers: int | None = None) -> Any:
    """Connect to a Ray cluster and return the module `ray`.

    ``address`` is that of a cluster, or `local` to start one on this machine for ``workers`` processes of one CPU, None
    for all CPUs. Raises ``ImportError`` without Ray, and ``OSError`` if the cluster cannot be reached.
    """
    # Ray would report the use to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ImportError(_MISSING) from error
    local: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, **local, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"--ray {address}: no cluster answers ({reason}): start one with 'ray start --head'") from error
    return ray


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
    ray = connect_ray(address, workers)
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
