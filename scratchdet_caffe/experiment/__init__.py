"""What to run: archs, heads, datasets and recipes as data, and the job that derives the rest.

``plan(...)`` turns words (arch, dataset, recipe, size, overrides) into a frozen `Job`; nothing
here knows how a prototxt looks.
"""

from scratchdet_caffe.experiment.archs import ARCHS, Arch, Stage, Stem
from scratchdet_caffe.experiment.body import Block, Body, Level
from scratchdet_caffe.experiment.datasets import DATASETS, Dataset, find_dataset
from scratchdet_caffe.experiment.heads import HEADS, Head
from scratchdet_caffe.experiment.job import Job
from scratchdet_caffe.experiment.plan import plan
from scratchdet_caffe.experiment.published import PUBLISHED, Entry
from scratchdet_caffe.experiment.recipe import Recipe
from scratchdet_caffe.experiment.recipe_files import load_recipe, recipe_names
from scratchdet_caffe.experiment.sources import Source

__all__ = [
    "ARCHS",
    "DATASETS",
    "HEADS",
    "PUBLISHED",
    "Arch",
    "Block",
    "Body",
    "Dataset",
    "Entry",
    "Head",
    "Job",
    "Level",
    "Recipe",
    "Source",
    "Stage",
    "Stem",
    "find_dataset",
    "load_recipe",
    "plan",
    "recipe_names",
]
