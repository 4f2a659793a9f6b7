# SPDX-License-Identifier: Apache-2.0
"""Open one split of a dataset folder or of a YAML dataset file."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fusion_mamba_ros.datasets.annotation import Annotation
from fusion_mamba_ros.datasets.dataset_file import DatasetDescription, FolderSource, describe_dataset
from fusion_mamba_ros.datasets.layouts import Layout, find_layout
from fusion_mamba_ros.datasets.layouts.split_lists import SPLITS
from fusion_mamba_ros.datasets.pair_record import PairRecord, Record
from fusion_mamba_ros.datasets.paired_dataset import PairedDataset
from fusion_mamba_ros.datasets.problems import DatasetError, Problem, count_problems
from fusion_mamba_ros.datasets.source_traits import SourceTraits, traits_of
from fusion_mamba_ros.synthetic.procedural_scene import CLASS_NAMES

log = logging.getLogger(__name__)

_NAMES_SHOWN = 3


def open_dataset(
    path: str | Path,
    split: str,
    *,
    classes: Sequence[str] | None = None,
    validate_on_test: bool = False,
    refuse_problems: bool = False,
) -> PairedDataset:
    """Return the pairs of ``split`` (train, val, test or all) of a dataset folder or a YAML dataset file.

    Pair names are `folder/stem`. ``classes`` overrides the class list. Boxes of other classes are dropped when read.
    Pairs with problems are left out, counted in a warning and listed in ``problems``. With ``refuse_problems``, they
    raise an error instead. Raises ``DatasetError`` with the remedy if the folder, layout or split does not exist, a
    pair is in two splits, a test split would be used for validation without ``validate_on_test``, or no pair is usable.
    """
    description = describe_dataset(path)
    if split not in (*SPLITS, "all"):
        raise DatasetError(f"split is {split!r}: expected {', '.join(SPLITS)} or all")
    allow_test = validate_on_test or description.validate_on_test
    layouts = [(source, find_layout(source.path, source.format)) for source in description.folders]
    if not description.allow_overlap:
        _refuse_overlap(layouts, split)
    class_names = tuple(classes or description.classes or _common_classes(layouts, description))
    records: list[Record] = []
    problems: list[Problem] = []
    missing: list[str] = []
    for source, layout in layouts:
        own_splits = _own_splits(source, layout, split, allow_test)
        if not own_splits:
            missing.append(f"{source.name} (it has {', '.join(layout.splits())})")
        listings = [layout.list_split(own_split) for own_split in own_splits]
        listed = [record for listing in listings for record in listing.records]
        records += _taken_in(listed, source, layout, class_names)
        found = [problem for listing in listings for problem in listing.problems]
        problems += [replace(problem, name=f"{source.name}/{problem.name}") for problem in found]
    for name, scene in description.scenes:
        for own_split in SPLITS if split == "all" else (split,):
            records += scene.records(own_split, name, class_names)
    if split == "all":
        records = list({record.name: record for record in records}.values())
    _report(path, split, records, problems, missing, refuse_problems)
    return PairedDataset(records, class_names, problems)


def unlisted_problems(path: str | Path) -> list[Problem]:
    """Return a problem for each file that lacks a partner and is in no split.

    Raises ``DatasetError`` if the dataset cannot be opened.
    """
    return [
        replace(problem, name=f"{source.name}/{problem.name}")
        for source in describe_dataset(path).folders
        for problem in find_layout(source.path, source.format).unlisted_problems()
    ]


def _own_splits(source: FolderSource, layout: Layout, split: str, allow_test: bool) -> tuple[str, ...]:
    """Return the folder's own splits that serve as ``split``: none, one, or all of them for ``all``."""
    available = layout.splits()
    if split == "all":
        return available
    own = source.splits.get(split, split)
    if own is None:
        return ()
    if split in source.splits and own not in available:
        raise DatasetError(f"dataset {source.name!r} has no split {own!r} for {split}: it has {', '.join(available)}")
    if split == "val" and own == "val" and own not in available and "test" in available and allow_test:
        own = "test"
    if split == "val" and own == "test" and not allow_test:
        raise DatasetError(
            f"dataset {source.name!r} would be validated on its test split: list some training pairs in val.txt, "
            "validate on a part of them with 'train --val-fraction 0.1', or ask for it with 'validate_on_test: true'"
        )
    return (own,) if own in available else ()


def _refuse_overlap(layouts: Iterable[tuple[FolderSource, Layout]], split: str) -> None:
    """Raise ``DatasetError`` if a pair of ``split`` is also in another split.

    The other split may come from the same entry or from another entry of the YAML file with the same folder.
    """
    uses_of: dict[tuple[Path, str], set[tuple[str, str]]] = {}
    for source, layout in layouts:
        available = layout.splits()
        for role in SPLITS:
            own_split = source.splits.get(role, role)
            for name in layout.split_names(own_split) if own_split is not None and own_split in available else ():
                assert own_split is not None  # there are no names without a split
                uses_of.setdefault((source.path.resolve(), name), set()).add((role, own_split))
    shared: list[str] = []
    for (_, name), uses in uses_of.items():
        roles = {role for role, _ in uses}
        # If val is mapped to test on purpose, they share all names. `validate_on_test` controls this case.
        on_purpose = roles == {"val", "test"} and len({own_split for _, own_split in uses}) == 1
        if len(roles) > 1 and (split in roles or split == "all") and not on_purpose:
            shared.append(f"{name} ({' and '.join(sorted(roles))})")
    if shared:
        names = ", ".join(shared[:_NAMES_SHOWN]) + (", ..." if len(shared) > _NAMES_SHOWN else "")
        raise DatasetError(
            f"{len(shared)} pairs are in more than one split: {names}: take them out of one list, or set "
            "'allow_overlap: true'"
        )


def _common_classes(layouts: Sequence[tuple[FolderSource, Layout]], description: DatasetDescription) -> tuple[str, ...]:
    """Return the class list that the folders share.

    Raises ``DatasetError`` if the class lists differ: then the YAML file must define the classes.
    """
    lists = {
        tuple(source.rename.get(name, name) for name in layout.class_names()): source for source, layout in layouts
    }
    if description.scenes and not lists:
        return CLASS_NAMES
    if len(lists) > 1:
        texts = "; ".join(f"{source.name}: {', '.join(names)}" for names, source in lists.items())
        raise DatasetError(f"the datasets have different classes ({texts}): add 'classes' to the YAML file")
    return next(iter(lists))


def _taken_in(
    listed: Sequence[PairRecord], source: FolderSource, layout: Layout, class_names: Sequence[str]
) -> list[Record]:
    """Return the records with the names, classes and traits of the joined dataset.

    Raises ``DatasetError`` if there are boxes, but none has a class of ``class_names``, or if a labelled class of the
    source is unknown.
    """
    canonical = {name.lower(): name for name in class_names}
    rename = {old.lower(): new for old, new in source.rename.items()}

    def class_of(name: str) -> str:
        name = rename.get(name.lower(), name)
        return canonical.get(name.lower(), name)

    renamed = [
        Annotation(item.boxes, tuple(map(class_of, item.classes)), item.normalised)
        for item in (record.annotation for record in listed)
    ]
    found = {name for annotation in renamed for name in annotation.classes}
    traits = _traits(source, [class_of(name) for name in layout.class_names()], found, class_names)
    records: list[Record] = []
    for record, annotation in zip(listed, renamed, strict=True):
        name = f"{source.name}/{record.name}"
        homographies = {key: matrix for key, matrix in source.homographies.items() if key in record.modalities}
        records.append(replace(record, name=name, annotation=annotation, homographies=homographies, source=traits))
    if found and not found & set(class_names):
        raise DatasetError(
            f"no box of dataset {source.name!r} has a class of the list {', '.join(class_names)}: its label files have "
            f"{', '.join(sorted(found)[:8])}: name these in 'classes', or map them with 'rename'"
        )
    return records


def _traits(
    source: FolderSource, own_classes: Sequence[str], found: Collection[str], class_names: Sequence[str]
) -> SourceTraits:
    if source.labelled is None:
        return traits_of(source.name, source.ratio, own_classes, found, class_names)
    unknown = [name for name in source.labelled if name not in class_names]
    if unknown:
        raise DatasetError(
            f"labelled classes of dataset {source.name!r} include {', '.join(unknown)}: use names of the class list, "
            f"{', '.join(class_names)}"
        )
    return traits_of(source.name, source.ratio, source.labelled, (), class_names)


def _report(
    path: str | Path,
    split: str,
    records: Sequence[Record],
    problems: Sequence[Problem],
    missing: Sequence[str],
    refuse_problems: bool,
) -> None:
    shown = "; ".join(map(str, problems[:_NAMES_SHOWN]))
    if problems and refuse_problems:
        raise DatasetError(f"dataset {str(path)!r}, {split}: {len(problems)} problems, the first: {shown}")
    if not records:
        absent = f": no such split in {', '.join(missing)}: name another, or list its pairs in {split}.txt"
        absent += ", or validate on training pairs with 'train --val-fraction 0.1'" if split == "val" else ""
        why = f": {shown}" if problems else absent if missing else ""
        raise DatasetError(f"dataset {str(path)!r} has no usable pair in split {split!r}{why}")
    if problems:
        counts = ", ".join(f"{count} {kind}" for kind, count in count_problems(problems).items())
        log.warning("%s, %s: %s; the first: %s ('fusion-mamba check-data' lists all)", path, split, counts, shown)
    if missing:
        log.info("%s: nothing for split %s in %s", path, split, ", ".join(missing))
