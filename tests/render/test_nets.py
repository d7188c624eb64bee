"""Every combination renders a net that can be wired and has the shapes that were planned."""

from __future__ import annotations

import itertools

import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.experiment import ARCHS, Job, plan, recipe_names
from scratchdet_caffe.experiment.plan import BN_CHOICES
from scratchdet_caffe.render import job_files


def net_of(job: Job, name: str = "deploy") -> pb.NetParameter:
    return parse_text(job_files(job)[f"{name}.prototxt"], pb.NetParameter)


def layers_of(net: pb.NetParameter, kind: str) -> list[pb.LayerParameter]:
    return [layer for layer in net.layer if layer.type == kind]


SOME_ARCHS = ("root_resnet34", "root_resnet18", "resnet50", "vgg16")
RECIPES = [name for name in recipe_names() if "finetune" not in name]
COMBINATIONS = [
    *itertools.product([arch.name for arch in ARCHS], RECIPES, (64, 320), (None,)),
    *itertools.product(SOME_ARCHS, RECIPES, (128,), BN_CHOICES),
    # A TCB needs maps that double, and others do not.
    *itertools.product(SOME_ARCHS, {*RECIPES} - {"refinedet"}, (300,), (None,)),
]


@pytest.mark.parametrize(("arch", "recipe", "size", "bn"), sorted(COMBINATIONS, key=str))
def test_maps_and_priors_are_those_planned(
    arch: str, recipe: str, size: int, bn: str | None
) -> None:
    job = plan(arch, "voc0712", recipe, size=size, bn=bn)
    net = net_of(job)
    shapes = infer(net, pb.TEST)
    for source in job.sources:
        assert shapes.blobs[source.blob][2:] == (source.cells, source.cells)
    priors = sum(source.priors for source in job.sources)
    assert shapes.blobs[job.head.priors] == (1, 2, priors * 4)
    last = "odm" if job.head.refines else "mbox"
    assert shapes.blobs[f"{last}_loc"] == (1, priors * 4)
    assert shapes.blobs[f"{last}_conf"] == (1, priors * 21)
    names = [layer.name for layer in net.layer]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("net", ["train", "test"])
def test_train_and_test_nets_can_be_wired(net: str) -> None:
    for arch in SOME_ARCHS:
        layers = net_of(plan(arch, "coco", "release-caffe"), net)
        produced = {"data", "label"}
        for layer in layers.layer:
            assert produced >= set(layer.bottom), layer.name
            produced |= set(layer.top)


def test_only_detections_are_left_unread() -> None:
    for arch, recipe, size in itertools.product(SOME_ARCHS, RECIPES, (64, 320)):
        net = net_of(plan(arch, "voc0712", recipe, size=size))
        read = {bottom for layer in net.layer for bottom in layer.bottom}
        unread = {top for layer in net.layer for top in layer.top} - read
        assert unread == {"detection_out"}, (arch, recipe, size)


def test_bn_off_gives_convolutions_a_bias_and_no_batch_norm() -> None:
    net = net_of(plan("root_resnet18", "voc0712", "paper", bn="none"))
    assert not layers_of(net, "BatchNorm")
    assert not layers_of(net, "Scale")
    for layer in layers_of(net, "Convolution"):
        assert layer.convolution_param.bias_term
        assert [(p.lr_mult, p.decay_mult) for p in layer.param] == [(1, 1), (2, 0)]


def test_head_bn_follows_each_prediction_without_relu() -> None:
    net = net_of(plan("root_resnet34", "coco", "release-caffe"))
    names = [layer.name for layer in net.layer]
    for kind in ("loc", "conf"):
        at = names.index(f"conv4_12_mbox_{kind}")
        norm, scale, permute = net.layer[at + 1 : at + 4]
        assert (norm.type, scale.type, permute.type) == ("BatchNorm", "Scale", "Permute")
        assert norm.batch_norm_param.eps == pytest.approx(0.001)
        assert not net.layer[at].convolution_param.bias_term
        assert net.layer[at].convolution_param.weight_filler.std == pytest.approx(0.01)
        assert [(p.lr_mult, p.decay_mult) for p in scale.param] == [(1, 0), (1, 0)]


def test_statistics_never_learn() -> None:
    for layer in layers_of(net_of(plan("root_resnet34", "coco", "paper")), "BatchNorm"):
        assert [(p.lr_mult, p.decay_mult) for p in layer.param] == [(0, 0)] * 3


def test_mini_keeps_its_own_batch_norm_average() -> None:
    for layer in layers_of(net_of(plan("root_resnet18", "voc0712", "mini")), "BatchNorm"):
        assert layer.batch_norm_param.moving_average_fraction == pytest.approx(0.99)


def test_the_release_on_coco_trains_without_test_rounds_and_the_paper_with() -> None:
    def solver(recipe: str) -> pb.SolverParameter:
        text = job_files(plan("root_resnet34", "coco", recipe))["solver.prototxt"]
        return parse_text(text, pb.SolverParameter)

    assert not solver("release-caffe").test_net
    assert solver("release-caffe").iter_size == 2
    assert list(solver("release-caffe").stepvalue) == [150000, 250000, 310000, 320000]
    assert list(solver("paper").test_iter) == [200]


def test_paths_with_quotes_and_spaces_survive() -> None:
    job = plan("root_resnet18", "voc0712", "mini", out='a "b" c\\d')
    solver = parse_text(job_files(job)["solver.prototxt"], pb.SolverParameter)
    assert solver.train_net == f"{job.folder}/train.prototxt"
