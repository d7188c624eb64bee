"""A net small enough to know what it must find."""

from __future__ import annotations

from pathlib import Path

import pytest

import scratchdet_caffe.pycaffe as caffe

# Finds bright cells of 8 x 8 pixels: the score of a prior is the mean of its cell.
BODY = """
layer { name: "cells" type: "Pooling" bottom: "data" top: "cells"
  pooling_param { pool: AVE kernel_size: 8 stride: 8 } }
layer { name: "conf" type: "Convolution" bottom: "cells" top: "conf"
  convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "loc" type: "Convolution" bottom: "cells" top: "loc"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "conf_perm" type: "Permute" bottom: "conf" top: "conf_perm"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "loc_perm" type: "Permute" bottom: "loc" top: "loc_perm"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "conf_flat" type: "Flatten" bottom: "conf_perm" top: "conf_flat" }
layer { name: "loc_flat" type: "Flatten" bottom: "loc_perm" top: "loc_flat" }
layer { name: "prior" type: "PriorBox" bottom: "cells" bottom: "data" top: "prior"
  prior_box_param { min_size: 8 step: 8 variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 } }
layer { name: "found" type: "DetectionOutput" bottom: "loc_flat" bottom: "conf_flat"
  bottom: "prior" top: "found" include { phase: TEST }
  detection_output_param { num_classes: 3 code_type: CENTER_SIZE confidence_threshold: 0.3
    keep_top_k: 5 nms_param { nms_threshold: 0.45 top_k: 50 }
    save_output_param { output_directory: "never" } } }
"""
DEPLOY = 'input: "data" input_shape { dim: 1 dim: 3 dim: 32 dim: 32 }' + BODY
TEST = (
    """
layer { name: "data" type: "AnnotatedData" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mean_value: 9 } }
layer { name: "data" type: "AnnotatedData" top: "data" top: "label" include { phase: TEST }
  transform_param { mean_value: 0 force_color: true
    resize_param { height: 32 width: 32 resize_mode: WARP interp_mode: NEAREST } }
  data_param { source: "nowhere" batch_size: 2 } }
"""
    + BODY
    + """
layer { name: "loss" type: "MultiBoxLoss" bottom: "loc_flat" bottom: "conf_flat" bottom: "prior"
  bottom: "label" top: "loss" include { phase: TRAIN } }
layer { name: "quiet" type: "Split" bottom: "label" top: "again" }
layer { name: "counted" type: "DetectionEvaluate" bottom: "found" bottom: "again" top: "counted" }
"""
)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two prototxts, and weights that take a cell for class 1 by its blue, 2 by its green."""
    folder = tmp_path_factory.mktemp("net")
    (folder / "deploy.prototxt").write_text(DEPLOY)
    (folder / "test.prototxt").write_text(TEST)
    net = caffe.Net(str(folder / "deploy.prototxt"), caffe.TEST)
    for layer in ("conf", "loc"):
        for blob in net.params[layer]:
            blob.data[...] = 0
    net.params["conf"][0].data[1, 0] = net.params["conf"][0].data[2, 1] = 1 / 255
    net.save(str(folder / "net.caffemodel"))
    return folder
