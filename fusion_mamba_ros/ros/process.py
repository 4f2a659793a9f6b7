# SPDX-License-Identifier: Apache-2.0
"""Run a node as a process: spin until a signal arrives, end in time, return an exit code."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import re
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import NoReturn

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from fusion_mamba_ros.ros.throttled_reports import ThrottledReports

# Must stay below the 2 s after which the sender of the signal may send SIGKILL.
_GRACE_SEC = 1.8
_POLL_SEC = 0.1
# Python's default of 5 ms is how long the inference thread may wait for the executor thread. With 0.5 ms the node adds
# about 2 ms less to each array (docs/explanation/node-performance.md); with 0.1 ms it adds more again.
_THREAD_SWITCH_SEC = 0.0005
# After this many failed callbacks in a row the process ends, so that its supervisor can restart it.
_FAILURES_TO_GIVE_UP = 100

STOPPED, BROKEN, CANNOT_START = 0, 1, 2


class ArgumentError(ValueError):
    """Raised for a command line that ROS cannot parse. The message is one sentence."""


def own_arguments(command_line: list[str]) -> list[str]:
    """Return the arguments that are not for ROS. Raises `ArgumentError` if ROS cannot parse its own ones."""
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

    ``parser`` parses the arguments that are not for ROS, and ``create_node`` receives the result. If a callback raises,
    the error is logged, its message is lost, and the node continues. Exit codes:

    * 0 after a signal, also while the node is being created.
    * 1 if a hundred callbacks in a row have failed.
    * 2, with one sentence on stderr, if ROS cannot start or parse its arguments, or if the node refuses its
      parameters (``ValueError``).
    """
    sys.setswitchinterval(_THREAD_SWITCH_SEC)
    code = _run(create_node, parser)
    # A lifecycle node keeps its DDS participant and its shared memory while the Python object lives. Node and callbacks
    # refer to each other, so only the garbage collector frees them.
    gc.collect()
    rclpy.try_shutdown()
    _leave(code)


def _run(create_node: Callable[[argparse.Namespace], Node], parser: argparse.ArgumentParser | None) -> int:
    """Start ROS, create, spin and destroy the node, and return the exit code."""
    initialised = False
    node: Node | None = None
    try:
        own = own_arguments(sys.argv)
        options = argparse.Namespace() if parser is None else parser.parse_args(own)
        # rclpy shuts the context down on SIGINT and then calls the previous handler. Python's default handler would
        # raise KeyboardInterrupt at any point, also during the clean-up.
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
            # A signal has shut the context down, so the start failed. This is a normal stop.
            if node is not None:
                node.destroy_node()
            return STOPPED
        if not isinstance(error, (ValueError, ParameterException, rclpy_implementation.RCLError)):
            raise
        print(f"{os.path.basename(sys.argv[0])}: {_reason(error)}", file=sys.stderr)
        return CANNOT_START
    guard = threading.Thread(target=_leave_in_time, args=(weakref.ref(executor),), name="shutdown guard", daemon=True)
    guard.start()
    code = _spin(executor, node)
    executor.shutdown()
    node.destroy_node()
    return code


def _spin(executor: SingleThreadedExecutor, node: Node) -> int:
    """Run callbacks until the context is shut down. Return the exit code."""
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
    # Keep the first line, without the locations in the ROS source code.
    return re.sub(r"\s*, at \S+:\d+", "", str(error)).splitlines()[0]


def _leave_in_time(executor_reference: weakref.ref[SingleThreadedExecutor]) -> None:
    """Wake the executor after a signal, and end the process if the main thread does not end in time.

    The main thread may be loading a model. The reference is weak, because the executor refers to the node.
    """
    while rclpy.ok():
        time.sleep(_POLL_SEC)
    executor = executor_reference()
    if executor is not None:
        # The executor misses a signal that arrives just before it begins to wait.
        with contextlib.suppress(rclpy_implementation.InvalidHandle):
            executor.wake()
    del executor
    time.sleep(_GRACE_SEC - _POLL_SEC)
    _leave(STOPPED)


def _leave(code: int) -> NoReturn:
    # Skip the shutdown of the interpreter: with torch it takes most of a second, and an inference thread that is still
    # inside a kernel would crash when its libraries are unloaded.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
