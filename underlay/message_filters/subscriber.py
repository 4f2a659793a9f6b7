# SPDX-License-Identifier: Apache-2.0
"""A ROS subscription as the source of a chain of filters."""

from __future__ import annotations

from typing import Any

from .simple_filter import SimpleFilter


class Subscriber(SimpleFilter):
    """The messages of one topic, as they arrive.

    ``Subscriber(node, msg_type, topic, **options)``; ``options`` go to ``node.create_subscription`` (``qos_profile``
    is 10 if not given). The subscription is ``sub``, for ``node.destroy_subscription``.
    """

    def __init__(self, node: Any, msg_type: Any, topic: str, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.node = node
        self.topic = topic
        if not args:
            kwargs.setdefault("qos_profile", 10)
        self.sub = node.create_subscription(msg_type, topic, self.callback, *args, **kwargs)

    def callback(self, msg: Any) -> None:
        """Pass a received message on."""
        self.signalMessage(msg)

    def getTopic(self) -> str:
        """Return the topic as it was given."""
        return self.topic

    def __getattr__(self, name: str) -> Any:
        """Return the subscription's attribute of this name."""
        if name == "sub":  # not made yet: create_subscription raised
            raise AttributeError(name)
        return getattr(self.sub, name)
