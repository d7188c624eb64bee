"""Parameters and FLOPs: against PyTorch's own counters, the release's facts, and by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scratchdet_caffe import gen
from scratchdet_caffe.analysis.read import read_view
from scratchdet_caffe.analysis.summary import summarise
from scratchdet_caffe.analysis.summary_text import summary_text
from scratchdet_caffe.analysis.view import NetView
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine import load

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "models/root_resnet34/voc0712/release-caffe_300/deploy.prototxt"

#: Four nets of the zoo and two of the goldens: fire modules, depthwise convolutions, inner
#: products and groups, a detector of each kind, a deconvolution.
COUNTED = [
    "zoo/prototxt/forresti+SqueezeNet/SqueezeNet_v1.1/deploy.prototxt",
    "zoo/prototxt/shicai+MobileNet-Caffe/mobilenet_deploy.prototxt",
    "zoo/prototxt/BVLC+caffe/models/bvlc_reference_caffenet/deploy.prototxt",
    "zoo/prototxt/chuanqi305+MobileNet-SSD/voc/MobileNetSSD_deploy.prototxt",
    "golden/wholenet/refinedet_a/test.prototxt",
    "golden/wholenet/rootres_a/test.prototxt",
]


@pytest.mark.parametrize("name", COUNTED)
def test_parameters_and_multiply_adds_are_those_that_torch_counts(name: str, shared: Path) -> None:
    """FlopCounterMode knows convolutions and matrix products, two FLOPs per multiply-add.

    It leaves out biases, normalisation, activations and pooling, which ours adds.
    """
    view = read_view(shared / name, pb.TEST)
    (data,) = view.layers[0].node.layer.top
    _, channels, side, _ = view.shapes[0] or ()
    shape = (1, channels, max(64, side // 2), max(64, side // 2))  # as good, and quicker
    view = read_view(shared / name, pb.TEST, inputs={data: shape})
    summary = summarise(view)
    net = load(view.net, phase=pb.TEST, inputs={data: shape})
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net({data: torch.zeros(shape)})
    total = summary.total
    assert 2 * total.multiply_adds == counter.get_total_flops()
    # `parameters` of a module are what gradients may reach; statistics are its buffers.
    assert total.parameters == sum(blob.numel() for blob in net.parameters())
    assert 1 < total.flops / counter.get_total_flops() < 1.06
    weighted = [row for row in summary.layers if row.multiply_adds]
    for row, layer in ((row, view.layers[summary.layers.index(row)]) for row in weighted):
        assert layer.spec is not None
        biases = sum(map(_count, row.tops)) if len(layer.spec.params) > 1 else 0
        assert row.flops == 2 * row.multiply_adds + biases, row.name


def _count(shape: tuple[int, ...] | None) -> int:
    return torch.Size(shape or ()).numel()


def test_counts_of_the_release_net_are_those_of_the_release(shared: Path) -> None:
    path = shared / "golden/nets/scratchdet_root_resnet34_voc/structure.json"
    facts = json.loads(path.read_text())["nets"]["deploy"]
    summary = summarise(read_view(RELEASE))
    assert summary.total.parameters == facts["param_count_without_batchnorm"]
    assert summary.total.parameters + summary.total.statistics == facts["param_count"]
    assert sum(source.priors or 0 for source in summary.sources) == facts["priors"]


def test_counts_by_hand(view: Callable[..., NetView]) -> None:
    summary = summarise(
        view(
            'input: "x" input_shape { dim: 2 dim: 3 dim: 8 dim: 8 }'
            'layer { name: "c" type: "Convolution" bottom: "x" top: "c"'
            " convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }"
            'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }'
            'layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }'
            'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }'
            'layer { name: "p" type: "Pooling" bottom: "c" top: "p"'
            " pooling_param { kernel_size: 2 stride: 2 } }"
            'layer { name: "f" type: "InnerProduct" bottom: "p" top: "f"'
            " inner_product_param { num_output: 10 bias_term: false } }"
        )
    )
    by_name = {row.name: row for row in summary.layers}
    cells = 4 * 8 * 8
    assert [row.flops for row in summary.layers[1:]] == [
        cells * (2 * 27 + 1),
        4 * cells,
        2 * cells,
        cells,
        cells // 4 * 4,
        2 * 64 * 10,
    ]
    assert by_name["c"].parameters == 4 * 27 + 4
    assert (by_name["bn"].parameters, by_name["bn"].statistics) == (0, 9)
    assert by_name["s"].parameters == 8
    assert by_name["f"].multiply_adds == 640
    assert summary.batch == 2
    assert list(summary.stages) == ["backbone 8x8", "backbone 4x4", "classifier"]
    assert summary.stages["backbone 8x8"].layers == 4


def test_shared_parameters_count_once(zoo: Path) -> None:
    path = zoo / "BVLC+caffe/examples/siamese/mnist_siamese_train_test.prototxt"
    summary = summarise(read_view(path, inputs={"pair_data": (64, 2, 28, 28)}))
    # LeNet with 500, 10 and 2 outputs; the second branch shares every blob of the first.
    lenet = 20 * 26 + 50 * 501 + 500 * 801 + 10 * 501 + 2 * 11
    assert summary.total.parameters == lenet


def test_every_net_of_the_zoo_has_a_summary(
    zoo_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "solver" in zoo_file.name:
        pytest.skip("a solver")
    assert gen.main(["--summary", str(zoo_file)]) == 0
    printed = capsys.readouterr().out
    summary = summarise(read_view(zoo_file))
    assert f"{summary.total.parameters:,} parameters" in printed
    for reason in summary.unknown:
        assert reason in printed
    assert gen.main(["--summary", str(zoo_file), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert len(record["layers"]) == summary.total.layers == record["total"]["layers"]


def test_the_tables_say_what_a_reader_looks_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert gen.main(["--summary", str(RELEASE)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (stem,) = [line.split() for line in lines if line.startswith("stem_1 ")]
    assert stem == ["stem_1", "Convolution", "1x64x300x300", "1,728", "311.04", "3", "1"]
    (source,) = [line.split() for line in lines if line.startswith("conv8_2  ") and "SSD" in line]
    assert " ".join(source) == "conv8_2 SSD 5x5 128 996 64 100 213 264 4 100"
    total = next(line for line in lines if "phase TEST" in line)
    assert "24,553,262 parameters (and 17,322 statistics of BatchNorm), 66.92 GFLOPs" in total
    assert "8,892 priors" in total


def test_input_and_phase_options(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(zoo / "BVLC+caffe/models/bvlc_alexnet/train_val.prototxt")
    assert gen.main(["--summary", path, "--phase", "TRAIN", "--input", "data=1,3,451,451"]) == 0
    printed = capsys.readouterr().out
    assert "phase TRAIN" in printed
    assert "1x96x111x111" in printed
    with pytest.raises(gen.UserError, match="--input 'data=1,x': must be BLOB=SIZES"):
        gen.main(["--summary", path, "--input", "data=1,x"])


def test_stages_of_a_refinedet(zoo: Path) -> None:
    folder = zoo / "871864580+RefineDet/models/VGGNet/VOC0712/refinedet_vgg16_320x320"
    summary = summarise(read_view(folder / "train.prototxt"))
    assert list(summary.stages)[-4:] == ["TCB 40x40", "ARM", "ODM", "output"]
    assert [source.head for source in summary.sources] == ["ARM"] * 4 + ["ODM"] * 4
    assert sum(s.flops for s in summary.stages.values()) == pytest.approx(summary.total.flops)
    assert "6,375 priors" in summary_text(summary)
