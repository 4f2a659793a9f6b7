# SPDX-License-Identifier: Apache-2.0
"""Return the command line of this process, for reports."""

from __future__ import annotations

import shlex
import sys


def command_line() -> str:
    """Return the command as one line that a shell can run again in the same folder."""
    return shlex.join(["fusion-mamba", *sys.argv[1:]])
