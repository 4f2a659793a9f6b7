# SPDX-License-Identifier: Apache-2.0
"""Run the processes of a grid: several at a time on this machine, or on a Ray cluster."""

from __future__ import annotations

import concurrent.futures
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from fusion_mamba_ros.analysis.grid_cell import CellJob
from fusion_mamba_ros.evaluation.bag_evaluation.ray_workers import connect_ray

_POLL_SEC = 0.2
# Exit code of a cell whose process was lost with its Ray task.
_LOST = 1
OnDone = Callable[[CellJob, int], None]


def run_process(job_file: Path, stopped: Callable[[], bool] = lambda: False) -> int:
    """Run `grid_cell` on a job and return its exit code; its output is appended to `log.txt` beside the job.

    When ``stopped()`` becomes true, the process gets SIGTERM once, saves and ends.
    """
    command = [sys.executable, "-m", "fusion_mamba_ros.analysis.grid_cell", str(job_file)]
    with (job_file.parent / "log.txt").open("ab") as log:
        # In a new session, Ctrl-C in the terminal does not reach the process: a second signal would end it unsaved.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            told = False
            while True:
                try:
                    return process.wait(_POLL_SEC)
                except subprocess.TimeoutExpired:
                    if stopped() and not told:
                        told = True
                        process.send_signal(signal.SIGTERM)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def run_locally(jobs: Sequence[CellJob], parallel: int, stop: threading.Event, on_done: OnDone) -> None:
    """Run the jobs, ``parallel`` at a time; ``on_done`` gets each job with its exit code, in this thread.

    After ``stop`` is set no job starts, and the running ones save and end.
    """

    def work(job: CellJob) -> int | None:
        return None if stop.is_set() else run_process(job.write(), stop.is_set)

    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        futures = {pool.submit(work, job): job for job in jobs}
        for future in concurrent.futures.as_completed(futures):
            code = future.result()
            if code is not None:
                on_done(futures[future], code)


def run_on_ray(jobs: Sequence[CellJob], address: str, stop: threading.Event, on_done: OnDone) -> None:
    """Run the jobs on a Ray cluster, as many at a time as it has CPUs for; all machines must see the same files.

    ``address``: address of the cluster, or `local` to start one on this machine.
    Raises ``OSError`` if the cluster cannot be reached and ``ImportError`` without Ray.
    """
    ray = connect_ray(address)

    def work(job_file: str) -> int:
        return run_process(Path(job_file))

    try:
        waiting = {
            ray.remote(work).options(num_cpus=max(1, job.threads), max_retries=0).remote(str(job.write())): job
            for job in jobs
        }
        while waiting:
            if stop.is_set():
                # Cancelling interrupts `run_process`, which ends its process in an orderly way.
                for reference in waiting:
                    ray.cancel(reference)
                ray.wait(list(waiting), num_returns=len(waiting), timeout=60)
                return
            for reference in ray.wait(list(waiting), timeout=_POLL_SEC)[0]:
                job = waiting.pop(reference)
                try:
                    code = ray.get(reference)
                except ray.exceptions.RayError as error:
                    # The machine or the Ray worker died, which must not end the other cells.
                    code = _LOST
                    with (Path(job.out) / "log.txt").open("a", encoding="utf-8") as log:
                        log.write(f"\nerror: the Ray task was lost: {' '.join(str(error).split())}\n")
                on_done(job, code)
    finally:
        ray.shutdown()
