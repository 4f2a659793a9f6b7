# SPDX-License-Identifier: Apache-2.0
"""The bridge itself."""

from __future__ import annotations

import array
import sys
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from .encodings import CvBridgeError, Encoding, convert

__all__ = ["CvBridge", "CvBridgeError"]


class CvBridge:
    """Converts between OpenCV images (numpy arrays) and ``sensor_msgs`` messages."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = "passthrough") -> np.ndarray[Any, Any]:
        """Return the image as (H, W) or (H, W, channels); ``passthrough`` is a view of the message's data.

        Raises ``CvBridgeError`` for an unknown encoding, a conversion without meaning, a ``step`` shorter than a row or
        data shorter than ``step * height``.
        """
        encoding = Encoding.of(img_msg.encoding)
        row_bytes = img_msg.width * encoding.channels * encoding.dtype.itemsize
        if img_msg.step < row_bytes:
            raise CvBridgeError(
                f"step is {img_msg.step}, a row of {img_msg.width} pixels in {img_msg.encoding} has {row_bytes} bytes"
            )
        # The last row may lack its padding.
        needed = img_msg.step * (img_msg.height - 1) + row_bytes if img_msg.height else 0
        if len(img_msg.data) < needed:
            raise CvBridgeError(
                f"{len(img_msg.data)} bytes of data, an image of {img_msg.width} x {img_msg.height} in "
                f"{img_msg.encoding} with step {img_msg.step} has {needed}"
            )
        shape: tuple[int, ...] = (img_msg.height, img_msg.width)
        strides: tuple[int, ...] = (img_msg.step, encoding.channels * encoding.dtype.itemsize)
        if encoding.channels > 1:
            shape, strides = (*shape, encoding.channels), (*strides, encoding.dtype.itemsize)
        sent = encoding.dtype.newbyteorder(">" if img_msg.is_bigendian else "<")
        image = np.ndarray(shape, sent, buffer=img_msg.data, strides=strides)
        if not image.dtype.isnative:
            image = image.astype(encoding.dtype)
        return image if desired_encoding == "passthrough" else convert(image, encoding, Encoding.of(desired_encoding))

    def cv2_to_imgmsg(
        self, cvim: np.ndarray[Any, Any], encoding: str = "passthrough", header: Header | None = None
    ) -> Image:
        """Return a message with a copy of the image; ``passthrough`` names the array's own type, such as ``8UC3``.

        Raises ``TypeError`` for what is no array, ``CvBridgeError`` where the array cannot carry ``encoding``.
        """
        _require_array(cvim)
        own = Encoding.of_array(cvim)
        named = own if encoding == "passthrough" else Encoding.of(encoding)
        if not named.holds(own):
            raise CvBridgeError(f"encoding specified as {encoding}, but image has incompatible type {own.name}")
        message = Image(
            height=cvim.shape[0],
            width=cvim.shape[1],
            encoding=named.name,
            is_bigendian=int(cvim.dtype.byteorder == ">" or (cvim.dtype.isnative and sys.byteorder == "big")),
            step=cvim.shape[1] * named.channels * named.dtype.itemsize,
        )
        message.data = _bytes_of(cvim)
        if header is not None:
            message.header = header
        return message

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = "passthrough"
    ) -> np.ndarray[Any, Any]:
        """Return the decoded image: BGR, grey or BGRA, 8 or 16 bit, as it was encoded.

        Raises ``CvBridgeError`` for data that no decoder understands.
        """
        data = np.frombuffer(cmprs_img_msg.data, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
        if image is None:
            raise CvBridgeError(f"{len(data)} bytes of format '{cmprs_img_msg.format}' cannot be decoded")
        if desired_encoding == "passthrough":
            return image
        colour = {1: "mono", 3: "bgr", 4: "bgra"}[1 if image.ndim == 2 else image.shape[2]]
        return convert(image, Encoding.of(f"{colour}{image.dtype.itemsize * 8}"), Encoding.of(desired_encoding))

    def cv2_to_compressed_imgmsg(self, cvim: np.ndarray[Any, Any], dst_format: str = "jpg") -> CompressedImage:
        """Return a message with the image as a file of ``dst_format`` (jpg, png, ...).

        Raises ``TypeError`` for what is no array, ``CvBridgeError`` where OpenCV cannot write the image so.
        """
        _require_array(cvim)
        try:
            written, data = cv2.imencode(f".{dst_format}", cvim)
        except cv2.error as error:
            raise CvBridgeError(
                f"an image of type {cvim.dtype} and shape {cvim.shape} as '{dst_format}': {error}"
            ) from error
        if not written:
            raise CvBridgeError(
                f"an image of type {cvim.dtype} and shape {cvim.shape} cannot be written as '{dst_format}'"
            )
        message = CompressedImage(format=dst_format)
        message.data = _bytes_of(data)
        return message


def _require_array(image: Any) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError(f"an image is a numpy array, this is {type(image).__name__}")


def _bytes_of(values: np.ndarray[Any, Any]) -> array.array[int]:
    """Return the values' bytes as a message field takes them fastest."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).view(np.uint8).data if values.size else b"")
    return data
