"""What was found, from files: VOC's folder, COCO's results, ILSVRC's lines, our detections.json."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import (
    Results,
    read_coco_results,
    read_ilsvrc_file,
    read_results,
    read_voc_folder,
)
from scratchdet_caffe.metrics.coco_files import table_of
from scratchdet_caffe.metrics.results import with_detections
from scratchdet_caffe.scoring.truth import GroundTruth


@dataclass(frozen=True)
class Found:
    """Detections beside the ground truth.

    Attributes:
        results: Both.
        coco: The detections as COCO's JSON has them, if they were read from that.
    """

    results: Results
    coco: list[dict[str, Any]] | None = None


def read_found(path: Path, truth: GroundTruth | None) -> Found:
    """Read the detections at ``path`` and put them beside ``truth``.

    Args:
        path: A folder of files ``<prefix><class>.txt``; COCO's results JSON; a text file of
            ILSVRC's lines; or the ``detections.json`` of a run, which has a truth of its own.
        truth: What is there; None if ``path`` says it.

    Raises:
        UserError: It is nothing of that kind, or its images or classes are not those of the
            truth.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder of detections")
    if truth is not None:
        _check_names("ground truth", truth.results)
    if path.is_file() and path.suffix == ".json" and _is_ours(path):
        return Found(_ours(path, truth))
    if truth is None:
        raise UserError(f"{path}: detections need --ground-truth to be scored against")
    results, names = truth.results, _numbers(truth)
    if path.is_dir():
        return Found(with_detections(results, *read_voc_folder(path, names, results.classes)))
    if path.suffix == ".json":
        rows = read_coco_results(path, truth.image_ids, truth.category_ids)
        image, table = table_of(rows, truth.image_ids, truth.category_ids)
        return Found(with_detections(results, image, table), rows)
    return Found(with_detections(results, *read_ilsvrc_file(path, names, results.classes)))


def _numbers(truth: GroundTruth) -> dict[str, int]:
    """The numbers of the images by name; of COCO's, by id, too, which our own files have there."""
    by_name = {image.name: number for number, image in enumerate(truth.results.images)}
    by_id = {str(own): number for number, own in enumerate(truth.image_ids if truth.coco else ())}
    clear = all(by_name[both] == by_id[both] for both in by_name.keys() & by_id.keys())
    return {**by_id, **by_name} if clear else by_name


def _check_names(what: str | Path, results: Results) -> None:
    name, count = Counter(image.name for image in results.images).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{what}: image '{name}' stands in it {count} times, but files name the image of a "
            "detection, not its place"
        )


def _is_ours(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(64).lstrip().startswith(b"{")


def _ours(path: Path, truth: GroundTruth | None) -> Results:
    """A run's own file, held against another truth if one is given."""
    results = read_results(path)
    if truth is None:
        return results
    mine, theirs = results.classes, truth.results.classes
    if mine != theirs:
        strange = sorted(set(mine) ^ set(theirs)) or ["their order"]
        raise UserError(f"{path}: its classes are not those of the ground truth: {strange[0]}")
    number_of = {image.name: number for number, image in enumerate(truth.results.images)}
    names = {image.name for image in results.images}
    _check_names(path, results)
    for name in sorted(names ^ number_of.keys()):
        raise UserError(
            f"{path}: image '{name}' is "
            + ("not in the image set" if name in names else "missing: it was made on another set")
        )
    image = [number_of[own.name] for own in results.images for _ in own.detections]
    tables = [own.detections for own in results.images]
    return with_detections(
        truth.results, np.array(image, np.int64), np.concatenate([np.empty((0, 6)), *tables])
    )


def doubts(results: Results) -> list[str]:
    """Return a phrase for each sign that the boxes of a file are not what is read from them."""
    boxes = np.concatenate([np.empty((0, 4)), *(own.detections[:, 2:] for own in results.images)])
    backwards = int((boxes[:, 2:] - boxes[:, :2] + 1 < 0).any(axis=1).sum())
    found = []
    if backwards:
        found.append(
            f"{backwards} of {len(boxes)} boxes end before they begin: VOC's and ILSVRC's lines "
            "have xmin, ymin, xmax, ymax; COCO's results have x, y, width, height"
        )
    if len(boxes) and np.abs(boxes).max() <= 2:
        found.append("no box reaches beyond pixel 2: boxes are read in pixels, not normalised")
    return found
