#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Set up if needed, then lint, check types and run all tests: first those without ROS in parallel, then those with ROS one after the
# other. Arguments go to one pytest instead: bash tools/test.sh test/test_pairing.py
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
case "${1:-}" in
  -h | --help) echo "usage: bash tools/test.sh [pytest arguments]
FUSION_MAMBA_DATA: folder with real data, else its tests are skipped; FUSION_MAMBA_TEST_WORKERS: processes for the tests without ROS (default 2)" && exit 0 ;;
esac

bash tools/setup.sh || exit 1
export PATH=${FUSION_MAMBA_VENV:-$PWD/.venv}/bin:$PATH ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH
# The tests' tensors are small and several processes share the cores: more threads would only wait for each other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

failed=()
echo "ruff:" && ruff check . || failed+=(ruff)
ruff format --check --quiet . || { echo "run 'ruff format .'" && failed+=("ruff format"); }
echo "mypy:" && mypy || failed+=(mypy)
((${#failed[@]} == 0)) || echo "failed before the tests: ${failed[*]}"
if (($# > 0)); then
  python -m pytest "$@" || failed+=(pytest)
else
  # By file, so that what a file prepares for all of its tests is prepared once.
  python -m pytest -m "not ros" -n "${FUSION_MAMBA_TEST_WORKERS:-2}" --dist loadfile || failed+=("pytest without ROS")
  python -m pytest -m ros || failed+=("pytest with ROS")
fi
((${#failed[@]} == 0)) || echo "failed: ${failed[*]}"
exit $((${#failed[@]} > 0))
