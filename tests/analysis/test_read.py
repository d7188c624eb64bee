"""What the tools make of any prototxt: kinds told apart, phases chosen, unknown shapes named."""

from __future__ import annotations

from pathlib import Path

import pytest

from scratchdet_caffe import gen
from scratchdet_caffe.analysis.read import (
    NetFile,
    SolverFile,
    read_net_file,
    read_prototxt_of_any_kind,
    read_view,
)
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError

DIALECTS = {"smooth_l1_loss_param", "roi_pooling_param"}


def test_every_net_of_the_zoo_can_be_viewed(zoo_file: Path) -> None:
    file = read_prototxt_of_any_kind(zoo_file)
    assert isinstance(file, SolverFile) == ("solver" in zoo_file.name)
    if isinstance(file, NetFile):
        view = read_view(zoo_file)
        assert view.layers
        # Whatever is not known comes from a layer that says why.
        assert (None in view.shapes) == bool(view.unknown)
        assert not file.dialect or any(word in file.dialect for word in DIALECTS)


def test_fields_of_another_caffe_are_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text('layer { name: "a" type: "ROIPooling"\n roi_pooling_param { pooled_h: 6 } }')
    file = read_net_file(path)
    assert file.dialect.startswith(f"{path}:2:2: LayerParameter has no field 'roi_pooling_param'")
    assert file.net.layer[0].type == "ROIPooling"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (" \n", "is empty"),
        ('layer { name: "a"\n type: 3 }', ":2:8: Expected string"),
        ("base_lr: 0.1\nmax_itr: 3", ":2:1: SolverParameter has no field 'max_itr'"),
    ],
)
def test_what_is_no_prototxt_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_prototxt_of_any_kind(path)
    assert sentence in str(caught.value)


def test_a_solver_is_no_net(tmp_path: Path) -> None:
    path = tmp_path / "solver.prototxt"
    path.write_text("base_lr: 0.1")
    with pytest.raises(UserError, match="is a solver, but a net is needed here"):
        read_view(path)


def test_the_phase_is_the_one_that_the_net_is_made_for(zoo: Path) -> None:
    ssd = zoo / "shangzw12+ssd"
    assert read_view(ssd / "models/VGGNet/VOC0712/SSD_300x300/train.prototxt").phase == pb.TRAIN
    test = ssd / "jobs/VGGNet/VOC0712/SSD_300x300_score/test.prototxt"
    assert read_view(test).phase == pb.TEST
    both = zoo / "BVLC+caffe/models/bvlc_alexnet/train_val.prototxt"
    assert read_view(both).phase == pb.TEST
    # Its test nets exist with a stage only.
    autoencoder = zoo / "BVLC+caffe/examples/mnist/mnist_autoencoder.prototxt"
    assert read_view(autoencoder).phase == pb.TRAIN
    assert read_view(autoencoder, pb.TEST, ["test-on-test"]).phase == pb.TEST
    with pytest.raises(UserError, match="layer 'data' makes it with --phase TRAIN"):
        read_view(autoencoder, pb.TEST)


def test_unknown_inputs_are_named_and_can_be_given(zoo: Path) -> None:
    lenet = zoo / "BVLC+caffe/examples/mnist/lenet_train_test.prototxt"
    (reason,) = read_view(lenet).unknown
    assert reason == (
        "layer 'mnist' (Data): only its data knows the shape of 'data'; "
        "give it with --input data=N,C,H,W"
    )
    view = read_view(lenet, inputs={"data": (1, 1, 28, 28)})
    assert not view.unknown
    assert view.shapes[view.graph.last["ip2"]] == (1, 10)
    assert view.shapes[view.graph.last["label"]] == (1,)  # labels follow into the other batch
    with pytest.raises(UserError, match=r"no blob 'date' \(did you mean 'data'\?\)"):
        read_view(lenet, inputs={"date": (1, 1, 28, 28)})


def test_shapes_behind_a_layer_of_another_caffe_can_be_given(zoo: Path) -> None:
    path = zoo / "rbgirshick+py-faster-rcnn/models/pascal_voc/ZF/faster_rcnn_end2end/test.prototxt"
    view = read_view(path)
    assert view.shapes[view.graph.last["conv5"]] == (1, 256, 15, 15)
    assert view.shapes[view.graph.last["cls_prob"]] is None
    view = read_view(path, inputs={"rois": (300, 5), "roi_pool_conv5": (300, 256, 6, 6)})
    assert view.shapes[view.graph.last["cls_prob"]] == (300, 21)


def test_a_net_that_no_caffe_takes_is_still_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Summary and picture show what there is, and the linter what is wrong."""
    path = tmp_path / "net.prototxt"
    path.write_text(
        'input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }'
        'layer { name: "a" type: "Convolution" bottom: "x" top: "a" convolution_param {'
        " num_output: 4 kernel_size: 3 } }"
        'layer { name: "b" type: "Convolution" bottom: "a" top: "b" convolution_param {'
        " num_output: 4 } }"
        'layer { name: "p" type: "Pooling" bottom: "b" top: "p" }'
    )
    assert gen.main(["--summary", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "112 parameters" in printed
    assert "layer 'b' (Convolution): kernel needs one entry" in printed
    assert gen.main(["--draw", str(path), str(tmp_path / "net.svg")]) == 0
    assert "Convolution, refused" in (tmp_path / "net.svg").read_text()
    assert gen.main(["--lint", str(path)]) == 1
