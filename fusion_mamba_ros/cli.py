# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba`: everything that needs no ROS graph, one file in `commands/` for each command."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from fusion_mamba_ros import __version__
from fusion_mamba_ros.openmp_policy import set_waiting_policy

app = typer.Typer(
    name="fusion-mamba",
    no_args_is_help=True,
    add_completion=False,
)

# Each module holds one function `register(app)` that adds its command; heavy imports belong inside the command.
COMMANDS: tuple[str, ...] = (
    "calibrate",
    "check_data",
    "compare",
    "eval",
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
    """Run the command line."""
    # Before a command imports torch.
    set_waiting_policy()
    app()


if __name__ == "__main__":
    main()
