# SPDX-License-Identifier: Apache-2.0
"""Define the option ``--engine``, which commands that run the network share."""

from __future__ import annotations

from typing import Annotated

import typer

EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Software that runs the network: auto (by the suffix of the file), or a name that `info` lists.",
    ),
]
