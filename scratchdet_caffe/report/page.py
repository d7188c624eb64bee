"""One HTML page about a job that carries everything in itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.metrics import AREA, ELEVEN_POINT, ImageResult, score
from scratchdet_caffe.report.colours import class_colour
from scratchdet_caffe.report.curves import (
    as_data_uri,
    map_curve,
    precision_recall,
    training_curve,
)
from scratchdet_caffe.report.html import render_html
from scratchdet_caffe.report.job import JobFolder
from scratchdet_caffe.report.pictures import draw
from scratchdet_caffe.report.words import duration

Picture = tuple[ImageResult, npt.NDArray[np.uint8]]
MIN_SCORE = 0.5  # of the boxes that are drawn


def render_page(job: JobFolder, pictures: Sequence[Picture] = (), at: Path | None = None) -> str:
    """Return the HTML of the report on ``job``.

    Args:
        job: The folder, as read; parts that are missing are left out of the page.
        pictures: Images to draw, each with its pixels ``(H, W, C)``.
        at: Where the page will lie, for its links; None for the job's folder.
    """
    figures = _figures(job)
    return render_html(
        "page.html",
        title=_title(job),
        facts=_facts(job),
        headline=_headline(job),
        figures=figures,
        metrics=job.metrics,
        class_rows=_class_rows(job),
        eleven_point=ELEVEN_POINT,
        drawings=[draw(image, pixels, job.classes, MIN_SCORE) for image, pixels in pictures],
        legend=[(name, class_colour(index)) for index, name in enumerate(job.classes[1:])],
        min_score=MIN_SCORE,
        commands=job.commands,
        links=_links(job, at),
        fatal=job.log.fatal if job.log else None,
        no_log=job.no_log,
    )


def _title(job: JobFolder) -> str:
    if "arch" in job.record:
        return f"{job.record['arch']} on {job.record.get('dataset', {}).get('name', '?')}"
    return job.path.resolve().name


def _facts(job: JobFolder) -> list[tuple[str, str]]:
    """What the experiment is, for the line under the title."""
    record, facts = job.record, []
    asked, recipe = record.get("asked", {}), record.get("recipe", {})
    if "recipe" in asked:
        facts.append(("recipe", asked["recipe"]))
    if "size" in recipe:
        facts.append(("input", f"{recipe['size']} × {recipe['size']}"))
    if "solver" in recipe:
        facts.append(("solver", f"{recipe['solver']['type']}, lr {recipe['solver']['base_lr']:g}"))
    if "data" in recipe:
        facts.append(("batch", str(recipe["data"]["batch_size"])))
    if job.log:
        if len(job.log.loss.iteration):
            facts.append(("iterations", f"{job.log.loss.iteration[-1]:,}"))
        facts.append(("training took", duration(job.log.seconds)))
    if job.metrics:
        facts.append(("test images", f"{job.metrics['images']:,}"))
    return facts


def _headline(job: JobFolder) -> list[tuple[str, str, str]]:
    """Number, name and explanation of each mean AP."""
    if not job.metrics:
        return []
    rules = job.metrics["rules"]
    return [
        ("–" if value is None else f"{value:.3f}", f"mAP, {name}", rules.get(name, ""))
        for name, value in job.metrics["map"].items()
    ]


def _figures(job: JobFolder) -> dict[str, str]:
    figures = {}
    if job.log and len(job.log.loss.value):
        figures["training"] = as_data_uri(training_curve(job.log))
    if job.log and any(len(s.value) > 1 for s in job.log.test.get(0, {}).values()):
        figures["map"] = as_data_uri(map_curve(job.log, job.classes))
    if job.results:
        threshold = job.metrics.get("iou_threshold", 0.5)
        figures["precision_recall"] = as_data_uri(
            precision_recall(score(job.results, threshold=threshold))
        )
    return figures


def _class_rows(job: JobFolder) -> list[dict[str, Any]]:
    """Classes of ``metrics.json`` with their colours, for the table."""
    return [
        {"name": name, "colour": class_colour(index), "bar": own["ap"].get(AREA) or 0.0, **own}
        for index, (name, own) in enumerate(job.metrics.get("classes", {}).items())
    ]


def _links(job: JobFolder, at: Path | None) -> list[tuple[str, str]]:
    """Name and address, relative to the page, of each file of the job."""
    base = (at or job.path / "report.html").resolve().parent
    return [
        (name, Path(os.path.relpath((job.path / name).resolve(), base)).as_posix())
        for name in job.files
    ]
