// SPDX-License-Identifier: Apache-2.0
// All that is compiled once for each instruction set. The standard headers come first: their own declarations must not
// be repeated inside.
#include "scan.h"
#include "simd.h"
#include "panel.h"
#include "block.h"
#include "forward.h"
#include "backward.h"
