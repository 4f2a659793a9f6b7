# SPDX-License-Identifier: Apache-2.0
"""Define the option ``--threads``, which commands that run the network share."""

from __future__ import annotations

from typing import Annotated

import typer

ThreadsOption = Annotated[
    int,
    typer.Option("--threads", min=0, help="CPU threads of the network; 0: the engine decides."),
]
