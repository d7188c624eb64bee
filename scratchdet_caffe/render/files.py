"""The files of a job, and the comparison with those already on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from scratchdet_caffe.experiment import Job
from scratchdet_caffe.experiment.classifier import Classifier
from scratchdet_caffe.files import write_text
from scratchdet_caffe.render.templates import render

_RENDERED = (
    "train.prototxt",
    "test.prototxt",
    "deploy.prototxt",
    "solver.prototxt",
    "train.sh",
)


def job_files(job: Job) -> dict[str, str]:
    """Return the text of every file of ``job`` by file name; all but ``job.json`` are rendered."""
    files = {name: render(f"{name}.j2", job=job) for name in _RENDERED}
    files["job.json"] = json.dumps(job.record(), indent=2) + "\n"
    return files


def write_job(job: Job) -> None:
    """Write the files of ``job`` into its folder.

    Raises:
        UserError: The folder cannot be written.
    """
    write_files({Path(job.folder) / name: text for name, text in job_files(job).items()})


def write_files(files: Mapping[Path, str]) -> None:
    """Write each text to its path; scripts can be run.

    Raises:
        UserError: A folder cannot be written.
    """
    for path, text in files.items():
        write_text(path, text)
        if path.suffix == ".sh":
            path.chmod(0o755)


def write_classifier(net: Classifier) -> None:
    """Write ``train.prototxt`` and ``solver.prototxt`` of ``net`` into its folder.

    Raises:
        UserError: The folder cannot be written.
    """
    folder = Path(net.folder)
    write_text(folder / "train.prototxt", render("classifier.prototxt.j2", net=net))
    write_text(folder / "solver.prototxt", render("classifier_solver.prototxt.j2", net=net))


def differing_file(files: Mapping[Path, str]) -> Path | None:
    """Return the first path that is missing or holds another text; None if none is."""
    for path, text in files.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            return path
    return None
