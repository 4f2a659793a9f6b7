# SPDX-License-Identifier: Apache-2.0
"""The base of all filters: a list of callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class SimpleFilter:
    """Something that passes messages on to whoever registered."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}

    def registerCallback(self, cb: Callable[..., Any], *args: Any) -> int:
        """Call ``cb(*messages, *args)`` for what passes from now on; return the connection's number."""
        connection = len(self.callbacks)
        self.callbacks[connection] = (cb, args)
        return connection

    def signalMessage(self, *msg: Any) -> None:
        """Pass ``msg`` on to every callback, in the order of registration."""
        for callback, args in list(self.callbacks.values()):
            callback(*msg, *args)
