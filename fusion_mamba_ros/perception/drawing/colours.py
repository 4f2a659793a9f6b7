# SPDX-License-Identifier: Apache-2.0
"""The colours of drawings, as RGB."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

# Bright on thermal and on night RGB images, and distinguishable for colour-blind people (after Okabe and Ito).
PALETTE: tuple[Colour, ...] = (
    (255, 176, 0),
    (86, 200, 255),
    (255, 99, 110),
    (110, 220, 120),
    (215, 130, 255),
    (250, 235, 90),
    (80, 220, 205),
    (255, 140, 200),
)
BACKGROUND: Colour = (18, 20, 24)
MISSING_BACKGROUND: Colour = (30, 33, 39)
TEXT: Colour = (236, 238, 242)
FAINT_TEXT: Colour = (150, 156, 166)
COMPLETE: Colour = (110, 220, 120)
INCOMPLETE: Colour = (255, 176, 0)


def class_colour(label: int) -> Colour:
    """Return the colour of the class with index ``label``. Colours repeat after the last one of the palette."""
    return PALETTE[label % len(PALETTE)]
