# SPDX-License-Identifier: Apache-2.0
"""A service client that repeats a request if DDS drops the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

# wait(condition, seconds) spins the node and returns whether the condition was met in time.
Wait = Callable[[Callable[[], bool], float], bool]

RETRY_SEC = 5.0


class ServiceError(RuntimeError):
    """Raised if a service does not answer in time. The message is one sentence."""


class ServiceClient:
    """A long-lived client of ``service``. `close` destroys it.

    DDS can drop an answer, mostly if the client has just been created and the server has not discovered its reader yet.
    Therefore the client is kept for many calls, and `call` repeats the request.
    """

    def __init__(self, node: Node, kind: type, service: str, wait: Wait, *, retry_sec: float = RETRY_SEC) -> None:
        self.service = service
        self._node, self._wait, self._retry_sec = node, wait, retry_sec
        self._client: Client = node.create_client(kind, service)

    def close(self) -> None:
        """Destroy the client and abandon requests without an answer."""
        self._node.destroy_client(self._client)

    def wait_for_service(self, limit_sec: float) -> None:
        """Wait until the service exists. Raises `ServiceError`."""
        if not self._wait(self._client.service_is_ready, limit_sec):
            raise ServiceError(f"service {self.service} did not appear within {limit_sec:g} s")

    def send(self, request: Any) -> Future:
        """Send the request once and return the future of its answer."""
        return self._client.call_async(request)

    def forget(self, futures: list[Future]) -> None:
        """Stop waiting for these answers."""
        for future in futures:
            self._client.remove_pending_request(future)

    def call(self, request: Any, limit_sec: float) -> Any:
        """Repeat the request until an answer arrives, and return the answer. The request must be idempotent.

        Raises `ServiceError` after ``limit_sec``.
        """
        deadline = time.monotonic() + limit_sec
        self.wait_for_service(limit_sec)
        futures: list[Future] = []
        try:
            while (left_sec := deadline - time.monotonic()) > 0:
                futures.append(self.send(request))
                if self._wait(lambda: any(future.done() for future in futures), min(self._retry_sec, left_sec)):
                    return next(future for future in futures if future.done()).result()
        finally:
            self.forget(futures)
        raise ServiceError(f"{self.service} did not answer within {limit_sec:g} s")
