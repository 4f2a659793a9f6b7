# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy that ships names the topics and services of the running node, no more and no less."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from detector_graph import ROOT, Graph, running_detector, wait_until

from fusion_mamba_ros.ros.detector.annotation_conversion import ImageAnnotations

NODE = "detector_node"
# The policy covers both transports, and the clock that the node subscribes to with use_sim_time.
NOT_IN_THIS_RUN = {"/rgb/image_raw/compressed", "/thermal/image_raw/compressed", "/clock"}


def allowed(kind: str, right: str) -> set[str]:
    """Return the full names that the policy allows for one right."""
    policy = ElementTree.parse(ROOT / "config" / "sros2_policy.xml").getroot()
    assert policy.tag == "policy" and policy.get("version") == "0.2.0"
    profile = policy.find("./enclaves/enclave[@path='/detector_node']/profiles/profile")
    assert profile is not None and profile.get("ns") == "/" and profile.get("node") == NODE
    entries = [entry.text or "" for group in profile.findall(f"{kind}s[@{right}='ALLOW']") for entry in group]
    assert len(entries) == len(set(entries))
    return {f"/{NODE}/{entry[2:]}" if entry.startswith("~/") else f"/{entry}" for entry in entries}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    log: Path = tmp_path_factory.mktemp("policy") / "log"
    with running_detector(log) as (_, graph):
        yield graph


def test_the_policy_allows_the_topics_that_the_node_publishes(graph: Graph) -> None:
    def published() -> set[str]:
        return {name for name, _ in graph.node.get_publisher_names_and_types_by_node(NODE, "/")}

    # Without foxglove_msgs, which is optional, the node has no annotations.
    absent = set() if ImageAnnotations else {f"/{NODE}/annotations", f"/{NODE}/annotations_thermal"}
    wait_until(
        lambda: published() == allowed("topic", "publish") - absent, f"{sorted(published())} to equal the policy"
    )


def test_the_policy_allows_the_topics_that_the_node_subscribes_to(graph: Graph) -> None:
    def subscribed() -> set[str]:
        return {name for name, _ in graph.node.get_subscriber_names_and_types_by_node(NODE, "/")}

    expected = allowed("topic", "subscribe")
    assert expected > NOT_IN_THIS_RUN
    # rclpy subscribes to the parameter events only where the node's clock follows use_sim_time.
    optional = NOT_IN_THIS_RUN | {"/parameter_events"}
    wait_until(lambda: subscribed() - optional == expected - optional, f"{sorted(subscribed())} to equal the policy")
    assert subscribed() <= expected


def test_the_policy_allows_the_services_of_the_node(graph: Graph) -> None:
    def services() -> set[str]:
        return {name for name, _ in graph.node.get_service_names_and_types_by_node(NODE, "/")}

    wait_until(lambda: services() == allowed("service", "reply"), f"{sorted(services())} to equal the policy")
