# SPDX-License-Identifier: Apache-2.0
"""Say how many pairs of each source an epoch has, and which classes a source does not label."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fusion_mamba_ros.datasets import PairedDataset
from fusion_mamba_ros.datasets.source_traits import SourceTraits
from fusion_mamba_ros.perception.modality import in_order, modality_named
from fusion_mamba_ros.training.epoch_selection import EpochSelection


def describe_sources(dataset: PairedDataset, seed: int) -> list[str]:
    """Return one sentence for each source of ``dataset`` if there are several; an empty list for one plain source."""
    pairs: Counter[SourceTraits] = Counter(dataset.sources)
    if len(pairs) == 1 and next(iter(pairs)).labelled is None:
        return []
    selection = EpochSelection.of(dataset.sources, seed)
    sentences = []
    for source, total in pairs.items():
        names = in_order({name for name, of in _modalities(dataset) if of == source})
        images = " + ".join(modality_named(name).title for name in names)
        count = f"{total}" if source.ratio is None or selection is None else f"{selection.count(source)} of {total}"
        ratio = "" if source.ratio is None else f", ratio {source.ratio:g}"
        text = f"{source.name or 'data'}: {count} images ({images}) in each epoch{ratio}"
        if source.labelled is not None:
            others = [name for name in dataset.class_names if name not in source.labelled]
            text += f"; {', '.join(others)} not labelled, not counted as background"
        sentences.append(text)
    return sentences


def source_counts(dataset: PairedDataset) -> list[dict[str, Any]]:
    """Return name, number of pairs and ratio of each source, for the metadata of a checkpoint."""
    pairs = Counter(dataset.sources)
    return [
        {"name": source.name, "pairs": total, **({} if source.ratio is None else {"ratio": source.ratio})}
        for source, total in pairs.items()
    ]


def _modalities(dataset: PairedDataset) -> set[tuple[str, SourceTraits]]:
    return {
        (name, source)
        for names, source in zip(dataset.modalities_of_each, dataset.sources, strict=True)
        for name in names
    }
