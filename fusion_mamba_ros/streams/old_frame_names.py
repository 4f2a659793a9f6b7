# SPDX-License-Identifier: Apache-2.0
"""Accept the old names of `Camera` and `Frame.camera` for one release, with a warning."""

from __future__ import annotations

import functools
import warnings
from typing import Any, TypeVar

_Class = TypeVar("_Class", bound=type[Any])


def old_name(module: str, name: str, camera: type[Any]) -> type[Any]:
    """Return ``camera`` for the name ``Side`` of ``module``, with a warning; otherwise raise ``AttributeError``."""
    if name != "Side":
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn("Side is deprecated: use Camera", DeprecationWarning, stacklevel=3)
    return camera


def accept_side(frame: _Class) -> _Class:
    """Return the class ``frame`` with ``side`` as an old name of its argument and attribute ``camera``."""
    create = frame.__init__

    @functools.wraps(create)
    def create_with_side(self: Any, *values: Any, **named: Any) -> None:
        if "side" in named:
            warnings.warn("Frame(side=...) is deprecated: use camera", DeprecationWarning, stacklevel=2)
            named["camera"] = named.pop("side")
        create(self, *values, **named)

    def side(self: Any) -> Any:
        """Return ``camera``, the new name."""
        warnings.warn("Frame.side is deprecated: use Frame.camera", DeprecationWarning, stacklevel=2)
        return self.camera

    frame.__init__ = create_with_side
    frame.side = property(side)
    return frame
