# SPDX-License-Identifier: Apache-2.0
"""The Fast DDS profile for whole images, under the names of both generations of Fast DDS."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from fusion_mamba_ros.ros.large_image_transport import profile_environment, use_large_image_transport

OLD, NEW = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
ROOT = Path(__file__).resolve().parents[1]


def test_both_generations_of_fast_dds_get_the_packages_profile() -> None:
    environment: dict[str, str] = {}
    use_large_image_transport(environment)
    assert environment.keys() == {OLD, NEW}
    assert {Path(path).resolve().name for path in environment.values()} == {"fastdds_large_images.xml"}
    assert all(Path(path).is_file() for path in environment.values())


@pytest.mark.parametrize("name", [OLD, NEW])
def test_the_users_profile_stays_and_counts_for_both(name: str) -> None:
    environment = {name: "/home/user/mine.xml"}
    use_large_image_transport(environment)
    assert environment == {OLD: "/home/user/mine.xml", NEW: "/home/user/mine.xml"}


def test_two_profiles_of_the_user_stay_as_they_are() -> None:
    environment = {OLD: "/old.xml", NEW: "/new.xml"}
    use_large_image_transport(environment)
    assert environment == {OLD: "/old.xml", NEW: "/new.xml"}


def test_every_place_that_names_one_variable_names_the_other() -> None:
    assert profile_environment(Path("/p.xml")) == {OLD: "/p.xml", NEW: "/p.xml"}
    files = [
        path
        for folder in ("benchmarks", "config", "docs", "fusion_mamba_ros", "launch", "test", "tools")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".sh", ".md", ".xml", ".yaml")
    ]
    texts = {path: path.read_text() for path in files}
    named = {path for path, text in texts.items() if OLD in text}
    assert named and {path for path in named if NEW not in texts[path]} == set()
