"""The parity command: two engines that agree, and copies in which one thing was altered."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import scratchdet_caffe
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.comparison.freeze import freeze
from scratchdet_caffe.comparison.inputs import draw_inputs
from scratchdet_caffe.comparison.measure import (
    Tolerance,
    compare,
    error_of,
    first_difference,
    step_error,
)

STANDIN = Path(__file__).parents[1] / "engines" / "standin"
PACKAGE = Path(scratchdet_caffe.__file__).parent
NET = """
name: "net"
layer { name: "data" type: "DummyData" top: "x" top: "label" dummy_data_param {
  shape { dim: 3 dim: 2 dim: 6 dim: 6 } shape { dim: 3 } data_filler { type: "gaussian" std: 1 }
  data_filler { type: "constant" value: 1 } } }
layer { name: "conv/1" type: "Convolution" bottom: "x" top: "y" convolution_param {
  num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "y" top: "y" }
layer { name: "scale" type: "Scale" bottom: "y" top: "y" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
layer { name: "pool" type: "Pooling" bottom: "y" top: "pool" pooling_param {
  pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" }
layer { name: "power" type: "Power" bottom: "y" top: "power" power_param { scale: 2 } }
layer { name: "flat" type: "Flatten" bottom: "power" top: "flat" }
layer { name: "flat2" type: "Flatten" bottom: "pool" top: "flat2" }
layer { name: "both" type: "Concat" bottom: "flat" bottom: "flat2" top: "both" }
layer { name: "ip" type: "InnerProduct" bottom: "both" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = (
    'net: "net.prototxt" base_lr: 0.1 momentum: 0.9 weight_decay: 0.01 lr_policy: "fixed" '
    'max_iter: 99 snapshot_prefix: "nowhere/x" test_iter: 3 test_interval: 1 random_seed: 4'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    return tmp_path


def parity(folder: Path, *arguments: object, status: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "scratchdet_caffe.parity", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def copy_of_the_package(folder: Path) -> Path:
    copy = folder / "copy" / "scratchdet_caffe"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def altered(folder: Path, layer: str, top: str) -> str:
    """Copy the package, let ``layer`` make ``top`` instead; return what parity calls the copy."""
    copy = copy_of_the_package(folder)
    # The family that is imported last.
    (copy / "engine" / "layers" / "zz_altered.py").write_text(
        "from scratchdet_caffe.caffeproto.caffe_pb2 import LayerParameter\n"
        "from scratchdet_caffe.engine.layers.base import layer_class\n"
        f"kind = layer_class(LayerParameter(type={layer!r}))\n"
        "right = kind.forward\n"
        f"kind.forward = lambda self, *bottoms: tuple({top} for top in right(self, *bottoms))\n"
    )
    return f"torch:{copy.parent}"


def test_the_embedded_engine_agrees_with_a_caffe_of_pycaffes_names_alone(folder: Path) -> None:
    said = parity(
        folder, "net.prototxt", "--engines", "caffe,torch", "--solver", "solver.prototxt",
        "--steps", 2, PYTHONPATH=str(STANDIN),
    )  # fmt: skip
    assert f"caffe (caffe 1.0.0-rc3 at {STANDIN}" in said
    assert "Dropout keeps everything here: drop" in said
    assert "x, label: data as engine 'caffe' reads it" in said
    assert re.search(r"^layer +type +whole net +forward +backward +step 1 +step 2$", said, re.M)
    assert re.search(r"^conv/1 +Convolution( +0\.0e\+00){5}$", said, re.M)
    assert said.endswith("no layer differs\n")
    assert sorted(path.name for path in folder.iterdir()) == ["net.prototxt", "solver.prototxt"]


def test_the_layer_that_was_altered_in_a_copy_is_named(folder: Path) -> None:
    """It works in place, and layers before and after it show their values in the same blob."""
    engine = altered(folder, "ReLU", "1.001 * top")
    said = parity(folder, "net.prototxt", "--engines", f"torch,{engine}", status=1)
    assert f"{engine} (caffe " in said
    assert str(folder / "copy") in said
    assert "first layer that differs: 'relu' (ReLU), forward: top 'y@relu' is off by" in said
    assert "0.001 of its largest value" in said


def test_a_gradient_that_was_altered_is_named_where_it_was_computed(folder: Path) -> None:
    """Pool and power read one blob; the gradient of both together would show either wrong."""
    engine = altered(folder, "Pooling", "top + 0.01 * (top - top.detach())")
    said = parity(folder, "net.prototxt", "--engines", f"{engine},torch", status=1)
    assert "first layer that differs: 'pool' (Pooling), backward: gradient of bottom 'y" in said
    assert re.search(r"^power +Power( +0\.0e\+00){3}$", said, re.M)


def test_an_error_stays_with_the_layer_that_makes_it(folder: Path) -> None:
    """Layers behind it see wrong values in a whole pass, and are right by themselves."""
    engine = altered(folder, "ReLU", "1.5 * top")
    said = parity(folder, "net.prototxt", "--engines", f"torch,{engine}", status=1)
    row = re.search(r"^power +Power +(\S+) +(\S+) +(\S+)$", said, re.M)
    assert row is not None
    assert float(row[1]) > 0.1
    assert float(row[2]) == float(row[3]) == 0


def test_an_update_rule_that_was_altered_is_seen_in_the_steps(folder: Path) -> None:
    copy = copy_of_the_package(folder)
    file = copy / "engine" / "updates.py"
    text = file.read_text()
    right = 'p -= h."""\n    _f._foreach_mul_(h, s.momentum)'
    assert text.count(right) == 1
    file.write_text(text.replace(right, right.replace("s.momentum", "0.8 * s.momentum")))
    said = parity(
        folder, "net.prototxt", "--engines", f"torch,torch:{copy.parent}",
        "--solver", "solver.prototxt", status=1,
    )  # fmt: skip
    assert "first layer that differs: 'conv/1' (Convolution), step 2: move of blob" in said


def test_inputs_are_drawn_to_fit_or_given(folder: Path) -> None:
    text = NET[NET.index('layer { name: "conv/1"') :]
    inputs = (
        'layer { name: "in" type: "Input" top: "x" top: "label" input_param { '
        "shape { dim: 3 dim: 2 dim: 6 dim: 6 } shape { dim: 3 } } } "
    )
    (folder / "net.prototxt").write_text(inputs + text)
    engines = ("--engines", "caffe,caffe")
    said = parity(folder, "net.prototxt", *engines, PYTHONPATH=str(STANDIN))
    assert said.endswith("no layer differs\n")
    np.savez(folder / "given.npz", x=np.ones((2, 2, 7, 7)))
    said = parity(folder, "net.prototxt", *engines, "--inputs", "given.npz", status=2)
    assert "given.npz: holds no array 'label'" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--engines", "torch"), "give two"),
        (("--engines", "torch,tensorflow"), "engine 'tensorflow' is none of torch, caffe"),
        (("--engines", "torch,caffe:."), "there is no package 'caffe' in '.'"),
        (("--engines", "torch,torch", "--tolerance", "much"), "not up to three numbers"),
        (("w.caffemodel", "--engines", "torch,torch"), "w.caffemodel: no such file"),
        (("--engines", "torch,torch", "--steps", "0"), "--steps must be at least 1"),
    ],
)
def test_wrong_words_end_in_a_sentence(
    folder: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    said = parity(folder, "net.prototxt", *arguments, status=2)
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_an_engine_that_ends_its_process_is_named_with_its_last_word(folder: Path) -> None:
    np.savez(folder / "data.npz", x=np.ones((1, 2, 2, 2)), label=np.zeros(1))
    text = NET[NET.index('layer { name: "conv/1"') :]
    inputs = (
        'layer { name: "in" type: "Input" top: "x" top: "label" input_param { '
        "shape { dim: 1 dim: 2 dim: 2 dim: 2 } shape { dim: 1 } } } "
    )
    (folder / "net.prototxt").write_text(inputs + text)  # 3 x 3 does not fit into 2 x 2
    said = parity(
        folder, "net.prototxt", "--engines", "caffe,torch", "--inputs", "data.npz",
        status=2, PYTHONPATH=str(STANDIN),
    )  # fmt: skip
    assert re.search(r"engine 'caffe': ended by SIGABRT: .*Check failed: .*'conv/1'", said)


def test_frozen_nets_show_every_value_once_and_every_gradient_alone() -> None:
    frozen = freeze(parse_text(NET, pb.NetParameter), pb.TRAIN)
    assert frozen.recorded == ("x", "label")
    assert frozen.dropout == ("drop",)
    net = frozen.with_inputs({"x": (3, 2, 6, 6), "label": (3,)})
    tops = [top for layer in net.layer for top in layer.top]
    assert len(tops) == len(set(tops))
    read = [bottom for layer in net.layer for bottom in layer.bottom]
    assert len(read) == len(set(read))
    assert {"y", "y@bn", "y@scale", "y@relu", "pool@drop"} <= set(tops)
    made: set[str] = set()
    for layer in net.layer:
        assert made.issuperset(layer.bottom), layer.name
        made.update(layer.top)


def test_errors_are_shares_of_the_largest_value() -> None:
    one = np.array([1.0, -4.0, np.nan, np.inf], np.float32)
    two = np.array([1.0, -3.0, np.nan, np.inf], np.float32)
    assert error_of("x", one, one).share == 0
    assert error_of("x", one, two).share == 0.25
    assert error_of("x", one, np.nan_to_num(two)).share == np.inf
    assert error_of("x", one, two[:2]).share == np.inf
    assert error_of("x", one[:0], two[:0]).share == 0


def test_moves_are_compared_not_the_weights_that_hide_them() -> None:
    before = np.full(5, 0.5, np.float32)
    good, bad = before - np.float32(1e-3), before - np.float32(1.2e-3)
    assert step_error("w", before, (good, good)).share == 0
    assert step_error("w", before, (good, bad)).share == pytest.approx(1 / 6, rel=1e-3)
    nothing = np.zeros(5, np.float32)
    assert step_error("w", nothing, (nothing, nothing)).share == 0


def test_forward_comes_before_backward_and_backward_starts_at_the_loss() -> None:
    text = """
    layer { name: "a" type: "Power" bottom: "x" top: "a" }
    layer { name: "b" type: "Power" bottom: "a" top: "b" }"""
    net = parse_text(text, pb.NetParameter)
    one = {f"{kind}/{blob}": np.ones(2) for kind in ("data", "diff") for blob in "xab"}
    wrong_gradients = {**one, "diff/x": np.zeros(2), "diff/a": np.zeros(2)}
    found = first_difference(compare(net, one, wrong_gradients, 0), Tolerance())
    assert found is not None
    assert (found.layer, found.when) == ("b", "backward")
    wrong_too = {**wrong_gradients, "data/b": np.zeros(2)}
    found = first_difference(compare(net, one, wrong_too, 0), Tolerance())
    assert found is not None
    assert (found.layer, found.when) == ("b", "forward")
    assert first_difference(compare(net, one, one, 0), Tolerance()) is None


def test_what_one_engine_lacks_or_has_in_another_shape_differs() -> None:
    net = parse_text('layer { name: "a" type: "Bias" bottom: "x" top: "a" }', pb.NetParameter)
    one = {"data/a": np.ones(2), "state/a/0": np.ones(3), "step0/a/0": np.ones(3)}
    one |= {"step1/a/0": np.zeros(3)}
    for two, what in (
        (one | {"data/a": np.ones((1, 2))}, "top 'a': shape (2,) and (1, 2)"),
        (one | {"state/a/1": np.ones(1)}, "blob 1 after the pass: shape (0,) and (1,)"),
        (one | {"step1/a/0": np.zeros(1)}, "move of blob 0: shape (3,) and (1,)"),
    ):
        found = first_difference(compare(net, one, two, 1), Tolerance())
        assert found is not None
        assert found.error.what == what


def test_boxes_are_drawn_for_the_loss_that_knows_fewest_classes() -> None:
    """RefineDet's two losses read the same ground truth; the ARM's knows one class."""
    text = """
    layer { name: "arm" type: "MultiBoxLoss" bottom: "loc" bottom: "conf" bottom: "prior"
      bottom: "label" top: "arm" multibox_loss_param { num_classes: 2 } }
    layer { name: "odm" type: "MultiBoxLoss" bottom: "loc" bottom: "conf" bottom: "prior"
      bottom: "label" top: "odm" multibox_loss_param { num_classes: 21 } }"""
    net = parse_text(text, pb.NetParameter)
    given = {"label": (1, 1, 6, 8), "x": (2, 3)}
    arrays = draw_inputs(net, given, {"loc": (2, 40)}, seed=1)
    rows = arrays["label"].reshape(-1, 8)
    assert set(rows[:, 0]) == {0, 1}
    assert (rows[:, 1] == 1).all()
    assert (rows[:, 3:5] < rows[:, 5:7]).all()
    assert rows[:, 3:7].min() >= 0
    assert rows[:, 3:7].max() <= 1
    again = draw_inputs(net, given, {"loc": (2, 40)}, seed=1)
    np.testing.assert_array_equal(arrays["x"], again["x"])
