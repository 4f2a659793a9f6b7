# SPDX-License-Identifier: Apache-2.0
"""A node that has the parameters of the detector and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from fusion_mamba_ros.ros.detector.parameter_server import ParameterServer
from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError
from fusion_mamba_ros.ros.detector.parameters import DetectorParameters


class Server:
    """A node that has the parameters, started with some values."""

    def __init__(
        self,
        context: Context,
        start: dict[str, Any] | None = None,
        *,
        configured: bool = False,
        check: Callable[[DetectorParameters], None] = lambda parameters: None,
        on_change: Callable[[DetectorParameters], None] | None = None,
        file: Path | None = None,
    ) -> None:
        self.node = Node(
            "parameters",
            context=context,
            parameter_overrides=[Parameter(name, value=value) for name, value in (start or {}).items()],
            start_parameter_services=False,
            cli_args=None if file is None else ["--ros-args", "--params-file", str(file)],
        )
        self.changes: list[DetectorParameters] = []
        try:
            self.server = ParameterServer(
                self.node,
                may_change=lambda: not configured,
                check=check,
                on_change=on_change or self.changes.append,
            )
        except ParameterError:
            self.node.destroy_node()
            raise

    def set(self, **values: Any) -> tuple[bool, str]:
        parameters = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        result = self.node.set_parameters_atomically(parameters)
        return result.successful, result.reason
