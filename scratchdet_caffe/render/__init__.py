"""A job to text: prototxt and the train script, through the templates.

``job_files(job)`` renders the files of a job; ``write_job(job)`` puts them into its folder;
``differing_file(jobs)`` compares the published ones with what is rendered now.
"""

from scratchdet_caffe.render.files import differing_file, job_files, write_job
from scratchdet_caffe.render.templates import render, template_folder

__all__ = ["differing_file", "job_files", "render", "template_folder", "write_job"]
