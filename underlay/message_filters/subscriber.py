# SPDX-License-Identifier: Apache-2.0
"""ROS subscription as the source of a chain of filters."""

from __future__ import annotations

from typing import Any

from .simple_filter import SimpleFilter


class Subscriber(SimpleFilter):
    """Subscribe to one topic and forward each message when it arrives.

    The call is ``Subscriber(node, msg_type, topic, **options)``. ``options`` are passed to
    ``node.create_subscription``; the default ``qos_profile`` is 10. ``sub`` is the subscription, for
    ``node.destroy_subscription``.
    """

    def __init__(self, node: Any, msg_type: Any, topic: str, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.node = node
        self.topic = topic
        if not args:
            kwargs.setdefault("qos_profile", 10)
        self.sub = node.create_subscription(msg_type, topic, self.callback, *args, **kwargs)

    def callback(self, msg: Any) -> None:
        """Forward a received message."""
        self.signalMessage(msg)

    def getTopic(self) -> str:
        """Return the topic as given to the constructor."""
        return self.topic

    def __getattr__(self, name: str) -> Any:
        """Return the attribute of the subscription with this name."""
        if name == "sub":  # create_subscription raised, so there is no subscription
            raise AttributeError(name)
        return getattr(self.sub, name)
