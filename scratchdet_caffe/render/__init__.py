"""A job to text: prototxt and the train script, through the templates.

``job_files(job)`` renders the files of a job; ``write_job(job)`` puts them into its folder;
``published_files(entries, out)`` renders all that is published, for ``write_files`` and
``differing_file``.
"""

from scratchdet_caffe.render.files import (
    differing_file,
    job_files,
    write_classifier,
    write_files,
    write_job,
)
from scratchdet_caffe.render.published import published_files
from scratchdet_caffe.render.templates import render, template_folder

__all__ = [
    "differing_file",
    "job_files",
    "published_files",
    "render",
    "template_folder",
    "write_classifier",
    "write_files",
    "write_job",
]
