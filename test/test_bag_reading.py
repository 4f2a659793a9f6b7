# SPDX-License-Identifier: Apache-2.0
"""Undamaged bags: messages, message types, and the errors of missing files and topics."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg
from typer.testing import CliRunner

from fusion_mamba_ros.bags.bag_reading import Bag, BagError
from fusion_mamba_ros.bags.bag_writing import ImageBagWriter
from fusion_mamba_ros.bags.vision_messages import DETECTION_ARRAY, boxes_of, detection_typestore, labelled_boxes
from fusion_mamba_ros.cli import app

TOPICS = {"rgb": "/rgb/image_raw", "thermal": "/thermal/image_raw"}
UNDERLAY = Path(__file__).parent.parent / "underlay" / "vision_msgs" / "msg"


def write_bag(path: Path, frames: int = 3) -> None:
    bag = ImageBagWriter(path, topics=TOPICS, frame_ids={"rgb": "a", "thermal": "b"})
    for index in range(frames):
        bag.write_image("rgb", 10**9 + index * 10**8, np.zeros((4, 6, 3), np.uint8))
        bag.write_image("thermal", 10**9 + index * 10**8, np.zeros((4, 6), np.uint8))
    bag.close()


def test_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="nowhere' does not exist"):
        Bag(tmp_path / "nowhere")


def test_folder_that_is_no_bag_is_named(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"is no bag: it has no metadata\.yaml"):
        Bag(tmp_path)


@pytest.mark.parametrize("name", ["photo.jpg", "drive.mcap", "drive.db3"])
def test_file_that_is_no_bag_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xd8 something else entirely")
    with pytest.raises(BagError, match=rf"{name}' is no bag that can be read"):
        Bag(tmp_path / name)


def test_empty_bag_is_named(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", frames=0)
    with pytest.raises(BagError, match="bag' is empty: it holds no message"):
        Bag(tmp_path / "bag")


def test_missing_topic_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag")
    with Bag(tmp_path / "bag") as bag, pytest.raises(BagError, match=r"'/depth': it has /rgb/image_raw, /thermal"):
        bag.require(["/depth"])


def test_topic_of_another_type_is_named(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag")
    with Bag(tmp_path / "bag") as bag, pytest.raises(BagError, match=r"holds sensor_msgs/msg/Image: expected std_msgs"):
        bag.require(["/rgb/image_raw"], ["std_msgs/msg/String"])


def test_messages_come_in_the_order_of_recording(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag")
    with Bag(tmp_path / "bag") as bag:
        times = [message.recorded_ns for message in bag.messages()]
        assert times == sorted(times) and len(times) == 6
        assert bag.duration_ns == 200_000_000 and bag.start_ns == 10**9


def test_types_come_from_the_bag(tmp_path: Path) -> None:
    typestore = detection_typestore()
    typestore.register(get_types_from_msg("int32 mass\nstring name\n", "zoo_msgs/msg/Animal"))
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/animal", "zoo_msgs/msg/Animal", typestore=typestore)
        animal = typestore.types["zoo_msgs/msg/Animal"](5, "cat")
        writer.write(connection, 7, typestore.serialize_cdr(animal, "zoo_msgs/msg/Animal"))
    with Bag(tmp_path / "bag") as bag:
        _, fields = next(bag.read())
    assert (fields.mass, fields.name) == (5, "cat")


def write_image_messages(path: Path, *messages: bytes, definition: Any = None) -> None:
    """Write serialized messages on /rgb/image_raw and /thermal/image_raw in turn."""
    typestore = detection_typestore()
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        how = {"typestore": typestore} if definition is None else {"msgdef": definition, "rihs01": "0"}
        connections = [writer.add_connection(topic, "sensor_msgs/msg/Image", **how) for topic in TOPICS.values()]
        for index, message in enumerate(messages):
            writer.write(connections[index % 2], 1_500_000_000 + index * 10**8, message)


def test_damaged_message_is_named_with_topic_and_time(tmp_path: Path) -> None:
    write_bag(tmp_path / "whole", frames=1)
    with Bag(tmp_path / "whole") as bag:
        whole = [message.data for message in bag.messages()]
    write_image_messages(tmp_path / "bag", whole[0], whole[1][:30])
    with Bag(tmp_path / "bag") as bag:
        assert [message.topic for message, _ in bag.read()] == ["/rgb/image_raw"]
        (warning,) = bag.warnings
        assert "bag': the message on '/thermal/image_raw' recorded at 1.600 s is damaged" in warning.sentence
        assert warning.lost_messages == 1


def test_damaged_definition_is_named(tmp_path: Path) -> None:
    write_image_messages(tmp_path / "bag", b"\0" * 40, definition="what 3 is this\n")
    with (
        Bag(tmp_path / "bag") as bag,
        pytest.raises(BagError, match=r"definition of sensor_msgs/msg/Image on '/rgb/image_raw' is damaged"),
    ):
        next(bag.read())


def test_register_on_a_bag_with_a_damaged_message_is_one_sentence(tmp_path: Path) -> None:
    broken = b"\0\1\0\0" + b"\xff" * 40
    write_image_messages(tmp_path / "bag", broken, broken)
    result = CliRunner().invoke(app, ["register", "--bag", str(tmp_path / "bag"), "--out", str(tmp_path / "r.yaml")])
    assert result.exit_code == 2 and "error: bag" in result.output and "is damaged" in result.output


def test_vision_messages_are_those_of_the_underlay() -> None:
    typestore = detection_typestore()
    from_files: dict[str, Any] = {}
    for file in UNDERLAY.glob("*.msg"):
        from_files |= get_types_from_msg(file.read_text(), f"vision_msgs/msg/{file.stem}")
    ours = {name: fields for name, fields in typestore.fielddefs.items() if name.startswith("vision_msgs/")}
    assert DETECTION_ARRAY in ours
    for name, fields in ours.items():
        assert fields == from_files[name], name


def test_boxes_survive_the_message() -> None:
    typestore = detection_typestore()
    boxes = np.array([[10, 20, 30, 60], [0.5, 0, 7, 9]], np.float32)
    array = labelled_boxes(
        typestore, stamp_ns=1_500_000_000, frame_id="rgb", boxes=boxes, class_ids=["car", "person"], scores=[0.75, 0.5]
    )
    again = typestore.deserialize_cdr(typestore.serialize_cdr(array, DETECTION_ARRAY), DETECTION_ARRAY)
    back, scores, class_ids = boxes_of(again)
    np.testing.assert_allclose(back, boxes, atol=1e-5)
    np.testing.assert_allclose(scores, [0.75, 0.5])
    assert class_ids == ["car", "person"]
