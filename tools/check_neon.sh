#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compile the scan kernel for aarch64 and compare it with double precision in qemu. No aarch64 machine is needed.
# Needs the Debian packages gcc-aarch64-linux-gnu and qemu-user. CC and QEMU name other tools; QEMU= runs without qemu.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
kernel=$root/fusion_mamba_ros/network/selective_scan/kernel
compiler=${CC:-aarch64-linux-gnu-gcc}
emulator=${QEMU-qemu-aarch64}
for tool in "$compiler" ${emulator:+"$emulator"}; do
  command -v "$tool" > /dev/null || { echo "error: $tool is missing: apt install gcc-aarch64-linux-gnu qemu-user" >&2; exit 2; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$compiler" -O3 -std=gnu11 -static -ffp-contract=fast -fno-math-errno -fno-trapping-math -pthread -Wall -Wno-psabi \
  -Wno-unknown-pragmas -I "$kernel" "$kernel"/{run,baseline,avx2,avx512}.c "$root/tools/check_neon.c" -lm -o "$scratch/check"
${emulator:+"$emulator"} "$scratch/check"
