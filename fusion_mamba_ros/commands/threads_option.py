# SPDX-License-Identifier: Apache-2.0
"""The option ``--threads`` of every command that runs the network."""

from __future__ import annotations

from typing import Annotated

import typer

ThreadsOption = Annotated[
    int,
    typer.Option("--threads", min=0, help="CPU threads of torch and of the selective scan; 0: as torch decides."),
]
