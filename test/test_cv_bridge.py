# SPDX-License-Identifier: Apache-2.0
"""cv_bridge as the node sees it: the original where ROS brings it, else the underlay's."""

from __future__ import annotations

import array
from typing import Any, cast

import cv2
import cv_bridge
import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

BRIDGE = CvBridge()
SEED = 11


def random_image(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    print(f"seed {SEED}")
    limits = np.iinfo(dtype)
    return np.random.default_rng(SEED).integers(limits.min, limits.max, shape, dtype, endpoint=True)


def message(encoding: str, height: int, width: int, step: int, data: bytes, *, big_endian: bool = False) -> Image:
    image = Image(height=height, width=width, encoding=encoding, step=step, is_bigendian=int(big_endian))
    image.data = array.array("B", data)
    return image


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_array_comes_back_as_it_went(dtype: str, channels: int) -> None:
    image = random_image((5, 7, channels) if channels > 1 else (5, 7), dtype)
    sent = BRIDGE.cv2_to_imgmsg(image)
    back = BRIDGE.imgmsg_to_cv2(sent)
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(back, image)
    assert sent.step == 7 * channels * image.itemsize


def test_passthrough_is_a_view_of_the_message() -> None:
    sent = BRIDGE.cv2_to_imgmsg(random_image((4, 6, 3)), "bgr8")
    image = BRIDGE.imgmsg_to_cv2(sent)
    sent.data[0] = sent.data[0] ^ 0xFF
    assert image[0, 0, 0] == sent.data[0]


def test_padding_at_the_end_of_rows_is_not_part_of_the_image() -> None:
    rows = [bytes([1, 2, 3, 99, 99]), bytes([4, 5, 6, 99, 99])]
    np.testing.assert_array_equal(
        BRIDGE.imgmsg_to_cv2(message("mono8", 2, 3, 5, b"".join(rows))), [[1, 2, 3], [4, 5, 6]]
    )


@pytest.mark.skipif("underlay" not in cv_bridge.__file__, reason="the original fails on big-endian images with numpy 2")
def test_big_endian_images_have_the_values_that_were_sent() -> None:
    values = np.array([[1, 256], [40000, 65535]])
    big = message("mono16", 2, 2, 4, values.astype(">u2").tobytes(), big_endian=True)
    image = BRIDGE.imgmsg_to_cv2(big)
    np.testing.assert_array_equal(image, values)
    assert image.dtype.isnative
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(values.astype(">u2"), "mono16")), values)


def test_red_stays_red_from_one_encoding_to_another() -> None:
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    sent = BRIDGE.cv2_to_imgmsg(red, "rgb8")
    assert BRIDGE.imgmsg_to_cv2(sent, "bgr8")[0, 0].tolist() == [0, 0, 255]
    assert BRIDGE.imgmsg_to_cv2(sent, "rgba8")[0, 0].tolist() == [255, 0, 0, 255]
    assert BRIDGE.imgmsg_to_cv2(sent, "bgra8")[0, 0].tolist() == [0, 0, 255, 255]
    assert BRIDGE.imgmsg_to_cv2(sent, "mono8")[0, 0] == round(0.299 * 255)  # ITU-R BT.601 luma
    assert BRIDGE.imgmsg_to_cv2(sent, "rgb16")[0, 0].tolist() == [65535, 0, 0]


@pytest.mark.parametrize(
    ("encoding", "mosaic"),
    [("bayer_rggb8", "rggb"), ("bayer_bggr8", "bggr"), ("bayer_gbrg8", "gbrg"), ("bayer_grbg8", "grbg")],
)
def test_a_red_scene_seen_through_any_bayer_mosaic_is_red(encoding: str, mosaic: str) -> None:
    cell = np.array([255 if colour == "r" else 0 for colour in mosaic], np.uint8).reshape(2, 2)
    sent = BRIDGE.cv2_to_imgmsg(np.tile(cell, (4, 4)), encoding)
    assert BRIDGE.imgmsg_to_cv2(sent, "rgb8")[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize(("encoding", "order"), [("yuv422", "uyvy"), ("yuv422_yuy2", "yuyv")])
def test_packed_yuv_of_a_grey_scene_is_grey(encoding: str, order: str) -> None:
    luma = 130
    pixels = bytes({"u": 128, "v": 128, "y": luma}[letter] for letter in order)
    image = BRIDGE.imgmsg_to_cv2(message(encoding, 2, 4, 8, pixels * 4), "bgr8")
    assert np.unique(image).tolist() == [round((luma - 16) * 255 / 219)]  # ITU-R BT.601, studio range


def test_sixteen_bits_become_eight_by_their_full_range() -> None:
    values = np.array([[0, 1000, 25700, 65535]], np.uint16)
    image = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(values, "mono16"), "mono8")
    np.testing.assert_array_equal(image, [[0, 4, 100, 255]])


def test_numbers_without_colour_do_not_become_a_colour() -> None:
    sent = BRIDGE.cv2_to_imgmsg(random_image((2, 2), "uint16"))
    assert sent.encoding == "16UC1"
    with pytest.raises(CvBridgeError, match="16UC1"):
        BRIDGE.imgmsg_to_cv2(sent, "bgr8")


@pytest.mark.parametrize(
    "damaged",
    [
        message("bgr8", 2, 2, 6, bytes(11)),
        message("bgr8", 2, 2, 5, bytes(12)),
        message("mono16", 1, 2, 4, b""),
        message("nonsense8", 1, 1, 1, b"0"),
    ],
    ids=["too little data", "step shorter than a row", "no data", "unknown encoding"],
)
@pytest.mark.skipif("underlay" not in cv_bridge.__file__, reason="the original raises a bare TypeError")
def test_a_message_that_contradicts_itself_is_refused(damaged: Image) -> None:
    with pytest.raises(CvBridgeError):
        BRIDGE.imgmsg_to_cv2(damaged)


def test_an_array_that_cannot_carry_the_encoding_is_refused() -> None:
    with pytest.raises(CvBridgeError, match="8UC1"):
        BRIDGE.cv2_to_imgmsg(np.zeros((2, 2), np.uint8), "bgr8")
    with pytest.raises(TypeError):
        BRIDGE.cv2_to_imgmsg(cast(Any, [[1, 2], [3, 4]]))


def test_a_crop_is_sent_without_its_surroundings() -> None:
    whole = random_image((6, 8, 3))
    sent = BRIDGE.cv2_to_imgmsg(whole[1:4, 2:5], "bgr8")
    assert (sent.height, sent.width, sent.step, len(sent.data)) == (3, 3, 9, 27)
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(sent), whole[1:4, 2:5])


def test_the_header_is_the_one_given() -> None:
    header = Header(frame_id="camera")
    assert BRIDGE.cv2_to_imgmsg(np.zeros((1, 1), np.uint8), header=header).header.frame_id == "camera"


@pytest.mark.parametrize(
    ("shape", "dtype"), [((8, 9), "uint8"), ((8, 9), "uint16"), ((8, 9, 3), "uint8"), ((8, 9, 4), "uint8")]
)
def test_png_keeps_every_value(shape: tuple[int, ...], dtype: str) -> None:
    image = random_image(shape, dtype)
    sent = BRIDGE.cv2_to_compressed_imgmsg(image, "png")
    assert sent.format == "png"
    assert bytes(sent.data[:8]) == b"\x89PNG\r\n\x1a\n"
    np.testing.assert_array_equal(BRIDGE.compressed_imgmsg_to_cv2(sent), image)


def test_jpeg_is_the_default_and_converts_on_the_way() -> None:
    image = np.full((16, 16, 3), (10, 100, 200), np.uint8)
    sent = BRIDGE.cv2_to_compressed_imgmsg(image)
    decoded = cv2.imdecode(np.frombuffer(sent.data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(BRIDGE.compressed_imgmsg_to_cv2(sent, "rgb8"), decoded[..., ::-1])
    np.testing.assert_allclose(BRIDGE.compressed_imgmsg_to_cv2(sent), image, atol=4)


def test_what_no_decoder_understands_is_refused() -> None:
    for data in (b"", b"not an image"):
        with pytest.raises(CvBridgeError):
            BRIDGE.compressed_imgmsg_to_cv2(CompressedImage(format="jpeg", data=array.array("B", data)))
    with pytest.raises(CvBridgeError):
        BRIDGE.cv2_to_compressed_imgmsg(np.zeros((2, 2), np.uint8), "nonsense")


@pytest.mark.parametrize(
    ("encoding", "cv_type"),
    [
        ("bgr8", cv2.CV_8UC3), ("mono8", cv2.CV_8UC1), ("rgba16", cv2.CV_16UC4), ("bayer_rggb8", cv2.CV_8UC1),
        ("16UC1", cv2.CV_16UC1), ("16SC2", cv2.CV_16SC2), ("8SC1", cv2.CV_8SC1), ("32SC1", cv2.CV_32SC1),
        ("32FC1", cv2.CV_32FC1), ("64FC3", cv2.CV_64FC3), ("yuv422", cv2.CV_8UC2),
    ],
)  # fmt: skip
def test_encodings_have_the_types_of_opencv(encoding: str, cv_type: int) -> None:
    assert cv_bridge.getCvType(encoding) == cv_type


def test_an_unknown_encoding_has_no_type() -> None:
    with pytest.raises(RuntimeError, match="nonsense8"):
        cv_bridge.getCvType("nonsense8")


def test_counts_are_displayed_between_two_values() -> None:
    counts = np.array([[900, 1000], [1500, 3000]], np.uint16)
    shown = cv_bridge.cvtColorForDisplay(counts, "16UC1", "mono8", min_image_value=1000, max_image_value=2000)
    assert shown.dtype == np.uint8
    np.testing.assert_allclose(shown, [[0.0, 0.0], [127.5, 255.0]], atol=1)


def test_a_depth_image_is_displayed_between_its_own_extremes_and_nan_is_black() -> None:
    depth = np.array([[1.0, 3.0], [5.0, np.nan]], np.float32)
    shown = cv_bridge.cvtColorForDisplay(depth, "32FC1", "mono8", True)
    np.testing.assert_allclose(shown, [[0.0, 127.5], [255.0, 0.0]], atol=1)


@pytest.mark.skipif("underlay" not in cv_bridge.__file__, reason="not checked with the original")
def test_an_image_of_one_value_is_black_when_it_is_scaled() -> None:
    assert not cv_bridge.cvtColorForDisplay(np.full((2, 2), 7, np.uint16), "16UC1", "", do_dynamic_scaling=True).any()


def test_numbers_without_colour_are_displayed_as_bgr() -> None:
    image = random_image((3, 4, 3))
    np.testing.assert_array_equal(cv_bridge.cvtColorForDisplay(image, "8UC3", "rgb8"), image[..., ::-1])
    np.testing.assert_array_equal(cv_bridge.cvtColorForDisplay(image, "rgb8", ""), image[..., ::-1])


def test_each_label_has_one_colour() -> None:
    labels = np.array([[1, 2, 3], [3, 1, 2]], np.int32)
    shown = cv_bridge.cvtColorForDisplay(labels, "32SC1", "bgr8")
    colours = {label: {tuple(pixel) for pixel in shown[labels == label].tolist()} for label in (1, 2, 3)}
    assert all(len(of_label) == 1 for of_label in colours.values())
    assert len(set.union(*colours.values())) == 3


@pytest.mark.parametrize(
    ("shape", "dtype", "encoding", "scaling"),
    [((2, 2, 3), "uint8", "bgr8", True), ((2, 2), "float32", "32FC1", False), ((2, 2, 2), "uint8", "8UC2", False)],
)
def test_what_cannot_be_displayed_is_refused(shape: tuple[int, ...], dtype: str, encoding: str, scaling: bool) -> None:
    with pytest.raises(RuntimeError):
        cv_bridge.cvtColorForDisplay(np.ones(shape, dtype), encoding, "bgr8", do_dynamic_scaling=scaling)
