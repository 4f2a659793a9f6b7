# SPDX-License-Identifier: Apache-2.0
"""Read the stamp of a serialized message without deserializing it."""

from __future__ import annotations

import struct

# Encapsulation header of CDR: two bytes of the kind (bit 0 of the second: little endian) and two of options.
_ENCAPSULATION_BYTES = 4


def serialized_stamp_ns(data: bytes) -> int | None:
    """Return the stamp of a serialized message whose first field is a `std_msgs/Header`, None if it is too short."""
    if len(data) < _ENCAPSULATION_BYTES + 8:
        return None
    order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", data, _ENCAPSULATION_BYTES)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
