# SPDX-License-Identifier: Apache-2.0
"""Damaged bags: what can be read is delivered, and warnings say what is lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from damaged_bags import STRING, cut, forget_definitions, number_of, text_message, write_bag, write_mcap
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from fusion_mamba_ros.bags.bag_reading import Bag, BagError
from fusion_mamba_ros.bags.mcap_recovery import RecoveredMcap

TIMES = [10**9 + 10**7 * number for number in range(200)]
FOLDER_FILES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


def read_all(path: Path) -> tuple[list[int], list[str]]:
    """Return the numbers of all messages, in the order of delivery, and the sentences of the warnings."""
    with Bag(path) as bag:
        numbers = [number_of(fields) for _, fields in bag.read()]
        return numbers, [warning.sentence for warning in bag.warnings]


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("share", [0.9, 0.5, 0.2])
def test_cut_mcap_gives_every_message_before_the_cut(
    tmp_path: Path, compression: CompressionType, share: float
) -> None:
    file = write_mcap(tmp_path / "drive.mcap", TIMES, compression=compression)
    cut(file, share)
    numbers, warnings = read_all(file)
    assert numbers == list(range(len(numbers)))
    # The index after the data takes its share of the file too.
    assert len(numbers) > 0.8 * share * len(TIMES)
    assert any("drive.mcap' is cut short: it ends within" in sentence for sentence in warnings)


def test_cut_chunk_gives_its_whole_messages(tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "drive.mcap", TIMES)
    data = file.read_bytes()
    # In the middle of message 7, which is in the middle of the first chunk.
    file.write_bytes(data[: data.index(b"7 xxx") + 3])
    assert read_all(file)[0] == list(range(7))


@pytest.mark.parametrize("chunked", [True, False])
def test_mcap_without_an_index_is_read_whole(tmp_path: Path, chunked: bool) -> None:
    file = write_mcap(tmp_path / "drive.mcap", TIMES, chunked=chunked, indexed=False)
    assert read_all(file)[0] == list(range(len(TIMES)))


def test_unsorted_mcap_without_index_and_metadata_is_read_in_order_of_time(tmp_path: Path) -> None:
    times = random.Random(4).sample(TIMES, len(TIMES))
    (tmp_path / "bag").mkdir()
    write_mcap(tmp_path / "bag" / "drive.mcap", times, chunked=False)
    assert read_all(tmp_path / "bag")[0] == sorted(range(len(times)), key=times.__getitem__)


@pytest.mark.parametrize("chunked", [True, False])
def test_unsorted_messages_and_equal_stamps_come_in_order_of_time_also_from_a_cut_file(
    tmp_path: Path, chunked: bool
) -> None:
    times = [time - time % (4 * 10**7) for time in TIMES]  # four messages at each time
    random.Random(3).shuffle(times)
    file = write_mcap(tmp_path / "drive.mcap", times, chunked=chunked)
    data = file.read_bytes()
    for size in (len(data), len(data) - 50, data.index(b"150 xxx")):
        file.write_bytes(data[:size])
        with Bag(file) as bag:
            delivered = [(message.recorded_ns, number_of(fields)) for message, fields in bag.read()]
        assert [time for time, _ in delivered] == sorted(times[number] for _, number in delivered)
        assert all(times[number] == time for time, number in delivered)
        assert sorted(number for _, number in delivered) == list(range(len(delivered)))
        assert len(delivered) == (150 if size == data.index(b"150 xxx") else len(times))


def test_damaged_chunk_in_the_middle_costs_only_that_chunk(tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "drive.mcap", TIMES, compression=CompressionType.ZSTD)
    data = bytearray(file.read_bytes())
    chunk = [at for at in range(len(data)) if data[at : at + 4] == b"\x28\xb5\x2f\xfd"][10]
    data[chunk : chunk + 20] = b"\xff" * 20
    file.write_bytes(data)
    numbers, warnings = read_all(file)
    lost = sorted(set(range(len(TIMES))) - set(numbers))
    assert numbers == sorted(set(numbers))
    assert 0 < len(lost) < 20 and lost == list(range(lost[0], lost[-1] + 1))
    assert any("has a damaged chunk at byte" in sentence for sentence in warnings)


@pytest.mark.parametrize("plugin", sorted(FOLDER_FILES))
def test_missing_metadata_costs_nothing(tmp_path: Path, plugin: str) -> None:
    write_bag(tmp_path / "bag", TIMES, FOLDER_FILES[plugin])
    (tmp_path / "bag" / "metadata.yaml").unlink()
    with Bag(tmp_path / "bag") as bag:
        assert (bag.start_ns, bag.duration_ns) == (TIMES[0], TIMES[-1] - TIMES[0])
        assert bag.topics["/odd"].count == 100
    numbers, warnings = read_all(tmp_path / "bag")
    assert numbers == list(range(len(TIMES)))
    assert any("has no metadata.yaml" in sentence for sentence in warnings)


@pytest.mark.parametrize("with_metadata", [True, False])
@pytest.mark.parametrize("plugin", sorted(FOLDER_FILES))
def test_bag_cut_in_half_gives_the_first_half_and_counts_the_rest(
    tmp_path: Path, plugin: str, with_metadata: bool
) -> None:
    file = write_bag(tmp_path / "bag", TIMES, FOLDER_FILES[plugin])
    cut(file, 0.5)
    if not with_metadata:
        (tmp_path / "bag" / "metadata.yaml").unlink()
    with Bag(tmp_path / "bag") as bag:
        numbers = [number_of(fields) for _, fields in bag.read()]
        lost = sum(warning.lost_messages or 0 for warning in bag.warnings)
        assert bag.warnings
    assert numbers == sorted(set(numbers)) and 30 < len(numbers) < 150
    # Without metadata.yaml only the message at the cut is known to be lost.
    assert lost == len(TIMES) - len(numbers) if with_metadata else lost <= 1


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_file_of_zero_bytes_is_named(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / f"bag{suffix}").write_bytes(b"")
    with pytest.raises(BagError, match="is empty: it holds 0 bytes"):
        Bag(tmp_path / "bag" / f"bag{suffix}")
    with pytest.raises(BagError, match=rf"file 'bag{suffix}' is empty: it holds 0 bytes"):
        Bag(tmp_path / "bag")


def test_split_bag_with_one_cut_and_one_empty_file_gives_the_others(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    for part in range(12):
        write_mcap(tmp_path / "bag" / f"bag_{part}.mcap", [time + part * 10**10 for time in TIMES[:20]])
    cut(tmp_path / "bag" / "bag_1.mcap", 0.5)
    (tmp_path / "bag" / "bag_2.mcap").write_bytes(b"")
    with Bag(tmp_path / "bag") as bag:
        messages = list(bag.messages())
        sentences = " ".join(warning.sentence for warning in bag.warnings)
    assert [message.recorded_ns for message in messages] == sorted(message.recorded_ns for message in messages)
    per_part = [sum(part == message.recorded_ns // 10**10 for message in messages) for part in range(12)]
    assert per_part[2] == 0 and 0 < per_part[1] < 20
    assert per_part[:1] + per_part[3:] == [20] * 10
    assert "bag_1.mcap' is cut short" in sentences and "bag_2.mcap' is empty" in sentences


@pytest.mark.parametrize("plugin", sorted(FOLDER_FILES))
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bag_is_read_and_needs_its_metadata_only_if_the_files_are_compressed(
    tmp_path: Path, plugin: str, mode: CompressionMode
) -> None:
    write_bag(tmp_path / "bag", TIMES[:20], FOLDER_FILES[plugin], compression=mode)
    assert read_all(tmp_path / "bag") == (list(range(20)), [])
    (tmp_path / "bag" / "metadata.yaml").unlink()
    if mode is CompressionMode.FILE:
        with pytest.raises(BagError, match=r"decompress 'bag\.(mcap|db3)\.zstd' first"):
            Bag(tmp_path / "bag")
    else:
        assert read_all(tmp_path / "bag")[0] == list(range(20))


def test_damaged_definition_outside_of_chunks_costs_only_its_topic(tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "drive.mcap", TIMES[:20], chunked=False)
    data = file.read_bytes().replace(b"/odd", b"\xff\xfe\xfd\xfc")
    file.write_bytes(data[:-100])
    numbers, warnings = read_all(file)
    assert numbers == list(range(0, 20, 2))
    assert any("has a damaged definition at byte" in sentence for sentence in warnings)


def test_messages_of_a_chunk_with_a_damaged_definition_are_not_announced(tmp_path: Path) -> None:
    file = tmp_path / "drive.mcap"
    with file.open("wb") as stream:
        writer = McapWriter(stream, compression=CompressionType.NONE)
        writer.start("ros2", "test")
        schema = writer.register_schema(STRING, "ros2msg", b"string data")
        for number, topic in enumerate(("/even", "/odd")):
            channel = writer.register_channel(topic, "cdr", schema)
            writer.add_message(channel, log_time=10**9, publish_time=10**9, data=text_message(number))
        writer.finish()
    # The second definition follows a message. The length of its topic name now reaches beyond its record.
    file.write_bytes(file.read_bytes().replace(b"\x04\x00\x00\x00/odd", b"\xff\xff\xff\x00/odd"))
    recovered = RecoveredMcap(file)
    recovered.close()
    assert recovered.topics == {} and "has a damaged chunk" in recovered.warnings[0].sentence
    with pytest.raises(BagError, match="has a damaged chunk"):
        Bag(file)


def test_fewer_messages_than_the_metadata_says_is_a_warning(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", TIMES[:20])
    metadata = tmp_path / "bag" / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("message_count: 10", "message_count: 13"))
    with Bag(tmp_path / "bag") as bag:
        assert len(list(bag.messages(["/odd"]))) == 10
        assert [warning.lost_messages for warning in bag.warnings] == [3]


def test_unknown_message_type_leaves_the_other_topics(tmp_path: Path) -> None:
    file = write_bag(tmp_path / "bag", TIMES[:10], StoragePlugin.SQLITE3)
    metadata = tmp_path / "bag" / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("std_msgs/msg/String", "zoo_msgs/msg/Animal"))
    forget_definitions(file, "zoo_msgs/msg/Animal")
    with Bag(tmp_path / "bag") as bag:
        assert len(list(bag.messages())) == 10
        with pytest.raises(BagError, match=r"'/odd' holds zoo_msgs/msg/Animal, of which the bag has no definition"):
            next(bag.read(["/odd"]))
        with pytest.raises(BagError, match="has no definition"):
            next(bag.read())


@pytest.mark.parametrize("seed", range(6))
def test_random_damage_never_gives_a_wrong_message_or_another_error(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    plugin = rng.choice(sorted(FOLDER_FILES))
    file = write_bag(tmp_path / "bag", TIMES, FOLDER_FILES[plugin])
    data = bytearray(file.read_bytes())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        data[at : at + rng.choice([1, 8, 5000])] = rng.randbytes(rng.choice([0, 1, 8, 5000]))
    file.write_bytes(data[: rng.randrange(len(data) // 2, len(data))])
    if rng.random() < 0.5:
        (tmp_path / "bag" / "metadata.yaml").unlink()
    try:
        with Bag(tmp_path / "bag") as bag:
            times = [message.recorded_ns for message in bag.messages()]
            assert bag.warnings
    except BagError as error:
        sentence, times = str(error), []
    else:
        sentence = "no error"
    assert "\n" not in sentence
    assert times == sorted(times)
