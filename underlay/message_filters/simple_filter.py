# SPDX-License-Identifier: Apache-2.0
"""Base class of all filters: a list of callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class SimpleFilter:
    """Forward messages to all registered callbacks."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}

    def registerCallback(self, cb: Callable[..., Any], *args: Any) -> int:
        """Call ``cb(*messages, *args)`` for all messages from now on; return the number of the connection."""
        connection = len(self.callbacks)
        self.callbacks[connection] = (cb, args)
        return connection

    def signalMessage(self, *msg: Any) -> None:
        """Call every callback with ``msg``, in the order of registration."""
        for callback, args in list(self.callbacks.values()):
            callback(*msg, *args)
