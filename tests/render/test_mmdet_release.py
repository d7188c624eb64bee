"""Recipe release-mmdet against the facts of the authors' mmdetection files."""

from __future__ import annotations

import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.experiment import Job, plan
from scratchdet_caffe.render import job_files


def make(size: int) -> tuple[Job, pb.NetParameter]:
    job = plan("root_resnet34", "coco2017", "release-mmdet", size=size)
    return job, parse_text(job_files(job)["deploy.prototxt"], pb.NetParameter)


@pytest.mark.parametrize(
    ("size", "maps", "priors"),
    [(300, [38, 19, 10, 5, 3, 3], 8764), (512, [64, 32, 16, 8, 4, 2, 1], 24564)],
)
def test_maps_and_priors(size: int, maps: list[int], priors: int) -> None:
    job, net = make(size)
    assert [source.cells for source in job.sources] == maps
    shapes = infer(net, pb.TEST).blobs
    assert shapes["mbox_priorbox"][2] == 4 * priors
    channels = [shapes[source.blob][1] for source in job.sources]
    assert channels == [256, 512, *[128] * (len(maps) - 2)]


def test_512_ends_in_a_3x3_and_a_4x4_convolution() -> None:
    _, net = make(512)
    last = [layer for layer in net.layer if layer.name in ("conv10_1", "conv10_2")]
    assert [layer.convolution_param.kernel_size[0] for layer in last] == [3, 4]
    assert [layer.convolution_param.num_output for layer in last] == [128, 128]


def test_prior_sizes_are_cut_to_whole_pixels() -> None:
    job, _ = make(512)
    assert [source.min_size for source in job.sources] == [20, 51, 133, 215, 296, 378, 460]
    assert [source.step for source in job.sources] == [8, 16, 32, 64, 128, 256, 512]


def test_blocks_are_those_of_the_first_resnet() -> None:
    _, net = make(300)
    kinds = [layer.type for layer in net.layer]
    after_sum = {kinds[i + 1] for i, kind in enumerate(kinds) if kind == "Eltwise"}
    assert after_sum == {"ReLU"}
    names = [layer.name for layer in net.layer]
    at = names.index("conv3_1_proj")
    assert names[at + 1 : at + 3] == ["conv3_1_proj_bn", "conv3_1_proj_scale"]
    fillers = {
        (f.type, pb.FillerParameter.VarianceNorm.Name(f.variance_norm))
        for f in (
            la.convolution_param.weight_filler for la in net.layer if la.type == "Convolution"
        )
    }
    assert fillers == {("msra", "FAN_OUT"), ("xavier", "AVERAGE")}


def test_solvers_count_epochs_of_the_repeated_set() -> None:
    solvers = [
        parse_text(job_files(make(size)[0])["solver.prototxt"], pb.SolverParameter)
        for size in (300, 512)
    ]
    for solver, batch, epochs, end in zip(
        solvers, (200, 80), ((34, 46, 50), (38, 70, 80)), (52, 84)
    ):
        epoch = -(-5 * 117266 // batch)
        assert list(solver.stepvalue) == [epoch * number for number in epochs]
        assert solver.max_iter == epoch * end
    assert [solver.base_lr for solver in solvers] == pytest.approx([0.05, 0.03])
