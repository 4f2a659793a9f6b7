#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Build the documentation as HTML; every warning is an error. Needs `pip install ".[docs]"`, which tools/setup.sh does, but no
# ROS.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case "${1:-}" in
  -h | --help) echo "usage: bash tools/docs.sh [output folder, default build/docs]" && exit 0 ;;
esac
out=$(realpath -m "${1:-$root/build/docs}")
python=${FUSION_MAMBA_VENV:-$root/.venv}/bin/python
[[ -x $python ]] || python=python3
"$python" -c 'import sphinx, myst_parser, furo' || { echo "documentation: run 'bash tools/setup.sh' or pip install \".[docs]\" first" >&2 && exit 1; }
"$python" -m sphinx -b html --fail-on-warning --keep-going --quiet -d "$out/.doctrees" "$root/docs" "$out"
echo "documentation: $out/index.html"
