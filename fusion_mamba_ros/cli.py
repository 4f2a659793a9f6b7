# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba`: everything that needs no ROS graph, one file in `commands/` for each command."""

from __future__ import annotations

import importlib

import typer

app = typer.Typer(
    name="fusion-mamba",
    no_args_is_help=True,
    add_completion=False,
    help="RGB-thermal object detection with Fusion-Mamba: predict, train, evaluate, make bags.",
)

# Each module holds one function `register(app)` that adds its command; heavy imports belong inside the command.
COMMANDS: tuple[str, ...] = (
    "check_data",
    "compare",
    "distill",
    "eval",
    "import_weights",
    "info",
    "make_bag",
    "predict",
    "publish",
    "register",
    "train",
)

for _command in COMMANDS:
    importlib.import_module(f"fusion_mamba_ros.commands.{_command}").register(app)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
