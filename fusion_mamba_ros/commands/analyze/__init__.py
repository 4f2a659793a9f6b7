# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba analyze`: studies of the network; one file for each."""

from __future__ import annotations

import importlib

import typer

STUDIES: tuple[str, ...] = ("ablation", "complexity", "correlation", "modality", "robustness")


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    studies = typer.Typer(
        name="analyze",
        no_args_is_help=True,
        help="Study the network: cost of fusion, ablations, correlation, contribution of modalities, robustness.\n\n"
        "Example: fusion-mamba analyze complexity --out cost/",
    )
    for study in STUDIES:
        importlib.import_module(f"fusion_mamba_ros.commands.analyze.{study}").register(studies)
    app.add_typer(studies)
