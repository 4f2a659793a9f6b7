# SPDX-License-Identifier: Apache-2.0
"""Match the RGB picture, the thermal picture and the label file of each pair by stem, never by position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ..annotation import Annotation
from ..image_files import check_complete
from ..pair_record import LayoutListing, PairRecord
from ..problems import DatasetError, Problem, ProblemKind, UnreadableImageError


def list_pairs(
    stems: Iterable[str],
    rgb: Mapping[str, list[Path]],
    thermal: Mapping[str, list[Path]],
    read_annotation: Callable[[str], Annotation],
    group_of: Callable[[str], str],
) -> LayoutListing:
    """Return the pairs among ``stems`` whose two pictures and label file are all there and complete.

    ``rgb`` and ``thermal`` hold the picture files by stem; ``read_annotation`` raises ``DatasetError`` or ``OSError``
    where a label file is missing or unreadable. Whatever is left out is a problem under its name.
    """
    listing = LayoutListing()
    seen: set[str] = set()
    for stem in stems:
        if stem in seen:
            listing.problems.append(Problem(ProblemKind.DUPLICATED, stem, "twice in the split: used once"))
            continue
        seen.add(stem)
        found = _find_pair(stem, rgb.get(stem, []), thermal.get(stem, []), read_annotation)
        if isinstance(found, Problem):
            listing.problems.append(found)
        else:
            rgb_file, thermal_file, annotation = found
            listing.records.append(PairRecord(stem, rgb_file, thermal_file, annotation, group_of(stem)))
    return listing


def _find_pair(
    stem: str, rgb: list[Path], thermal: list[Path], read_annotation: Callable[[str], Annotation]
) -> tuple[Path, Path, Annotation] | Problem:
    for side, files in (("RGB", rgb), ("thermal", thermal)):
        if not files:
            return Problem(ProblemKind.UNMATCHED, stem, f"no {side} picture: pair left out")
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            return Problem(ProblemKind.DUPLICATED, stem, f"several {side} pictures ({names}): pair left out")
    try:
        check_complete(rgb[0])
        check_complete(thermal[0])
        return rgb[0], thermal[0], read_annotation(stem)
    except FileNotFoundError as error:
        detail = f"no label file {str(error.filename)!r}: pair left out (an empty file says that nothing is to be seen)"
        return Problem(ProblemKind.UNMATCHED, stem, detail)
    except UnreadableImageError as error:
        return Problem(ProblemKind.UNREADABLE, stem, f"{error}: pair left out")
    except (DatasetError, OSError) as error:
        return Problem(ProblemKind.UNREADABLE, stem, f"label file unreadable: {error}: pair left out")
