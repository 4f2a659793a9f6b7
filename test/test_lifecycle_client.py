# SPDX-License-Identifier: Apache-2.0
"""Driving another node's lifecycle while DDS drops answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

pytest.importorskip("rclpy")

from detector_graph import is_met
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.task import Future

from fusion_mamba_ros.ros.bag_tools.lifecycle_client import LifecycleClient
from fusion_mamba_ros.ros.bag_tools.service_client import ServiceClient, ServiceError

RETRY_SEC = 0.02


class Server:
    """A lifecycle node as a client sees it: requests arrive, answers may get lost."""

    def __init__(self) -> None:
        self.state = "unconfigured"
        self.requests: list[int] = []
        self.lost_requests = 0
        self.lost_answers: dict[type, int] = {ChangeState: 0, GetState: 0}
        self.fails = False
        self.clients: list[LossyClient] = []

    def create_client(self, kind: type, name: str) -> LossyClient:
        self.clients.append(LossyClient(self, kind))
        return self.clients[-1]

    def destroy_client(self, client: LossyClient) -> None:
        self.clients.remove(client)

    def answer(self, kind: Any, request: Any) -> object:
        """Do what the request asks for; return the answer, None if it is lost."""
        if kind is ChangeState and self.lost_requests:
            self.lost_requests -= 1
            return None
        answer: object = GetState.Response(current_state=State(label=self.state))
        if kind is ChangeState:
            answer = ChangeState.Response(success=self._change(request.transition.id))
        if self.lost_answers[kind]:
            self.lost_answers[kind] -= 1
            return None
        return answer

    def _change(self, transition: int) -> bool:
        self.requests.append(transition)
        goal = {
            (Transition.TRANSITION_CONFIGURE, "unconfigured"): "inactive",
            (Transition.TRANSITION_ACTIVATE, "inactive"): "active",
        }.get((transition, self.state))
        if goal is None or self.fails:
            return False
        self.state = goal
        return True


class LossyClient:
    """Stand-in for a service client of rclpy."""

    def __init__(self, server: Server, kind: type) -> None:
        self.server, self.kind = server, kind
        self.pending: list[Future] = []

    def service_is_ready(self) -> bool:
        return True

    def call_async(self, request: object) -> Future:
        future: Future = Future()
        answer = self.server.answer(self.kind, request)
        if answer is None:
            self.pending.append(future)
        else:
            future.set_result(answer)
        return future

    def remove_pending_request(self, future: Future) -> None:
        if future in self.pending:
            self.pending.remove(future)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client(server: Server) -> Iterator[LifecycleClient]:
    client = LifecycleClient(cast(Any, server), "detector_node", is_met, retry_sec=RETRY_SEC)
    yield client
    assert all(not lossy.pending for lossy in server.clients), "requests that are waited for no more are forgotten"
    client.close()
    assert server.clients == []


def lose_nothing(server: Server) -> None:
    pass


def lose_an_answer(server: Server) -> None:
    server.lost_answers[ChangeState] = 1


def lose_a_request(server: Server) -> None:
    server.lost_requests = 1


def lose_an_answer_and_a_state(server: Server) -> None:
    server.lost_answers = {ChangeState: 1, GetState: 2}


def lose_a_request_and_an_answer(server: Server) -> None:
    server.lost_requests, server.lost_answers[ChangeState] = 1, 1


LOSSES = [lose_nothing, lose_an_answer, lose_a_request, lose_an_answer_and_a_state, lose_a_request_and_an_answer]


@pytest.mark.parametrize("lose", LOSSES)
def test_a_transition_happens_once_whatever_is_lost(
    server: Server, client: LifecycleClient, lose: Callable[[Server], None]
) -> None:
    lose(server)
    assert client.change_state(Transition.TRANSITION_CONFIGURE, 60.0)
    assert server.requests == [Transition.TRANSITION_CONFIGURE]
    lose(server)
    assert client.change_state(Transition.TRANSITION_ACTIVATE, 60.0)
    assert (server.state, server.requests[1:]) == ("active", [Transition.TRANSITION_ACTIVATE])


@pytest.mark.parametrize("lose", LOSSES)
def test_a_transition_that_fails_is_reported_as_failed(
    server: Server, client: LifecycleClient, lose: Callable[[Server], None]
) -> None:
    server.fails = True
    lose(server)
    assert not client.change_state(Transition.TRANSITION_CONFIGURE, 60.0)
    assert server.state == "unconfigured"


def test_a_transition_that_the_state_does_not_have_fails(server: Server, client: LifecycleClient) -> None:
    server.lost_answers[ChangeState] = 1
    assert not client.change_state(Transition.TRANSITION_ACTIVATE, 60.0)


def test_a_node_that_never_answers_is_given_up(server: Server, client: LifecycleClient) -> None:
    server.lost_answers = {ChangeState: 1000, GetState: 0}
    server.fails = True
    with pytest.raises(ServiceError, match="detector_node did not answer within 1 s"):
        client.change_state(Transition.TRANSITION_CONFIGURE, 1.0)


def test_an_idempotent_call_is_repeated_over_the_same_client(server: Server) -> None:
    server.lost_answers[GetState] = 3
    client = ServiceClient(cast(Any, server), GetState, "get_state", is_met, retry_sec=RETRY_SEC)
    assert client.call(GetState.Request(), 60.0).current_state.label == "unconfigured"
    assert len(server.clients) == 1
    client.close()


def test_a_service_that_never_answers_is_named(server: Server) -> None:
    server.lost_answers[GetState] = 1000
    client = ServiceClient(cast(Any, server), GetState, "get_state", is_met, retry_sec=RETRY_SEC)
    with pytest.raises(ServiceError, match=r"get_state did not answer within 0\.2 s"):
        client.call(GetState.Request(), 0.2)
    client.close()
