"""What lies in the folder of a job: its description, its log, its results."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text
from scratchdet_caffe.metrics import Results, read_results
from scratchdet_caffe.report.log import CaffeLog, read_log

FILES = (
    "train.prototxt",
    "test.prototxt",
    "deploy.prototxt",
    "solver.prototxt",
    "job.json",
    "train.log",
    "results/metrics.json",
    "results/detections.json",
)
METRICS = (
    "map", "rules", "iou_threshold", "images", "classes", "weights", "engine", "device", "date",
)  # fmt: skip


@dataclass(frozen=True)
class JobFolder:
    """A job's folder as read; what is not there (yet) is None or empty.

    Attributes:
        path: The folder.
        record: ``job.json``.
        log: ``train.log``.
        metrics: ``results/metrics.json``.
        results: ``results/detections.json``.
        no_log: Why ``train.log`` is there and yet not read: results do without it.
    """

    path: Path
    record: dict[str, Any]
    log: CaffeLog | None
    metrics: dict[str, Any]
    results: Results | None
    no_log: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label, the background first; empty if nothing says them."""
        if self.results:
            return self.results.classes
        return tuple(self.record.get("dataset", {}).get("classes", ()))

    @property
    def files(self) -> list[str]:
        """Those of `FILES` that are there."""
        return [name for name in FILES if (self.path / name).exists()]

    @property
    def commands(self) -> list[str]:
        """The commands that made the job, its weights and its results."""
        folder = shlex.quote(self.path.as_posix())
        python = "python -m scratchdet_caffe"
        made = [f"{python}.gen {_options(self.record['asked'])}"] if "asked" in self.record else []
        if self.log:
            made.append(f"{python}.train --solver {folder}/solver.prototxt")
        if self.metrics:
            made.append(f"{python}.evaluate {folder}")
        return [*made, f"{python}.report {folder}"]


def read_job(path: str | os.PathLike[str]) -> JobFolder:
    """Read the folder ``path``.

    Raises:
        UserError: No such folder, nothing of a job in it, or a file of it other than the log
            is damaged.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder of a job, as gen makes it")
    log, no_log = _read_log(folder / "train.log")
    detections = folder / "results/detections.json"
    job = JobFolder(
        path=folder,
        record=_read_json(folder / "job.json"),
        log=log,
        metrics=_read_json(folder / "results/metrics.json", METRICS),
        results=read_results(detections) if detections.exists() else None,
        no_log=no_log,
    )
    if not job.files:
        raise UserError(f"{folder}: no job in it: neither {', '.join(FILES)}")
    return job


def _read_log(path: Path) -> tuple[CaffeLog | None, str]:
    """The log, if there is a sound one; why not, if there is another."""
    try:
        return (read_log(path) if path.exists() else None), ""
    except UserError as error:
        return None, str(error)


def _read_json(path: Path, needed: Iterable[str] = ()) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: not a JSON object")
    if missing := [key for key in needed if key not in found]:
        raise UserError(f"{path}: '{missing[0]}' is missing; run evaluate again")
    return found


def _options(asked: dict[str, Any]) -> str:
    """What was asked of gen, as its command line."""
    words = []
    for name, value in asked.items():
        option = {"name": "job"}.get(name, name.replace("_", "-"))
        for each in value if isinstance(value, list) else [value]:
            words += [f"--{option}", shlex.quote(str(each))]
    return " ".join(words)
