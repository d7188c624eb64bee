"""SSD: the nets that differ from SSD300 on VOC, whose structure is stated here from the facts."""

from __future__ import annotations

import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.experiment import plan
from scratchdet_caffe.render import job_files

SIZES_512 = {
    "voc0712": [35.84, 76.8, 153.6, 230.4, 307.2, 384, 460.8, 537.6],
    "coco": [20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72],
}


def files_of(dataset: str, size: int) -> dict[str, str]:
    return job_files(plan("vgg16", dataset, "ssd", size=size))


def net_of(dataset: str, size: int, net: str = "deploy") -> pb.NetParameter:
    return parse_text(files_of(dataset, size)[f"{net}.prototxt"], pb.NetParameter)


@pytest.mark.parametrize("dataset", SIZES_512)
def test_ssd512_has_seven_sources(dataset: str) -> None:
    net = net_of(dataset, 512)
    boxes = [layer for layer in net.layer if layer.type == "PriorBox"]
    assert [layer.bottom[0] for layer in boxes] == [
        *("conv4_3_norm", "fc7", "conv6_2", "conv7_2", "conv8_2", "conv9_2", "conv10_2"),
    ]
    params = [layer.prior_box_param for layer in boxes]
    sizes = SIZES_512[dataset]
    assert [p.min_size[0] for p in params] == pytest.approx(sizes[:-1])
    assert [p.max_size[0] for p in params] == pytest.approx(sizes[1:])
    assert [p.step for p in params] == [8, 16, 32, 64, 128, 256, 512]
    assert [len(p.aspect_ratio) for p in params] == [1, 2, 2, 2, 2, 1, 1]
    blobs = infer(net, pb.TEST).blobs
    assert [blobs[layer.bottom[0]][2] for layer in boxes] == [64, 32, 16, 8, 4, 2, 1]
    assert blobs["mbox_priorbox"] == (1, 2, 24564 * 4)


def test_ssd512_halves_to_two_cells_and_closes_with_a_4x4_window() -> None:
    net = net_of("voc0712", 512)
    convs = {
        layer.name: layer.convolution_param for layer in net.layer if layer.type == "Convolution"
    }
    windows = {
        name: (convs[name].kernel_size[0], convs[name].stride[0], convs[name].pad[0])
        for name in ("conv8_2", "conv9_2", "conv10_1", "conv10_2")
    }
    assert windows == {
        "conv8_2": (3, 2, 1),
        "conv9_2": (3, 2, 1),
        "conv10_1": (1, 1, 0),
        "conv10_2": (4, 1, 1),
    }
    assert (convs["conv10_1"].num_output, convs["conv10_2"].num_output) == (128, 256)


def test_ssd300_on_coco_is_that_of_its_script() -> None:
    solver = parse_text(files_of("coco", 300)["solver.prototxt"], pb.SolverParameter)
    assert list(solver.stepvalue) == [280000, 360000, 400000]
    assert (solver.max_iter, solver.snapshot, solver.test_interval) == (400000, 40000, 10000)
    assert list(solver.test_iter) == [625]
    assert solver.base_lr == pytest.approx(0.001)
    train, test = net_of("coco", 300, "train"), net_of("coco", 300, "test")
    assert train.layer[0].transform_param.force_color
    assert train.layer[0].data_param.batch_size == 8
    assert not train.layer[-1].multibox_loss_param.use_difficult_gt
    (output,) = [la.detection_output_param for la in test.layer if la.type == "DetectionOutput"]
    assert output.save_output_param.output_name_prefix == "detections_minival_ssd300_results"
    assert output.save_output_param.output_format == "COCO"
    boxes = [layer.prior_box_param for layer in train.layer if layer.type == "PriorBox"]
    assert [p.min_size[0] for p in boxes] == [21, 45, 99, 153, 207, 261]


def test_only_the_first_source_of_vgg_is_normalised() -> None:
    (norm,) = [layer for layer in net_of("voc0712", 300).layer if layer.type == "Normalize"]
    assert (norm.name, norm.norm_param.scale_filler.value) == ("conv4_3_norm", 20)
    other = job_files(plan("resnet50", "voc0712", "ssd"))["deploy.prototxt"]
    assert "Normalize" not in other
    assert "conv4_3_norm" not in job_files(plan("vgg16", "voc0712", "paper"))["deploy.prototxt"]
