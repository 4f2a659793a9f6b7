# SPDX-License-Identifier: Apache-2.0
"""Run jobs in worker processes. If a worker dies, only its own job is repeated or fails."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

ATTEMPTS = 2
_END_SEC = 5.0


@dataclass(frozen=True)
class Ended(Generic[Job, Result]):
    """A job that has ended: its result, or the ``error`` of its last attempt. ``attempts`` counts the workers used."""

    job: Job
    result: Result | None
    error: str | None = None
    attempts: int = 1


@dataclass(eq=False)
class _Worker(Generic[Job]):
    process: SpawnProcess
    connection: Connection
    index: int | None = None


def run_in_processes(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    workers: int,
    on_retry: Callable[[Job, str], None] = lambda job, error: None,
) -> Iterator[Ended[Job, Result]]:
    """Yield each job when it has ended, in the order of ending.

    ``function`` must be importable in a new process. A job whose worker dies, for example by SIGKILL or by a crash in a
    library, runs again in a new worker, up to ``ATTEMPTS`` times. An exception of ``function`` counts as a death. When
    the iterator is closed or the caller is interrupted, the workers are ended.
    """
    context = multiprocessing.get_context("spawn")
    waiting = deque(range(len(jobs)))
    attempts = [0] * len(jobs)
    pool: list[_Worker[Job]] = []

    def start() -> _Worker[Job]:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        process.start()
        # The worker has its own copy of this end. With ours closed, the connection ends when the worker dies.
        theirs.close()
        return _Worker(process, ours)

    def feed(worker: _Worker[Job]) -> None:
        if waiting:
            worker.index = waiting.popleft()
            attempts[worker.index] += 1
            # A worker that is already dead is found by the wait below.
            _send(worker.connection, jobs[worker.index])

    try:
        pool = [start() for _ in range(min(workers, len(jobs)))]
        for worker in pool:
            feed(worker)
        while any(worker.index is not None for worker in pool):
            busy = {worker.connection: worker for worker in pool if worker.index is not None}
            for ready in wait(list(busy)):
                worker = busy[ready]  # type: ignore[index]
                assert worker.index is not None
                index, job = worker.index, jobs[worker.index]
                worker.index = None
                result, error = _receive(worker)
                if error is None:
                    yield Ended(job, result, attempts=attempts[index])
                else:
                    worker.connection.close()
                    pool[pool.index(worker)] = worker = start()
                    if attempts[index] < ATTEMPTS:
                        on_retry(job, error)
                        waiting.append(index)
                    else:
                        yield Ended(job, None, error, attempts[index])
                feed(worker)
            for worker in pool:  # a job that came back for another attempt
                if worker.index is None:
                    feed(worker)
    finally:
        _end(pool)


def _send(connection: Connection, job: object) -> None:
    try:
        connection.send(job)
    except OSError:
        return


def _receive(worker: _Worker[Job]) -> tuple[Any, str | None]:
    """Return the result of a worker, or how it died."""
    try:
        kind, value = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join(_END_SEC)
        code = worker.process.exitcode
        if code is not None and code < 0:
            return None, f"its process was ended by {signal.Signals(-code).name}"
        return None, f"its process ended with code {code}"
    if kind == "result":
        return value, None
    worker.process.join(_END_SEC)
    return None, str(value)


def _serve(connection: Connection, function: Callable[[Job], Result]) -> None:
    """Run jobs until the connection ends. Ctrl-C is for the parent, which then ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        try:
            connection.send(("result", function(job)))
        except Exception as error:  # noqa: BLE001  # reported by the parent
            connection.send(("error", f"{type(error).__name__}: {' '.join(str(error).split())}"))
            return


def _end(pool: Sequence[_Worker[Job]]) -> None:
    for worker in pool:
        worker.connection.close()
        if worker.process.is_alive():
            worker.process.terminate()
    for worker in pool:
        worker.process.join(_END_SEC)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
