#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Set up if needed, then lint, check types and run all tests. Arguments go to pytest: bash tools/test.sh test/test_pairing.py
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
case "${1:-}" in
  -h | --help) echo "usage: bash tools/test.sh [pytest arguments]   (FUSION_MAMBA_DATA: folder with real data, else its tests are skipped)" && exit 0 ;;
esac

bash tools/setup.sh || exit 1
export PATH=${FUSION_MAMBA_VENV:-$PWD/.venv}/bin:$PATH ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH
# The tests' tensors are small and several processes share the cores: more threads would only wait for each other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

failed=()
echo "ruff:" && ruff check . || failed+=(ruff)
echo "mypy:" && mypy || failed+=(mypy)
((${#failed[@]} == 0)) || echo "failed before the tests: ${failed[*]}"
python -m pytest "$@" || failed+=(pytest)
exit $((${#failed[@]} > 0))
