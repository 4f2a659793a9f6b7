#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Set up if needed, then replay a bag through the detector node and show what it saw: bash tools/demo.sh --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bash "$here/setup.sh"
# Of another environment's ROS wheels: would make ours load that environment's libraries.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH
exec "${FUSION_MAMBA_VENV:-$here/../.venv}/bin/python" "$here/demo.py" "$@"
