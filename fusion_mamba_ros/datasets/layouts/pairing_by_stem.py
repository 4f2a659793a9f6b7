# SPDX-License-Identifier: Apache-2.0
"""Match the images and the label file of each pair by stem, not by position in a list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from fusion_mamba_ros.datasets.annotation import Annotation
from fusion_mamba_ros.datasets.image_files import check_complete
from fusion_mamba_ros.datasets.pair_record import LayoutListing, PairRecord
from fusion_mamba_ros.datasets.problems import DatasetError, Problem, ProblemKind, UnreadableImageError
from fusion_mamba_ros.perception.modality import modality_named


def list_pairs(
    stems: Iterable[str],
    images_of: Mapping[str, Mapping[str, list[Path]]],
    read_annotation: Callable[[str], Annotation],
    group_of: Callable[[str], str],
) -> LayoutListing:
    """Return the pairs of ``stems`` whose images and label file exist and are complete.

    ``images_of`` maps each modality of the dataset to its image files by stem. ``read_annotation`` must raise
    ``DatasetError`` or ``OSError`` if a label file is missing or unreadable. Each pair that is left out is reported as
    a problem with its stem.
    """
    listing = LayoutListing()
    seen: set[str] = set()
    for stem in stems:
        if stem in seen:
            listing.problems.append(Problem(ProblemKind.DUPLICATED, stem, "twice in the split: used once"))
            continue
        seen.add(stem)
        files = {name: by_stem.get(stem, []) for name, by_stem in images_of.items()}
        found = _find_pair(stem, files, read_annotation)
        if isinstance(found, Problem):
            listing.problems.append(found)
        else:
            images, annotation = found
            listing.records.append(PairRecord(stem, images, annotation, group_of(stem)))
    return listing


def image_stems(images_of: Mapping[str, Mapping[str, list[Path]]]) -> dict[str, set[str]]:
    """Return the stems of the image files of each modality, by readable names such as `RGB image`."""
    return {f"{modality_named(name).title} image": set(files) for name, files in images_of.items()}


def _find_pair(
    stem: str, files: Mapping[str, list[Path]], read_annotation: Callable[[str], Annotation]
) -> tuple[dict[str, Path], Annotation] | Problem:
    for modality, found in files.items():
        title = modality_named(modality).title
        if not found:
            return Problem(ProblemKind.UNMATCHED, stem, f"no {title} image: pair left out")
        if len(found) > 1:
            names = ", ".join(file.name for file in found)
            return Problem(ProblemKind.DUPLICATED, stem, f"several {title} images ({names}): pair left out")
    images = {modality: found[0] for modality, found in files.items()}
    try:
        for path in images.values():
            check_complete(path)
        return images, read_annotation(stem)
    except FileNotFoundError as error:
        detail = f"no label file {str(error.filename)!r}: pair left out (an image without objects has an empty one)"
        return Problem(ProblemKind.UNMATCHED, stem, detail)
    except UnreadableImageError as error:
        return Problem(ProblemKind.UNREADABLE, stem, f"{error}: pair left out")
    except (DatasetError, OSError) as error:
        return Problem(ProblemKind.UNREADABLE, stem, f"label file unreadable: {error}: pair left out")
