#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Build this package with colcon in a temporary workspace, as a ROS user does against /opt/ros, but with the ROS wheels of
# .venv. Then run tests with `colcon test`, source the workspace, and print what Python finds in it. Arguments are passed to
# `colcon build`, for example --symlink-install. With TEST_PATH=test all tests that need no ROS run.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${FUSION_MAMBA_VENV:-$root/.venv}
workspace=$(mktemp -d)
trap 'rm -rf "$workspace"' EXIT
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH

colcon=$(command -v colcon || true)
if [[ -z $colcon ]]; then # separate from .venv, because colcon needs an old setuptools
  colcon=$venv/.setup/colcon/bin/colcon
  [[ -x $colcon ]] || {
    "$venv/bin/python" -m venv "$venv/.setup/colcon"
    "$venv/.setup/colcon/bin/pip" install --quiet --disable-pip-version-check colcon-common-extensions==0.3.0 colcon-core==0.21.3
  }
fi

mkdir "$workspace/src"
ln -s "$root" "$workspace/src/fusion_mamba_ros"
cd "$workspace"
export AMENT_PREFIX_PATH=$venv PATH=$venv/bin:$PATH
if ! "$colcon" build --base-paths src "$@" --cmake-args -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=ON "-DTEST_PATH=${TEST_PATH:-test/test_letterbox.py}" \
  "-DPython3_EXECUTABLE=$venv/bin/python" -DPython3_FIND_VIRTUALENV=ONLY >build.txt 2>&1; then
  cat build.txt >&2
  exit 1
fi
if ! "$colcon" test --base-paths src --return-code-on-test-failure >test.txt 2>&1; then
  "$colcon" test-result --all --verbose >&2 || true
  cat test.txt build/fusion_mamba_ros/ament_cmake_pytest/*.txt >&2 || true
  exit 1
fi

set +u # colcon's setup scripts read unset variables
source install/local_setup.bash
set -u
cd /
python - "$workspace/install/fusion_mamba_ros" <<'PYTHON'
import os
import shutil
import sys
from pathlib import Path

import fusion_mamba_ros
from ament_index_python.packages import get_package_prefix, get_package_share_directory
from fusion_mamba_ros.msg import FusionStatus
from fusion_mamba_ros.network.selective_scan import selective_scan

prefix = Path(sys.argv[1])
share = Path(get_package_share_directory("fusion_mamba_ros"))
executables = sorted(path.name for path in (prefix / "lib/fusion_mamba_ros").iterdir() if os.access(path, os.X_OK))
assert Path(get_package_prefix("fusion_mamba_ros")) == prefix, get_package_prefix("fusion_mamba_ros")
assert Path(fusion_mamba_ros.__file__).is_relative_to(prefix), fusion_mamba_ros.__file__
assert sys.modules[FusionStatus.__module__].__file__.startswith(str(prefix)), FusionStatus.__module__
assert sys.modules[selective_scan.__module__].__file__.startswith(str(prefix)), selective_scan.__module__
assert list(prefix.rglob("selective_scan/libfusion_mamba_scan.so")), "the scan kernel is not installed"
assert list(prefix.rglob("deployment/libfusion_mamba_onnxruntime.so")), "the operator of ONNX Runtime is not installed"
assert Path(fusion_mamba_ros.__file__).with_name("py.typed").is_file(), "py.typed is not installed"
assert shutil.which("fusion-mamba") == str(prefix / "bin/fusion-mamba"), shutil.which("fusion-mamba")
print("executables:", *executables)
print("launch files:", *sorted(path.name for path in (share / "launch").glob("*.launch.py")))
print("configuration:", *sorted(path.name for path in (share / "config").iterdir()))
PYTHON
fusion-mamba --help >/dev/null && echo "fusion-mamba starts"
echo "tests: $("$colcon" test-result --test-result-base "$workspace/build" | grep '^Summary')"
