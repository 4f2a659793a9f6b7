#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Set up the environment if needed, then replay a bag through the detector node and show its detections.
# Options: bash tools/demo.sh --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bash "$here/setup.sh"
# These variables come from another environment with ROS wheels. They would load the libraries of that environment.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH
exec "${FUSION_MAMBA_VENV:-$here/../.venv}/bin/python" "$here/demo.py" "$@"
