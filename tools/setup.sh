#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Build .venv with ROS 2, PyTorch and this package from Python wheels alone: no root, no ROS on the machine.
# A second run takes about a second if nothing changed. A run after an interrupted one continues where that one stopped.
set -euo pipefail
shopt -s nullglob

usage() {
  cat <<'TEXT'
usage: bash tools/setup.sh [--help]

Builds .venv beside this folder: ROS 2, PyTorch, the message packages and fusion_mamba_ros itself.
Afterwards: .venv/bin/fusion-mamba --help, or `source .venv/bin/activate`.

environment:
  PYTHON                    the Python to build with, 3.10 to 3.13 (default: the first one found)
  FUSION_MAMBA_VENV         where to build (default: .venv)
  FUSION_MAMBA_ROS          ROS 2 distribution, jazzy or kilted (default: what the environment holds, or jazzy); one environment holds one distribution
  FUSION_MAMBA_TORCH_INDEX  package index with CPU builds of PyTorch. pip's own configuration is used first; without either,
                            Linux x86_64 gets PyTorch's default build, which brings the CUDA libraries (5 GB more)
TEXT
}

say() { printf '%s\n' "$*"; }
stop() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

case "${1:-}" in
  "") ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 2 ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${FUSION_MAMBA_VENV:-$root/.venv}
state=$venv/.setup
log=$state/setup.log
built_for=jazzy # an environment without the file `distribution` was built for jazzy
[[ ! -f $state/distribution ]] || built_for=$(<"$state/distribution")
ros=${FUSION_MAMBA_ROS:-$built_for}
case "$ros" in
  jazzy | kilted) ;;
  *) stop "FUSION_MAMBA_ROS is '$ros': expected jazzy or kilted, other distributions have no wheels: build with colcon, see docs/how-to/install.md" ;;
esac
# These variables come from another environment with ROS wheels. They would load the libraries of that environment.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONHOME PYTHONPATH

# rosidl-default-generators and below: the interface generators, and what they import without declaring it.
ros_packages=(
  rclpy rmw-fastrtps-cpp common-interfaces
  rosidl-default-generators rosidl-core-generators ament-package ament-cmake ament-cmake-include-directories ament-cmake-ros
  ament-cmake-gmock ament-cmake-gtest ament-cmake-pytest
)
case "$ros" in
  jazzy) ros_packages+=(python-cmake-module) ;;
  kilted) ros_packages+=(ament-cmake-ros-core) ;;
esac
ros_wheels=("${ros_packages[@]/#/ros-$ros-}" catkin_pkg numpy setuptools wheel)
torch_version=2.13.0
constraints=$root/tools/constraints.txt
ros_constraints=$root/tools/constraints-$ros.txt

# --- what the machine must have -------------------------------------------------------------------------------------------

base_python() { "$1" -c 'import os, sys; print(os.path.realpath(sys._base_executable))'; } # not a shim or a virtual environment

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.12 python3.11 python3.13 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      base_python "$candidate"
      return
    fi
    [[ -z ${PYTHON:-} ]] || break
  done
  stop "no Python 3.10 to 3.13 ${PYTHON:+under the name '$PYTHON' }found: install one, or name it with PYTHON=/path/to/python3.12"
}

check_machine() {
  [[ $(uname -s)-$(uname -m) == Linux-x86_64 ]] ||
    stop "ROS 2 wheels exist for Linux x86_64 only, this is $(uname -s) $(uname -m): install ROS 2 and follow docs/how-to/install.md"
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "$python cannot make virtual environments: install its venv package (Debian, Ubuntu: python3-venv)"
  "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    stop "$python has no Python.h: install its headers (Debian, Ubuntu: python3-dev)"
  local tool
  for tool in "${CC:-cc}" "${CXX:-c++}"; do
    command -v "$tool" >/dev/null || stop "no compiler '$tool' found: install one (Debian, Ubuntu: build-essential) or name it with CC and CXX"
  done
}

check_disk() {
  local free_mb
  free_mb=$(df -Pm "$venv" | awk 'NR == 2 { print $4 }')
  ((free_mb >= $1)) || stop "$venv needs $1 MB of disk for $2, $free_mb MB are available: free disk space, or build elsewhere with FUSION_MAMBA_VENV=/other/disk"
}

# --- steps: each leaves a stamp with the hash of its inputs ---------------------------------------------------------------

hash_of() { # the names of files and folders, and plain words
  local input
  for input in "$@"; do
    if [[ -e $input ]]; then find "$input" -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 -r sha256sum; else say "$input"; fi
  done | sha256sum | cut -d' ' -f1
}

done_before() { [[ -f $state/$1 && $(<"$state/$1") == "$2" ]]; }

step() { # name, hash, title, command...
  local name=$1 hash=$2 title=$3 started=$SECONDS
  shift 3
  done_before "$name" "$hash" && return
  rm -f "$state/$name"
  say "setup: $title ..."
  "$@" >>"$log" 2>&1 || return 1
  say "$hash" >"$state/$name"
  say "setup: $title: done in $((SECONDS - started)) s"
}

fail() { # title: print the cause of the failure in one line
  if grep -qi 'no space left' "$log"; then
    stop "$1 failed: the disk is full: free disk space and run again (log: $log)"
  elif grep -qiE 'name resolution|failed to establish a new connection|connection (refused|reset|broken)|timed out|network is unreachable' "$log"; then
    stop "$1 failed: a package index cannot be reached: check the network and pip's configuration, then run again (log: $log)"
  fi
  local cause
  cause=$(grep -iE 'no matching distribution|fatal error|CMake Error|error:' "$log" | tail -1 || true)
  stop "$1 failed: ${cause:-no cause given} (log: $log)"
}

# `set -e` has no effect in the functions below: bash ignores it in a command whose failure is handled, as in `step ... || fail`.

remove_half_installed() { # a killed pip can leave a package without RECORD, which pip then considers installed
  local package
  for package in "$venv"/lib/python3*/site-packages/*.dist-info; do [[ -f $package/RECORD ]] || rm -rf "$package"; done
}

pip_install() {
  remove_half_installed
  "$venv/bin/python" -m pip install --no-input --disable-pip-version-check --progress-bar off --prefer-binary -c "$constraints" -c "$ros_constraints" "$@"
}

make_venv() {
  if [[ ! -f $state/python || $(<"$state/python") != "$python_hash" ]]; then # the Python has changed, or the folder has moved
    # The stamps go first: a run that is interrupted here must not leave stamps of what is deleted.
    (cd "$state" && rm -f venv ros torch vision_msgs foxglove_msgs messages package)
    find "$venv" -mindepth 1 -maxdepth 1 -not -path "$state" -exec rm -rf {} +
    rm -rf "$state/build"
    say "$python_hash" >"$state/python"
  fi
  remove_half_installed
  "$python" -m venv "$venv"
}

install_ros() {
  local more=()
  command -v cmake >/dev/null || more+=(cmake)
  command -v ninja >/dev/null || more+=(ninja)
  pip_install "${ros_wheels[@]}" "${more[@]}" || return
  # The exported CMake files name the Python of the machine that built the wheels.
  local include numpy_include
  include=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  numpy_include=$("$venv/bin/python" -c 'import numpy; print(numpy.get_include())')
  { grep -rlZ --include='*.cmake' /opt/python/ "$venv/share" || true; } |
    xargs -0 -r sed -i -E -e "s#/opt/python/[^;\"]*/numpy/_core/include#$numpy_include#g" -e "s#/opt/python/[^;\"/]*/include/python3[^;\"/]*#$include#g"
}

install_torch() {
  local index=()
  [[ -z ${FUSION_MAMBA_TORCH_INDEX:-} ]] || index=(--extra-index-url "$FUSION_MAMBA_TORCH_INDEX")
  pip_install "${index[@]}" "torch==$torch_version+cpu" && return
  say "setup: pip finds no CPU build of PyTorch: installing the default build (set FUSION_MAMBA_TORCH_INDEX to choose, see --help)" >&3
  pip_install "${index[@]}" "torch==$torch_version"
}

generate_interfaces() { # source folder, build name, CMake options...
  local source=$1 build=$state/build/$2
  shift 2
  PATH=$venv/bin:$PATH cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$venv" \
    -DPython3_EXECUTABLE="$venv/bin/python" -DPython3_FIND_VIRTUALENV=ONLY -DBUILD_TESTING=OFF "$@" || return
  PATH=$venv/bin:$PATH ninja -C "$build" install
}

install_own_messages() {
  generate_interfaces "$root" fusion_mamba_ros -DINSTALL_SOURCES=OFF -DPYTHON_INSTALL_DIR="$venv/lib/generated" || return
  ln -sfn "$root/launch" "$root/config" "$venv/share/fusion_mamba_ros/" &&
    ln -sf ../lib/fusion_mamba_ros/detector_node ../lib/fusion_mamba_ros/bag_player "$venv/bin/"
}

install_package() {
  pip_install --no-build-isolation -e "$root[train,test,docs,export]" || return
  # This file sorts after pip's own .pth file for the source tree. Python therefore finds fusion_mamba_ros in the source
  # tree first, which adds the generated messages to its path. PYTHONPATH precedes both, so a sourced ROS is found before
  # the underlay.
  local site
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  cat >"$site/fusion_mamba_ros_underlay.pth" <<PTH
$venv/lib/generated
$root/underlay
import os, sys; os.environ["AMENT_PREFIX_PATH"] = ":".join(dict.fromkeys([*os.environ.get("AMENT_PREFIX_PATH", sys.prefix).split(":"), sys.prefix]))
PTH
}

# --- run ------------------------------------------------------------------------------------------------------------------

if [[ -e $venv && ! -d $state ]]; then
  stop "$venv exists, but this script did not make it: move it away, or build elsewhere with FUSION_MAMBA_VENV=/other/folder"
fi
mkdir -p "$state"
built_from=$root # an environment without the file `checkout` belongs to this checkout
[[ ! -f $state/checkout ]] || built_from=$(<"$state/checkout")
if [[ $built_from != "$root" && $venv != "$root/.venv" && -f $built_from/tools/setup.sh ]]; then
  stop "$venv belongs to the checkout $built_from: build elsewhere with FUSION_MAMBA_VENV=/other/folder"
fi
say "$root" >"$state/checkout"
if [[ ! -f $state/python ]]; then
  say "$ros" >"$state/distribution"
elif [[ $built_for != "$ros" ]]; then
  stop "$venv holds ROS 2 $built_for, FUSION_MAMBA_ROS asks for $ros: unset it, or build elsewhere with FUSION_MAMBA_VENV=/other/folder"
fi
python=
[[ -n ${PYTHON:-} || ! -x $venv/bin/python ]] || python=$(base_python "$venv/bin/python" 2>/dev/null || true)
[[ -n $python ]] || python=$(find_python)
python_hash=$(hash_of "$("$python" -VV)" "at $python" "from $root" "in $venv")
ros_hash=$(hash_of "$python_hash" "${ros_wheels[@]}" "$constraints" "$ros_constraints")
torch_hash=$(hash_of "$python_hash" "$torch_version" "$constraints" "${FUSION_MAMBA_TORCH_INDEX:-}")
vision_hash=$(hash_of "$ros_hash" "$root/underlay/vision_msgs")
foxglove_hash=$(hash_of "$ros_hash" "$root/underlay/foxglove_msgs")
own_hash=$(hash_of "$ros_hash" "$root/msg" "$root/package.xml" "$root/CMakeLists.txt" "$root/scripts" "$(declare -f install_own_messages)")
kernel=$root/fusion_mamba_ros/network/selective_scan
package_hash=$(hash_of "$python_hash" "$root/pyproject.toml" "$root/setup.py" "$kernel/build.py" "$kernel/kernel" "$constraints" "$(declare -f install_package)")

stop_if_up_to_date() {
  done_before ros "$ros_hash" && done_before torch "$torch_hash" && done_before vision_msgs "$vision_hash" &&
    done_before foxglove_msgs "$foxglove_hash" && done_before messages "$own_hash" && done_before package "$package_hash" || return 0
  say "setup: $venv is up to date"
  exit 0
}

stop_if_up_to_date
exec 3>&1 9>"$state/lock"
flock -n 9 || { say "setup: waiting for another run in $venv" && flock 9; }
stop_if_up_to_date

check_machine
[[ -z ${ROS_DISTRO:-} ]] || say "setup: ROS 2 $ROS_DISTRO is sourced and its packages would come first in $venv: to build with colcon instead, see docs/how-to/install.md"
: >"$log"
done_before torch "$torch_hash" || check_disk 4000 "PyTorch and ROS 2"
step venv "$python_hash" "Python environment ($("$python" -V))" make_venv || fail "making the environment"
step ros "$ros_hash" "ROS 2 ${ros^} wheels" install_ros || fail "installing ROS 2"

# Generate the interfaces during the download of PyTorch: one needs the CPU, the other the network.
{
  step vision_msgs "$vision_hash" "vision_msgs interfaces" generate_interfaces "$root/underlay/vision_msgs" vision_msgs &&
    step foxglove_msgs "$foxglove_hash" "foxglove_msgs interfaces" generate_interfaces "$root/underlay/foxglove_msgs" foxglove_msgs &&
    step messages "$own_hash" "fusion_mamba_ros interfaces" install_own_messages
} &
generation=$!
trap 'kill "$generation" 2>/dev/null || true' EXIT
step torch "$torch_hash" "PyTorch $torch_version" install_torch || fail "installing PyTorch"
step package "$package_hash" "fusion_mamba_ros and its Python libraries" install_package || fail "installing fusion_mamba_ros"
wait "$generation" || fail "generating the interfaces"
trap - EXIT
say "setup: ready: source $venv/bin/activate"
