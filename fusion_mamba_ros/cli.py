# SPDX-License-Identifier: Apache-2.0
"""Command line `fusion-mamba`: all functions that need no ROS graph. `commands/` has one file for each command."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated

import typer

from fusion_mamba_ros import __version__
from fusion_mamba_ros.commands.failure import NEEDS_TORCH, is_missing_torch
from fusion_mamba_ros.openmp_policy import set_waiting_policy

app = typer.Typer(
    name="fusion-mamba",
    no_args_is_help=True,
    add_completion=False,
)

# Each module has a function `register(app)` that adds its command. Put heavy imports inside the command.
COMMANDS: tuple[str, ...] = (
    "analyze",
    "bench",
    "calibrate",
    "check_data",
    "compare",
    "distill",
    "eval",
    "eval_bag",
    "eval_bags",
    "export",
    "import_weights",
    "info",
    "make_bag",
    "predict",
    "publish",
    "register",
    "train",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fusion-mamba {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """RGB-thermal object detection with Fusion-Mamba: predict, train, evaluate, make bags."""


for _command in COMMANDS:
    importlib.import_module(f"fusion_mamba_ros.commands.{_command}").register(app)


def main() -> None:
    """Run the command line.

    An unexpected exception prints one line and exits with code 1. Set `FUSION_MAMBA_TRACEBACK=1` to see the traceback,
    for example for a bug report.
    """
    # Set the policy before a command imports torch.
    set_waiting_policy()
    try:
        app()
    except Exception as error:
        if os.environ.get("FUSION_MAMBA_TRACEBACK"):
            raise
        if is_missing_torch(error):
            print(f"error: {NEEDS_TORCH}", file=sys.stderr)
            raise SystemExit(2) from error
        text = " ".join(str(error).split())[:500]
        remedy = "set FUSION_MAMBA_TRACEBACK=1 to see where, and report it"
        print(f"error: unexpected {type(error).__name__}: {text or 'no message'}: {remedy}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
