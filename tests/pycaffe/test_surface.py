"""The names that pycaffe programs use, one by one: SSD's branch, and what came later."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.pycaffe.alias import as_caffe

MODULE = """
Net SGDSolver NesterovSolver AdaGradSolver RMSPropSolver AdaDeltaSolver AdamSolver get_solver
set_mode_cpu set_mode_gpu set_device set_random_seed layer_type_list Layer TRAIN TEST
Classifier Detector io layers params NetSpec to_proto __version__ proto draw coord_map net_spec
init_log log Timer has_nccl set_multiprocess solver_count set_solver_count solver_rank
set_solver_rank _caffe pycaffe
"""
OBJECTS = {
    "Net": """blobs params layers layer_dict inputs outputs top_names bottom_names
        blob_loss_weights forward backward forward_all forward_backward_all reshape copy_from
        share_with save save_hdf5 load_hdf5 clear_param_diffs set_input_arrays _forward _backward
        _blobs _blob_names _blob_names_index _blob_loss_weights _layer_names _inputs _outputs
        _bottom_ids _top_ids _batch _set_input_arrays""",
    "Blob": "data diff shape num channels height width count reshape",
    "Solver": """net test_nets iter step solve restore snapshot add_callback apply_update param
        share_weights""",
    "Layer": "setup reshape forward backward param_str param_str_ blobs type phase",
    "NetSpec": "tops keys vals update to_proto",
    "Transformer": """inputs transpose channel_swap raw_scale mean input_scale preprocess
        deprocess set_transpose set_channel_swap set_raw_scale set_mean set_input_scale""",
    "Classifier": "predict image_dims crop_dims transformer",
    "Detector": "detect_windows detect_selective_search crop transformer context_pad",
}
SUBMODULES = {
    "io": """load_image resize_image oversample blobproto_to_array array_to_blobproto
        arraylist_to_blobprotovector_str blobprotovector_str_to_arraylist array_to_datum
        datum_to_array Transformer caffe_pb2""",
    "draw": "draw_net draw_net_to_file",
    "coord_map": "coord_map_from_to crop",
    "net_spec": "NetSpec Top Function layers params to_proto assign_proto param_name_dict",
    "proto.caffe_pb2": "NetParameter SolverParameter BlobProto Datum AnnotatedDatum LabelMap",
    "classifier": "Classifier",
    "detector": "Detector",
}
#: As Caffe's wrappers have them, so that calls by position and by name mean the same.
SIGNATURES = {
    "Net.__init__": "network_file phase level stages weights",
    "Net.forward": "blobs start end inputs",
    "Net.backward": "diffs start end seeds",
    "Net.forward_all": "blobs inputs",
    "Net.forward_backward_all": "blobs diffs arrays",
    "Net.set_input_arrays": "data labels",
    "SGDSolver.add_callback": "on_start on_gradients_ready",
    "Classifier.__init__": """model_file pretrained_file image_dims mean input_scale raw_scale
        channel_swap""",
    "Classifier.predict": "inputs oversample",
    "Detector.__init__": """model_file pretrained_file mean input_scale raw_scale channel_swap
        context_pad""",
    "io.load_image": "filename color",
    "io.resize_image": "im new_dims interp_order",
    "io.oversample": "images crop_dims",
    "io.blobproto_to_array": "blob return_diff",
    "io.array_to_blobproto": "arr diff",
    "io.array_to_datum": "arr label",
    "draw.draw_net": "caffe_net rankdir ext phase",
    "draw.draw_net_to_file": "caffe_net filename rankdir phase",
    "coord_map.crop": "top_from top_to",
}
NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {
  num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "Reduction" bottom: "y" top: "loss" loss_weight: 2 }
"""


@pytest.fixture
def solver() -> caffe.SGDSolver:
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text('net: "net.prototxt" base_lr: 1 lr_policy: "fixed"')
    return caffe.SGDSolver("solver.prototxt")


@pytest.fixture
def things(solver: caffe.SGDSolver) -> dict[str, object]:
    return {
        "Net": solver.net,
        "Blob": solver.net.blobs["x"],
        "Solver": solver,
        "Layer": caffe.Layer(),
        "NetSpec": caffe.NetSpec(),
        "Transformer": caffe.io.Transformer({"x": (1, 3, 4, 4)}),
        "Classifier": caffe.Classifier,
        "Detector": caffe.Detector,
    }


def test_every_name_is_there(things: dict[str, object]) -> None:
    missing = [name for name in MODULE.split() if not hasattr(caffe, name)]
    instance_only = {"image_dims", "crop_dims", "transformer", "context_pad", "blobs"}
    for kind, names in OBJECTS.items():
        is_class = isinstance(things[kind], type) or kind == "Layer"
        wanted = set(names.split()) - (instance_only if is_class else set())
        missing += [f"{kind}.{name}" for name in wanted if not hasattr(things[kind], name)]
    with as_caffe():
        for module, names in SUBMODULES.items():
            found = importlib.import_module(f"caffe.{module}")
            missing += [f"{module}.{name}" for name in names.split() if not hasattr(found, name)]
    assert not missing


@pytest.mark.parametrize("name", SIGNATURES)
def test_parameters_have_caffes_names_and_order(name: str) -> None:
    thing = caffe
    for part in name.split("."):
        thing = getattr(thing, part)
    parameters = [p for p in inspect.signature(thing).parameters if p != "self"]
    assert parameters == SIGNATURES[name].split()


def test_layers_and_blobs_by_number(solver: caffe.SGDSolver) -> None:
    net = solver.net
    assert net._layer_names == ["in", "ip", "loss"]
    assert net._blob_names == ["x", "y", "loss"]
    assert (net._inputs, net._outputs, net._blob_loss_weights) == ([0], [2], [0, 0, 2])
    assert (net._bottom_ids(1), net._top_ids(1)) == ([0], [1])
    assert net._blobs[net._blob_names_index["y"]] is net.blobs["y"]
    assert type(net.params["ip"]) is caffe._caffe.BlobVec
    net.blobs["x"].data[...] = 1
    loss = net._forward(0, 2)
    assert loss == pytest.approx(2 * float(net.blobs["loss"].data), rel=1e-6)
    net._backward(2, 0)
    np.testing.assert_array_equal(net.params["ip"][1].diff, [4] * 4)
    batches = list(net._batch({"x": np.ones((5, 3))}))
    assert [batch["x"].shape for batch in batches] == [(2, 3)] * 3


def test_the_solvers_nets_are_nets(solver: caffe.SGDSolver) -> None:
    solver.net.save("w.caffemodel")
    for net in (
        caffe.Net("net.prototxt", caffe.TEST, 0, None, "w.caffemodel"),
        caffe.Net("net.prototxt", phase=caffe.TEST, weights="w.caffemodel"),
        caffe.Net(network_file="net.prototxt", phase=caffe.TEST, weights="w.caffemodel"),
        caffe.Net("net.prototxt", "w.caffemodel", caffe.TEST),
    ):
        assert isinstance(net, caffe.Net)
        np.testing.assert_array_equal(net.params["ip"][0].data, solver.net.params["ip"][0].data)


def test_arrays_that_somebody_holds_live_on_through_a_reshape(solver: caffe.SGDSolver) -> None:
    net = solver.net
    weights, gradient = net.params["ip"][0].data, net.params["ip"][0].diff
    net.blobs["x"].reshape(6, 3)
    net.reshape()
    net.blobs["x"].data[...] = 1
    y = net.blobs["y"].data
    net.forward()
    assert y.shape == (6, 4) and y.any()
    net.backward()
    np.testing.assert_array_equal(gradient, np.full((4, 3), 12))
    weights[...] = 0
    net.forward()
    assert not y.any()


def test_clock_and_log(capsys: pytest.CaptureFixture[str]) -> None:
    timer = caffe.Timer()
    timer.start()
    timer.stop()
    assert timer.ms >= 0
    assert (caffe.has_nccl(), caffe.solver_count(), caffe.solver_rank()) == (False, 1, 0)
    caffe.init_log(0, True)
    try:
        caffe.log("a line of mine")
    finally:
        caffe.process.LOG.handlers.clear()
    assert capsys.readouterr().err.endswith("] a line of mine\n")
