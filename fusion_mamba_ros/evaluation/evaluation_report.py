# SPDX-License-Identifier: Apache-2.0
"""Write an evaluation report: `metrics.json`, the detections of each mode, the worst frames and an HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_mamba_ros.datasets.problems import UnreadableImageError
from fusion_mamba_ros.evaluation import html_page
from fusion_mamba_ros.evaluation.box_matching import confusion_matrix
from fusion_mamba_ros.evaluation.calibration_error import BINS, LOWEST_SCORE
from fusion_mamba_ros.evaluation.detection_metrics import DetectionMetrics
from fusion_mamba_ros.evaluation.evaluate import PROTOCOL, EvaluatedDataset, Evaluation, ModeEvaluation
from fusion_mamba_ros.evaluation.metrics_charts import confusion_chart, precision_recall_chart
from fusion_mamba_ros.evaluation.worst_frames import draw_frame, worst_frames
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.image_writer import write_image
from fusion_mamba_ros.perception.thresholds import Thresholds

_COLUMNS = ("mAP", "mAP50", "mAP75", "mAP_small", "mAP_medium", "mAP_large", "mAR")


def write_report(
    evaluation: Evaluation,
    dataset: EvaluatedDataset,
    out: Path,
    *,
    subject: dict[str, Any],
    worst_count: int = 12,
) -> Path:
    """Write the report to the folder ``out`` and return the path of the HTML page.

    ``subject`` describes what was evaluated (checkpoint, data, split, ...). It is the first entry of `metrics.json` and
    of the page. The images of the worst frames are read from ``dataset``. Files: `metrics.json`, `report.html`,
    `detections_MODE.npz`, `worst/MODE/`.
    """
    out.mkdir(parents=True, exist_ok=True)
    content = {**subject, **evaluation.to_dict()}
    write_atomically(out / "metrics.json", f"{json.dumps(content, indent=2)}\n".encode())
    sections = [html_page.note(", ".join(f"{name} {value}" for name, value in subject.items()))]
    sections += _tables(evaluation)
    sections += _charts(evaluation)
    for mode, item in evaluation.modes.items():
        item.results.save(out / f"detections_{mode.value}.npz")
        sections += _worst(item, dataset, out / "worst" / mode.value, worst_count)
    if evaluation.skipped:
        sections += [
            html_page.heading(f"{len(evaluation.skipped)} pairs could not be read"),
            html_page.table(("pair", "reason"), [list(entry) for entry in evaluation.skipped.items()]),
        ]
    page = out / "report.html"
    write_atomically(page, html_page.page("Detection metrics", sections).encode("utf-8", "backslashreplace"))
    return page


def _tables(evaluation: Evaluation) -> list[str]:
    modes = {mode.value: item for mode, item in evaluation.modes.items()}
    first = next(iter(modes.values()))
    differ = len({item.metrics.images for item in modes.values()}) > 1
    sections = [
        html_page.heading("Modes"),
        # If some pairs lack a modality, the modes are measured on different pairs.
        _metrics_table("mode", {name: item.metrics for name, item in modes.items()}, counts=differ),
        html_page.note(
            f"COCO average precision over {first.metrics.images} pairs with {first.metrics.boxes} true boxes; "
            f"detections from score {PROTOCOL.score_threshold:g}, NMS at IoU {PROTOCOL.nms_threshold:g}, up to "
            f"{PROTOCOL.max_detections} for each image (pycocotools' own summary reads mAP at 100). Small, medium and "
            "large: true boxes below 32², up to 96² and above 96² pixels of the RGB image. A dash: no such box."
        ),
        html_page.heading("Classes"),
        _class_table(modes, evaluation.unknown_boxes),
    ]
    if evaluation.unknown_boxes:
        sections.append(html_page.note(f"{unknown_boxes_sentence(evaluation)}: rows without a value."))
    if first.groups:
        rows = {f"{name}, {group}": item.groups[group] for name, item in modes.items() for group in item.groups}
        sections += [html_page.heading("Groups"), _metrics_table("mode, group", rows, mark_best=False, counts=True)]
    points = [
        (
            name,
            *(f"{value:.3f}" for value in (point.score_threshold, point.precision, point.recall, point.f1)),
            "–" if item.calibration_error is None else f"{item.calibration_error:.3f}",
            f"{item.predict_ms:.1f}",
        )
        for name, item in modes.items()
        if (point := item.operating_point) is not None
    ]
    sections += [
        html_page.heading("Best operating point"),
        html_page.table(
            ("mode", "score_threshold", "precision", "recall", "F1", "calibration error", "ms per pair"), points
        ),
        html_page.note(
            "The score threshold with the highest F1 over all classes, IoU 0.5: a first value for a robot. "
            f"Calibration error: mean distance of score and precision over {BINS} intervals of score, detections from "
            f"score {LOWEST_SCORE:g} after NMS at IoU {Thresholds().nms_threshold:g}. "
            "Milliseconds: preprocessing, network and NMS on the machine of this evaluation, in batches."
        ),
    ]
    return sections


def _metrics_table(
    first_column: str, rows: dict[str, DetectionMetrics], *, mark_best: bool = True, counts: bool = False
) -> str:
    values = [[metrics.to_dict()[column] for column in _COLUMNS] for metrics in rows.values()]
    best = []
    if mark_best and len(values) > 1:
        for column in range(len(_COLUMNS)):
            known = [(row[column], index) for index, row in enumerate(values) if row[column] is not None]
            best += [(max(known)[1], column + 1)] if known else []
    header = [first_column, *(name.replace("_", " ") for name in _COLUMNS), *(("pairs", "boxes") if counts else ())]
    cells = [
        [name, *map(_percent, row), *((str(metrics.images), str(metrics.boxes)) if counts else ())]
        for (name, metrics), row in zip(rows.items(), values, strict=True)
    ]
    return html_page.table(header, cells, best=best)


def _class_table(modes: dict[str, ModeEvaluation], unknown_boxes: dict[str, int]) -> str:
    first = next(iter(modes.values())).metrics.per_class
    header = ["class", "boxes", *(f"{name} {what}" for name in modes for what in ("AP", "AP50"))]
    rows = []
    for class_name, item in first.items():
        of_modes = [mode.metrics.per_class[class_name] for mode in modes.values()]
        cells = [_percent(value) for metrics in of_modes for value in (metrics.ap, metrics.ap50)]
        rows.append([class_name, str(item.boxes), *cells])
    rows += [[name, str(count), *["–"] * 2 * len(modes)] for name, count in unknown_boxes.items()]
    return html_page.table(header, rows)


def _charts(evaluation: Evaluation) -> list[str]:
    curves, matrices = [], []
    for mode, item in evaluation.modes.items():
        curves.append(html_page.chart(precision_recall_chart(mode.value, item.metrics.per_class)))
        if item.operating_point is not None:
            threshold = item.operating_point.score_threshold
            counts = confusion_matrix(item.results, threshold)
            title = f"{mode.value}, score from {threshold:.2f}"
            matrices.append(html_page.chart(confusion_chart(title, counts, item.results.class_names)))
    return [
        html_page.heading("Precision and recall at IoU 0.5"),
        html_page.row(curves),
        html_page.heading("Confusion at the best operating point"),
        html_page.note(
            "Rows: true class. Columns: detected class. The column 'nothing' counts misses, "
            "the row 'nothing' counts false alarms."
        ),
        html_page.row(matrices),
    ]


def _worst(item: ModeEvaluation, dataset: EvaluatedDataset, folder: Path, count: int) -> list[str]:
    point = item.operating_point
    if point is None or not count:
        return []
    index_of = {name: index for index, name in enumerate(dataset.names)}
    images: list[str] = []
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.jpg"):
        old.unlink()
    for rank, frame in enumerate(worst_frames(item.results, point.score_threshold, count), 1):
        try:
            sample = dataset[index_of[frame.result.name]]
        except UnreadableImageError:
            continue
        drawn = draw_frame(sample, frame, item.results.class_names)
        name = f"{rank:02d}_{frame.result.name.replace('/', '_')}.jpg"
        write_image(folder / name, drawn)
        images.append(html_page.figure(drawn, frame.caption))
    return [
        html_page.heading(f"Worst frames, {item.results.mode.value}"),
        html_page.note(
            f"Most misses and false alarms at score {point.score_threshold:.2f}, IoU 0.5. Green: found; red: missed; "
            "orange: false alarm, where nothing is labelled. The same boxes on RGB (left) and thermal (right)."
        ),
        *images,
    ]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def unknown_boxes_sentence(evaluation: Evaluation) -> str:
    """Return a sentence on the true boxes whose class the detector lacks, or an empty string without such boxes."""
    unknown = evaluation.unknown_boxes
    if not unknown:
        return ""
    counted = next(iter(evaluation.modes.values())).metrics.boxes
    names = ", ".join(f"{name} {count}" for name, count in unknown.items())
    missed = sum(unknown.values())
    lost = f"{missed} of {missed + counted} true boxes"
    return f"{lost} are of classes that the checkpoint lacks and are not measured ({names})"


def summary_lines(evaluation: Evaluation) -> Sequence[tuple[str, ...]]:
    """Return one row per mode for a terminal table.

    Columns: mode, mAP, mAP50, mAP75, mAP of small, medium and large boxes, mAR, calibration error. All metrics are in
    percent.
    """
    return [
        (
            mode.value,
            *(_percent(item.metrics.to_dict()[column]) for column in _COLUMNS),
            _percent(item.calibration_error),
        )
        for mode, item in evaluation.modes.items()
    ]
