# SPDX-License-Identifier: Apache-2.0
"""A node as a process: spin until a signal, end in time, exit with a code."""

from __future__ import annotations

import argparse
import gc
import os
import re
import signal
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

from fusion_mamba_ros.ros.throttled_reports import ThrottledReports

# Must stay below the 2 s after which whoever sent the signal may send SIGKILL.
_GRACE_SEC = 1.8
_POLL_SEC = 0.1
# A node of which nothing works any more should be restarted by whoever watches the process.
_FAILURES_TO_GIVE_UP = 100

STOPPED, BROKEN, CANNOT_START = 0, 1, 2


class ArgumentError(ValueError):
    """A command line that ROS cannot read; the message is one sentence."""


def own_arguments(command_line: list[str]) -> list[str]:
    """Return the arguments that are not for ROS. Raises `ArgumentError` if ROS cannot read those for it."""
    try:
        return list(remove_ros_args(command_line)[1:])
    except rclpy_implementation.UnknownROSArgsError as error:
        raise ArgumentError(f"ROS knows no argument {error}: see --help") from error
    except rclpy_implementation.RCLError as error:
        raise ArgumentError(f"{_sentence(error)}: see --help") from error


def run_node(
    create_node: Callable[[argparse.Namespace], Node], parser: argparse.ArgumentParser | None = None
) -> NoReturn:
    """Spin the node until SIGINT, SIGTERM or the shutdown of its context, then end the process.

    Exit code 0 after a signal, also while the node is being created; 2, with one sentence on stderr, if ROS cannot
    start, cannot read its arguments or the node refuses its parameters (``ValueError``); 1 if a hundred callbacks in a
    row have failed. ``parser`` reads the arguments that are not for ROS, and ``create_node`` gets what it read. A
    callback that raises is logged and costs its message, not the node.
    """
    code = _run(create_node, parser)
    # A lifecycle node keeps its DDS participant, shared memory included, for as long as the Python object lives: no
    # frame refers to it any more, but node and callbacks refer to each other.
    gc.collect()
    rclpy.try_shutdown()
    _leave(code)


def _run(create_node: Callable[[argparse.Namespace], Node], parser: argparse.ArgumentParser | None) -> int:
    """Start ROS, create and spin the node, destroy it; return the exit code."""
    initialised = False
    node: Node | None = None
    try:
        own = own_arguments(sys.argv)
        options = argparse.Namespace() if parser is None else parser.parse_args(own)
        # rclpy shuts the context down on SIGINT and then calls the handler of before: Python's own would raise
        # KeyboardInterrupt anywhere, in the middle of the clean-up too.
        interrupted = threading.Event()
        signal.signal(signal.SIGINT, lambda *_: interrupted.set())
        rclpy.init()
        initialised = True
        if interrupted.is_set():
            return STOPPED
        executor = SingleThreadedExecutor()
        node = create_node(options)
        executor.add_node(node)
    except KeyboardInterrupt:
        return STOPPED
    except Exception as error:
        if initialised and not rclpy.ok():
            # A signal has shut the context down, and nothing can be created in what is left of it.
            if node is not None:
                node.destroy_node()
            return STOPPED
        if not isinstance(error, (ValueError, ParameterException, rclpy_implementation.RCLError)):
            raise
        print(f"{os.path.basename(sys.argv[0])}: {_reason(error)}", file=sys.stderr)
        return CANNOT_START
    threading.Thread(target=_leave_in_time, name="shutdown guard", daemon=True).start()
    code = _spin(executor, node)
    executor.shutdown()
    node.destroy_node()
    return code


def _spin(executor: SingleThreadedExecutor, node: Node) -> int:
    """Run callbacks until the context is shut down; return the exit code."""
    reports = ThrottledReports(node.get_logger())
    failures = 0
    while rclpy.ok():
        try:
            executor.spin_once()
            failures = 0
        except ExternalShutdownException:
            break
        except Exception as error:
            failures += 1
            reports.error(f"callback failed with {type(error).__name__}: {error}")
            if failures == _FAILURES_TO_GIVE_UP:
                node.get_logger().fatal(f"the last {failures} callbacks have all failed: the process ends with code 1")
                return BROKEN
    return STOPPED


def _reason(error: Exception) -> str:
    if not isinstance(error, rclpy_implementation.RCLError):
        return str(error)
    sentence = _sentence(error)
    if "logging" in sentence:
        sentence += ": set HOME, ROS_HOME or ROS_LOG_DIR so that the log folder can be written"
    return f"ROS cannot start: {sentence}"


def _sentence(error: Exception) -> str:
    # The first line, without the places in ROS's own source.
    return re.sub(r"\s*, at \S+:\d+", "", str(error)).splitlines()[0]


def _leave_in_time() -> None:
    """End the process if, after a signal, the main thread does not: it may be loading a model."""
    while rclpy.ok():
        time.sleep(_POLL_SEC)
    time.sleep(_GRACE_SEC - _POLL_SEC)
    _leave(STOPPED)


def _leave(code: int) -> NoReturn:
    # Not by way of the interpreter's end: that takes torch most of a second, and an inference thread that is still
    # inside a kernel would find its libraries torn down and crash.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
