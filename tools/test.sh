#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Set up the environment if needed, then lint, check types and run all tests. Tests without ROS run in parallel, then tests with
# ROS run one after the other. With arguments, pytest runs once with them: bash tools/test.sh test/test_pairing.py
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
case "${1:-}" in
  -h | --help) echo "usage: bash tools/test.sh [pytest arguments]
FUSION_MAMBA_DATA: folder with real data; without it, tests that need real data are skipped; FUSION_MAMBA_TEST_WORKERS: processes for the tests without ROS (default 2)" && exit 0 ;;
esac

bash tools/setup.sh || exit 1
export PATH=${FUSION_MAMBA_VENV:-$PWD/.venv}/bin:$PATH ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH
# The tensors of the tests are small and several processes share the cores, so more threads would make the tests slower.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

failed=()
echo "ruff:" && ruff check . || failed+=(ruff)
ruff format --check --quiet . || { echo "run 'ruff format .'" && failed+=("ruff format"); }
echo "mypy:" && mypy || failed+=(mypy)
((${#failed[@]} == 0)) || echo "failed before the tests: ${failed[*]}"
if (($# > 0)); then
  python -m pytest "$@" || failed+=(pytest)
else
  # Distribute whole files, so that the fixtures of a file run once, in the order of test/conftest.py.
  python -m pytest -m "not ros" -n "${FUSION_MAMBA_TEST_WORKERS:-2}" --dist loadfile --no-loadscope-reorder || failed+=("pytest without ROS")
  python -m pytest -m ros || failed+=("pytest with ROS")
fi
((${#failed[@]} == 0)) || echo "failed: ${failed[*]}"
exit $((${#failed[@]} > 0))
