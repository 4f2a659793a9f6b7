# SPDX-License-Identifier: Apache-2.0
"""Subscribe to the `camera_info` of both cameras and rectify their images by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

from fusion_mamba_ros.perception.letterbox import Size
from fusion_mamba_ros.perception.rectification import Rectification
from fusion_mamba_ros.ros.detector.camera_rectification import CameraRectification, RectificationState
from fusion_mamba_ros.ros.detector.pair_names import ONE_PAIR, PairNames
from fusion_mamba_ros.ros.detector.parameters import DetectorParameters
from fusion_mamba_ros.ros.throttled_reports import ThrottledReports
from fusion_mamba_ros.streams.frames import Camera

_DEPTH = 5
# A word of the name of a topic with rectified images: image_rect, image_rect_color, image_rect_raw.
_RECTIFIED = "rect"


class CameraInfoSubscription:
    """Pass each `camera_info` on ``topic`` (remappable) to a callback.

    The subscription is best effort, which fits every publisher. It asks for the last message of the past if all
    publishers keep it, because a calibration is often published only once.
    """

    def __init__(self, node: LifecycleNode, topic: str, callback: Callable[[CameraInfo], None]) -> None:
        self._node = node
        self._name = topic
        self._callback = callback
        self.topic = node.resolve_topic_name(topic)
        self._durability = DurabilityPolicy.VOLATILE
        self._subscription: Subscription | None = self._subscribe()

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def follow_publishers(self) -> None:
        """Adopt the durability that all current publishers offer. Call this regularly."""
        offered = {info.qos_profile.durability for info in self._node.get_publishers_info_by_topic(self._name)}
        latched = offered == {DurabilityPolicy.TRANSIENT_LOCAL}
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        if offered and durability != self._durability and self._subscription is not None:
            self._durability = durability
            self._node.destroy_subscription(self._subscription)
            self._subscription = self._subscribe()

    def _subscribe(self) -> Subscription:
        profile = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT, durability=self._durability)
        return self._node.create_subscription(CameraInfo, self._name, self._callback, profile)


class RectifiedCameras:
    """The rectification of each camera that has a topic for its `camera_info`.

    ``topics`` are those of `camera_info_topics`, ``names`` those of the camera pair. The constructor leaves no
    subscription behind if it raises.
    """

    def __init__(self, node: LifecycleNode, topics: Mapping[Camera, str], names: PairNames = ONE_PAIR) -> None:
        self._logger = node.get_logger()
        self._names = names
        self._reports = ThrottledReports(self._logger, sentence=names.sentence)
        self._told: set[Camera] = set()
        self._rectifications: dict[Camera, CameraRectification] = {}
        self._subscriptions: dict[Camera, CameraInfoSubscription] = {}
        try:
            for camera, topic in topics.items():
                rectification = CameraRectification(on_change=partial(self._log, camera))
                self._rectifications[camera] = rectification
                self._subscriptions[camera] = CameraInfoSubscription(node, topic, rectification.take)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions.values():
            subscription.close()

    def follow_publishers(self) -> None:
        """Adapt the QoS of the subscriptions to the current publishers."""
        for subscription in self._subscriptions.values():
            subscription.follow_publishers()

    def rectification(self, camera: Camera, size: Size) -> Rectification | None:
        """Return how to rectify an image of ``camera`` with ``size`` (width, height), or None if it is used as is."""
        rectification = self._rectifications.get(camera)
        return None if rectification is None else rectification.for_size(size)

    def states(self) -> dict[Camera, RectificationState]:
        """Return the state of each camera that has a topic."""
        return {camera: rectification.state for camera, rectification in self._rectifications.items()}

    def _log(self, camera: Camera, state: RectificationState) -> None:
        if state.problem:
            self._reports.warning(
                f"{camera.value} images are not rectified, camera_info cannot be used: {state.problem}"
            )
        elif state.is_rectified and camera not in self._told:
            self._told.add(camera)
            topic = self._subscriptions[camera].topic
            self._logger.info(self._names.sentence(f"{camera.value} images are rectified by {topic}"))


def camera_info_topics(node: LifecycleNode, parameters: DetectorParameters, names: PairNames) -> dict[Camera, str]:
    """Return the topics of `camera_info` to subscribe to for a camera pair, none with ``rectify: off``."""
    if parameters.rectify == "off":
        return {}
    images = {camera: node.resolve_topic_name(names.topic(f"{camera.value}/image_raw")) for camera in Camera}
    given = {Camera.RGB: parameters.rgb_camera_info_topic, Camera.THERMAL: parameters.thermal_camera_info_topic}
    return choose_topics(node, images, given, prefix=names.prefix)


def choose_topics(
    node: LifecycleNode, images: Mapping[Camera, str], given: Mapping[Camera, str], *, prefix: str = ""
) -> dict[Camera, str]:
    """Return the topic of the `camera_info` of each camera. A camera whose images are rectified already has none.

    ``images`` are the topics of the images, resolved, without the suffix of the transport. ``given`` are the topics
    that the parameters set, or empty text. Otherwise the topic is ``prefix`` CAMERA/camera_info if that is remapped,
    and else `camera_info` in the namespace of the images, unless that would be the topic of the other camera too.
    """
    chosen: dict[Camera, str] = {}
    derived: dict[Camera, str] = {}
    for camera, image in images.items():
        namespace, _, name = image.rpartition("/")
        own = f"{prefix}{camera.value}/camera_info"
        if _RECTIFIED in name.split("_"):
            continue
        if given[camera]:
            chosen[camera] = given[camera]
        elif node.resolve_topic_name(own) != node.resolve_topic_name(own, only_expand=True):
            chosen[camera] = own
        else:
            derived[camera] = f"{namespace}/camera_info"
    resolved = [node.resolve_topic_name(topic) for topic in (*chosen.values(), *derived.values())]
    for camera, topic in derived.items():
        if resolved.count(topic) == 1:
            chosen[camera] = topic
        else:
            node.get_logger().info(
                f"{topic} could be the camera_info of either camera and is not used for {camera.value}: "
                f"set {camera.value}.camera_info_topic"
            )
    return chosen
