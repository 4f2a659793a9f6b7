# SPDX-License-Identifier: Apache-2.0
"""A node as a process: spin until a signal, end in time, exit with a code."""

from __future__ import annotations

import argparse
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

# Of the two seconds that whoever sent the signal waits.
_GRACE_SEC = 1.5
_POLL_SEC = 0.1


class ArgumentError(ValueError):
    """A command line that ROS cannot read; the message is one sentence."""


def own_arguments(command_line: list[str]) -> list[str]:
    """Return the arguments that are not for ROS. Raises `ArgumentError` if ROS cannot read those for it."""
    try:
        return list(remove_ros_args(command_line)[1:])
    except rclpy_implementation.UnknownROSArgsError as error:
        raise ArgumentError(f"ROS knows no argument {error}: see --help") from error
    except rclpy_implementation.RCLError as error:
        # The first line, without the places in ROS's own source.
        sentence = re.sub(r"\s*, at \S+:\d+", "", str(error)).splitlines()[0]
        raise ArgumentError(f"{sentence}: see --help") from error


def run_node(
    create_node: Callable[[argparse.Namespace], Node], parser: argparse.ArgumentParser | None = None
) -> NoReturn:
    """Spin the node until SIGINT, SIGTERM or the shutdown of its context, then end the process.

    Exit code 0 after a signal; 2, with one sentence on stderr, if ROS cannot read its arguments or the node refuses its
    parameters (``ValueError``). ``parser`` reads the arguments that are not for ROS, and ``create_node`` gets what it
    read. A callback that raises is logged and costs its message, not the node.
    """
    try:
        own = own_arguments(sys.argv)
        options = argparse.Namespace() if parser is None else parser.parse_args(own)
        rclpy.init()
        node = create_node(options)
    except (ValueError, ParameterException) as error:
        print(f"{os.path.basename(sys.argv[0])}: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        sys.exit(2)
    threading.Thread(target=_leave_in_time, name="shutdown guard", daemon=True).start()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while rclpy.ok():
        try:
            executor.spin_once()
        except (ExternalShutdownException, KeyboardInterrupt):
            break
        except Exception as error:
            node.get_logger().error(f"callback failed: {type(error).__name__}: {error}")
    node.destroy_node()
    rclpy.try_shutdown()
    _leave()


def _leave_in_time() -> None:
    """End the process if, after a signal, the main thread does not: it may be loading a model."""
    while rclpy.ok():
        time.sleep(_POLL_SEC)
    time.sleep(_GRACE_SEC - _POLL_SEC)
    _leave()


def _leave() -> NoReturn:
    # Not by way of the interpreter's end: that takes torch most of a second, and an inference thread that is still
    # inside a kernel would find its libraries torn down and crash.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
