# SPDX-License-Identifier: Apache-2.0
"""The class that converts images."""

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
    """Convert between OpenCV images (numpy arrays) and ``sensor_msgs`` messages."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = "passthrough") -> np.ndarray[Any, Any]:
        """Return the image as (H, W) or (H, W, channels).

        With ``passthrough`` the result is a view of the message's data; big-endian data is copied. Raises
        ``CvBridgeError`` for an unknown encoding, an impossible conversion, a ``step`` that is shorter than a row, or
        data that is shorter than the image. The padding of the last row may be missing.
        """
        encoding = Encoding.of(img_msg.encoding)
        row_bytes = img_msg.width * encoding.channels * encoding.dtype.itemsize
        if img_msg.step < row_bytes:
            raise CvBridgeError(
                f"step is {img_msg.step}, but a row of {img_msg.width} pixels in {img_msg.encoding} has "
                f"{row_bytes} bytes"
            )
        # The padding of the last row may be missing.
        needed = img_msg.step * (img_msg.height - 1) + row_bytes if img_msg.height else 0
        if len(img_msg.data) < needed:
            raise CvBridgeError(
                f"data has {len(img_msg.data)} bytes, but an image of {img_msg.width} x {img_msg.height} in "
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
        """Return a message with a copy of the image.

        With ``passthrough`` the encoding is the type of the array, such as ``8UC3``. Raises ``TypeError`` if ``cvim``
        is not an array, ``CvBridgeError`` if the type of the array does not match ``encoding``.
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
        """Return the decoded image; with ``passthrough`` as encoded: BGR, grey or BGRA with 8 or 16 bits.

        Raises ``CvBridgeError`` if the data cannot be decoded.
        """
        data = np.frombuffer(cmprs_img_msg.data, np.uint8)
        image: np.ndarray[Any, Any] | None = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
        if image is None:
            raise CvBridgeError(f"{len(data)} bytes of format '{cmprs_img_msg.format}' cannot be decoded")
        if desired_encoding == "passthrough":
            return image
        colour = {1: "mono", 3: "bgr", 4: "bgra"}[1 if image.ndim == 2 else image.shape[2]]
        return convert(image, Encoding.of(f"{colour}{image.dtype.itemsize * 8}"), Encoding.of(desired_encoding))

    def cv2_to_compressed_imgmsg(self, cvim: np.ndarray[Any, Any], dst_format: str = "jpg") -> CompressedImage:
        """Return a message with the image, encoded as ``dst_format`` (jpg, png, ...).

        Raises ``TypeError`` if ``cvim`` is not an array, ``CvBridgeError`` if OpenCV cannot encode the image in this
        format.
        """
        _require_array(cvim)
        try:
            written, data = cv2.imencode(f".{dst_format}", cvim)
        except cv2.error as error:
            raise CvBridgeError(
                f"an image of type {cvim.dtype} and shape {cvim.shape} cannot be encoded as '{dst_format}': {error}"
            ) from error
        if not written:
            raise CvBridgeError(
                f"an image of type {cvim.dtype} and shape {cvim.shape} cannot be encoded as '{dst_format}'"
            )
        message = CompressedImage(format=dst_format)
        message.data = _bytes_of(data)
        return message


def _require_array(image: Any) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError(f"the image is of type {type(image).__name__}: give a numpy array")


def _bytes_of(values: np.ndarray[Any, Any]) -> array.array[int]:
    """Return the bytes of the values as ``array.array``, which a message field accepts fastest."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).view(np.uint8).data if values.size else b"")
    return data
