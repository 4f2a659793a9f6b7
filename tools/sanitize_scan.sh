#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Run the scan kernel on random shapes under sanitizers; each sanitizer argument is one build.
# Usage: tools/sanitize_scan.sh [SHAPES [SANITIZERS...]]
# Defaults: 200 shapes for each instruction set; sanitizers "address,undefined" and "thread".
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
kernel=$root/fusion_mamba_ros/network/selective_scan/kernel
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# ELEMENTS_PER_THREAD=1 lets small shapes also run on several threads.
build() {
  "${CC:-cc}" -g -O0 -std=gnu11 -pthread -Wno-psabi -DELEMENTS_PER_THREAD=1 -fno-omit-frame-pointer "$@" \
    -I "$kernel" "$kernel"/{run,baseline,avx2,avx512}.c "$root/tools/sanitize_scan.c" -o "$scratch/scan"
}

shapes=${1:-200}
shift || true
[[ $# -gt 0 ]] || set -- address,undefined thread
for sanitizers in "$@"; do
  echo "$sanitizers:"
  build -fsanitize="$sanitizers" -fno-sanitize-recover=all
  "$scratch/scan" "$shapes"
done
