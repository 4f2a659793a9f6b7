# SPDX-License-Identifier: Apache-2.0
"""Change the lifecycle state of another node through its services."""

from __future__ import annotations

import time
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node
from rclpy.task import Future

from fusion_mamba_ros.ros.bag_tools.service_client import RETRY_SEC, ServiceClient, ServiceError, Wait

_GOALS = {
    Transition.TRANSITION_CONFIGURE: "inactive",
    Transition.TRANSITION_ACTIVATE: "active",
    Transition.TRANSITION_DEACTIVATE: "inactive",
    Transition.TRANSITION_CLEANUP: "unconfigured",
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: "finalized",
    Transition.TRANSITION_INACTIVE_SHUTDOWN: "finalized",
    Transition.TRANSITION_ACTIVE_SHUTDOWN: "finalized",
}
# Two answers that were sent together may arrive at different times.
_GRACE_SEC = 0.5


class LifecycleClient:
    """Change and read the lifecycle state of the node ``name``. `close` destroys the service clients.

    If DDS drops an answer, the client reads the state after ``retry_sec`` and repeats the request only if it had no
    effect.
    """

    def __init__(self, node: Node, name: str, wait: Wait, *, retry_sec: float = RETRY_SEC) -> None:
        self._name, self._wait, self._retry_sec = name, wait, retry_sec
        self._change_state = ServiceClient(node, ChangeState, f"{name}/change_state", wait, retry_sec=retry_sec)
        self._get_state = ServiceClient(node, GetState, f"{name}/get_state", wait, retry_sec=retry_sec)

    def close(self) -> None:
        """Destroy the clients."""
        self._change_state.close()
        self._get_state.close()

    def wait_for_node(self, limit_sec: float) -> None:
        """Wait until the node offers its services. Raises `ServiceError`."""
        deadline = time.monotonic() + limit_sec
        self._change_state.wait_for_service(limit_sec)
        self._get_state.wait_for_service(max(deadline - time.monotonic(), 0.0))

    def state(self, limit_sec: float) -> str:
        """Return the label of the node's state. Raises `ServiceError`."""
        return str(self._get_state.call(GetState.Request(), limit_sec).current_state.label)

    def change_state(self, transition: int, limit_sec: float) -> bool:
        """Request a transition (an id of `lifecycle_msgs/Transition`) and return whether it succeeded.

        Raises `ServiceError` if neither the answer nor the state shows the result within ``limit_sec``.
        """
        before = self.state(limit_sec)
        request = ChangeState.Request(transition=Transition(id=transition))
        futures: list[Future] = [self._change_state.send(request)]
        try:
            answer = self._await_answer(futures, request, before, _GOALS[transition], limit_sec)
            succeeded = answer is None or bool(answer.success)
            # A repeated request is refused if the first one succeeded and its answer was lost.
            return succeeded or (len(futures) > 1 and self.state(limit_sec) == _GOALS[transition])
        except ServiceError as error:
            raise ServiceError(f"{self._name} did not answer within {limit_sec:g} s") from error
        finally:
            self._change_state.forget(futures)

    def _await_answer(self, futures: list[Future], request: Any, before: str, goal: str, limit_sec: float) -> Any:
        """Return the first answer, or None if the state shows that the transition succeeded and its answer was lost.

        Repeated requests are added to ``futures``. Raises `ServiceError`.
        """

        def answered() -> bool:
            return any(future.done() for future in futures)

        deadline = time.monotonic() + limit_sec
        while (left_sec := deadline - time.monotonic()) > 0:
            if self._wait(answered, min(self._retry_sec, left_sec)):
                return next(future for future in futures if future.done()).result()
            state = self.state(deadline - time.monotonic())
            if self._wait(answered, _GRACE_SEC):
                continue
            if state == goal != before:
                return None
            if state == before:
                futures.append(self._change_state.send(request))
        raise ServiceError(f"{self._name} did not answer")
