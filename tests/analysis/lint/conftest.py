"""A small job without a fault, for tests to put faults into: an SSD on two maps of 32 pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from scratchdet_caffe.analysis.lint import Finding, lint
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text, write_prototxt

RATES = "param { lr_mult: 1 decay_mult: 1 }"
STATISTICS = "param { lr_mult: 0 decay_mult: 0 } " * 3
MEAN = "mean_value: 104 mean_value: 117 mean_value: 123 force_color: true"
RESIZE = "resize_param { resize_mode: WARP height: 32 width: 32 }"
CROP = "batch_sampler { sampler { min_scale: 0.3 } sample_constraint { min_jaccard_overlap: 0.5 } }"

TRAIN_DATA = f"""
layer {{ name: "data" type: "AnnotatedData" top: "data" top: "label" include {{ phase: TRAIN }}
  transform_param {{ {MEAN} {RESIZE} mirror: true
    distort_param {{ hue_prob: 0.5 }} expand_param {{ prob: 0.5 }} emit_constraint {{ }} }}
  data_param {{ source: "trainval_lmdb" batch_size: 16 backend: LMDB }}
  annotated_data_param {{ {CROP} label_map_file: "labelmap.prototxt" }} }}"""
TEST_DATA = f"""
layer {{ name: "data" type: "AnnotatedData" top: "data" top: "label" include {{ phase: TEST }}
  transform_param {{ {MEAN} {RESIZE} }}
  data_param {{ source: "test_lmdb" batch_size: 5 backend: LMDB }}
  annotated_data_param {{ batch_sampler {{ }} label_map_file: "labelmap.prototxt" }} }}"""
DEPLOY_DATA = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }"""


def convolution(name: str, bottom: str, outputs: int, stride: int = 1, relu: bool = True) -> str:
    """A 3x3 convolution with BatchNorm and Scale, and ReLU in place if asked for."""
    text = f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {RATES}
  convolution_param {{ num_output: {outputs} bias_term: false pad: 1 kernel_size: 3
    stride: {stride} weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "{name}_bn" type: "BatchNorm" bottom: "{name}" top: "{name}" {STATISTICS} }}
layer {{ name: "{name}_scale" type: "Scale" bottom: "{name}" top: "{name}"
  scale_param {{ bias_term: true }} }}"""
    if relu:
        text += f'layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}'
    return text


def level(source: str, size: int, step: int) -> str:
    """Predictions of 3 classes for 4 priors on each cell of ``source``."""
    text = ""
    for kind, outputs in (("loc", 16), ("conf", 12)):
        name = f"{source}_{kind}"
        text += convolution(name, source, outputs, relu=False)
        text += f"""
layer {{ name: "{name}_perm" type: "Permute" bottom: "{name}" top: "{name}_perm"
  permute_param {{ order: 0 order: 2 order: 3 order: 1 }} }}
layer {{ name: "{name}_flat" type: "Flatten" bottom: "{name}_perm" top: "{name}_flat" }}"""
    return f"""{text}
layer {{ name: "{source}_prior" type: "PriorBox" bottom: "{source}" bottom: "data"
  top: "{source}_prior" prior_box_param {{ min_size: {size} max_size: {2 * size}
    aspect_ratio: 2 flip: true step: {step} variance: 0.1 }} }}"""


def concat(name: str, part: str, axis: int) -> str:
    bottoms = " ".join(f'bottom: "{source}_{part}"' for source in ("a", "b"))
    return f"""
layer {{ name: "{name}" type: "Concat" {bottoms} top: "{name}" concat_param {{ axis: {axis} }} }}"""


BODY = (
    convolution("stem", "data", 8, stride=2)
    + convolution("a", "stem", 8, stride=2)
    + convolution("b", "a", 8, stride=2)
    + level("a", 6, 8 // 2)
    + level("b", 12, 8)
    + concat("loc", "loc_flat", 1)
    + concat("conf", "conf_flat", 1)
    + concat("prior", "prior", 2)
)
LOSS = """
layer { name: "loss" type: "MultiBoxLoss" bottom: "loc" bottom: "conf" bottom: "prior"
  bottom: "label" top: "loss" include { phase: TRAIN }
  propagate_down: true propagate_down: true propagate_down: false propagate_down: false
  loss_param { normalization: VALID }
  multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE } }"""
DETECTIONS = """
layer { name: "scores" type: "Reshape" bottom: "conf" top: "scores"
  reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "softmax" type: "Softmax" bottom: "scores" top: "softmax" softmax_param { axis: 2 } }
layer { name: "flat" type: "Flatten" bottom: "softmax" top: "flat" }
layer { name: "detections" type: "DetectionOutput" bottom: "loc" bottom: "flat" bottom: "prior"
  top: "detections" include { phase: TEST }
  detection_output_param { num_classes: 3 code_type: CENTER_SIZE keep_top_k: 10
    save_output_param { num_test_image: 20 } } }"""
EVALUATE = """
layer { name: "eval" type: "DetectionEvaluate" bottom: "detections" bottom: "label" top: "eval"
  include { phase: TEST } detection_evaluate_param { num_classes: 3 } }"""
SOLVER = """
train_net: "train.prototxt" test_net: "test.prototxt" test_iter: 4 test_interval: 100
eval_type: "detection" ap_version: "11point"
type: "SGD" base_lr: 0.05 lr_policy: "multistep" gamma: 0.1 stepvalue: 100 stepvalue: 200
max_iter: 300 momentum: 0.9 weight_decay: 0.0005 snapshot: 100 snapshot_prefix: "job"
"""
LABEL_MAP = """
item { name: "none_of_the_above" label: 0 display_name: "background" }
item { name: "cat" label: 1 display_name: "cat" } item { name: "dog" label: 2 display_name: "dog" }
"""


@dataclass
class JobFiles:
    """The messages of the job's files, to be changed and written."""

    train: pb.NetParameter
    test: pb.NetParameter
    deploy: pb.NetParameter
    solver: pb.SolverParameter

    def write(self, folder: Path) -> None:
        for name in ("train", "test", "deploy", "solver"):
            write_prototxt(folder / f"{name}.prototxt", getattr(self, name))
        (folder / "labelmap.prototxt").write_text(LABEL_MAP)


@pytest.fixture
def job() -> JobFiles:
    """The job as it should be."""
    return JobFiles(
        parse_text(f'name: "job" {TRAIN_DATA}{BODY}{LOSS}', pb.NetParameter),
        parse_text(f'name: "job" {TEST_DATA}{BODY}{DETECTIONS}{EVALUATE}', pb.NetParameter),
        parse_text(f'name: "job" {DEPLOY_DATA}{BODY}{DETECTIONS}', pb.NetParameter),
        parse_text(SOLVER, pb.SolverParameter),
    )


@pytest.fixture
def lint_job(
    job: JobFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[Finding]]:
    """Write ``job`` as it is by then, go to its folder and lint it."""

    def run(path: str = ".", gpus: int | None = None) -> list[Finding]:
        job.write(tmp_path)
        monkeypatch.chdir(tmp_path)
        return lint(path, (), gpus)

    return run
