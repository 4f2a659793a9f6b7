// SPDX-License-Identifier: Apache-2.0
// Code that is compiled once for each instruction set. scan.h and simd.h come first, because they include the standard
// headers.
#include "scan.h"
#include "simd.h"
#include "panel.h"
#include "block.h"
#include "decay.h"
#include "forward.h"
#include "backward.h"
