"""The published nets as files, with an index of them: all that ``models/`` holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.experiment import Entry, Job
from scratchdet_caffe.render.files import job_files

INDEX = "README.md"
HEAD = """\
# Published nets

Rendered by `python -m scratchdet_caffe.gen --published`; do not edit them. `gen --check` tells
whether they are what the generator renders now. Priors, parameters and FLOPs are those of the
deploy net (batch 1, one multiply-add counts as two, every layer counted; BatchNorm's statistics are
no parameters). Job folders hold `train.prototxt`, `test.prototxt`, `deploy.prototxt`,
`solver.prototxt`, `train.sh` and `job.json`.

| net and folder | options of gen | priors | parameters | GFLOPs |
|---|---|---|---|---|
"""


def published_files(entries: Iterable[Entry], out: str) -> dict[Path, str]:
    """Return the text of every file below ``out`` by path: jobs and the index."""
    files, rows = {}, []
    for entry in entries:
        job = entry.job(out)
        texts = job_files(job)
        files.update({Path(job.folder) / name: text for name, text in texts.items()})
        rows.append(_row(entry, job, texts["deploy.prototxt"], out))
    files[Path(out) / INDEX] = HEAD + "".join(rows)
    return files


def _row(entry: Entry, job: Job, deploy: str, out: str) -> str:
    shapes = infer(parse_text(deploy, pb.NetParameter, f"{job.folder}/deploy.prototxt"), pb.TEST)
    priors = sum(source.priors for source in job.sources)
    folder = Path(job.folder).relative_to(out).as_posix()
    options = " ".join(job.options)
    return (
        f"| [{entry.row}]({folder}) | `{options}` | {priors:,} | {shapes.parameters:,} "
        f"| {shapes.flops / 1e9:.2f} |\n"
    )
