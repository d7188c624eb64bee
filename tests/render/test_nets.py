"""Every combination renders a net that can be wired and has the shapes that were planned."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from scratchdet_caffe.analysis.lint import Severity, lint
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.graph import build_graph
from scratchdet_caffe.engine.rates import check_policy
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.experiment import ARCHS, Job, plan
from scratchdet_caffe.experiment.plan import BN_CHOICES
from scratchdet_caffe.render import job_files, write_job


def net_of(job: Job, name: str = "deploy") -> pb.NetParameter:
    return parse_text(job_files(job)[f"{name}.prototxt"], pb.NetParameter)


def layers_of(net: pb.NetParameter, kind: str) -> list[pb.LayerParameter]:
    return [layer for layer in net.layer if layer.type == kind]


# What a head is rendered with: 5 recipes, and 3 sizes that its maps allow. Turns of 4 datasets, 5,
# 3 and 7 meet each other in all ways.
PAIRS = {
    "ssd": (("paper", "release-caffe", "ssd", "mini", "release-mmdet"), (300, 64, 512)),
    "refinedet": (("refinedet", "paper", "mini", "ssd", "release-caffe"), (320, 64, 512)),
}
BN = (None, None, *BN_CHOICES, None)
DATASETS = ("voc0712", "voc0712plus", "coco", "coco2017")
SLOW = ("voc0712plus", "coco2017")  # other paths than those of the first two, and little else


def combinations() -> Iterator[tuple[str, str, str, str, int, str | None]]:
    """Give every arch x head x dataset, with recipes, sizes and BatchNorm in turn."""
    for head, (recipes, sizes) in PAIRS.items():
        turns = zip(itertools.cycle(recipes), itertools.cycle(sizes), itertools.cycle(BN))
        for (arch, data), (recipe, size, bn) in zip(itertools.product(ARCHS, DATASETS), turns):
            yield arch.name, head, data, recipe, size, bn


COMBINATIONS = [
    pytest.param(*words, marks=[pytest.mark.slow] if words[2] in SLOW else [])
    for words in combinations()
]


@pytest.mark.parametrize(("arch", "head", "data", "recipe", "size", "bn"), COMBINATIONS)
def test_what_makes_sense_is_rendered(
    arch: str, head: str, data: str, recipe: str, size: int, bn: str | None, tmp_path: Path
) -> None:
    job = plan(arch, data, recipe, size=size, head=head, bn=bn, out=str(tmp_path))
    files = job_files(job)
    nets = {
        name: parse_text(files[f"{name}.prototxt"], pb.NetParameter)
        for name in ("train", "test", "deploy")
    }
    check_policy(parse_text(files["solver.prototxt"], pb.SolverParameter))
    for name, phase in (("train", pb.TRAIN), ("test", pb.TEST)):
        build_graph(nets[name], phase)  # refuses what cannot be wired
    shapes = infer(nets["deploy"], pb.TEST).blobs
    for source in job.sources:
        assert shapes[source.blob][2:] == (source.cells, source.cells)
    priors = sum(source.priors for source in job.sources)
    assert shapes[job.head.priors] == (1, 2, priors * 4)
    last = "odm" if head == "refinedet" else "mbox"
    assert shapes[f"{last}_loc"] == (1, priors * 4)
    assert shapes[f"{last}_conf"] == (1, priors * len(job.dataset.classes))
    ends = {"train": {f"{x}_loss" for x in (("arm", "odm") if last == "odm" else ("mbox",))}}
    ends |= {"test": {"detection_eval"}, "deploy": {"detection_out"}}
    for name, net in nets.items():
        names = [layer.name for layer in net.layer]
        assert len(set(names)) == len(names)
        read = {bottom for layer in net.layer for bottom in layer.bottom}
        assert {top for layer in net.layer for top in layer.top} - read == ends[name]
    if recipe in ("paper", "mini"):  # those that reproduce others have others' quirks
        write_job(job)
        found = {finding.rule for finding in lint(job.folder) if finding.severity > Severity.NOTE}
        # Table 1 has no number for a rate so high without BatchNorm on the backbone.
        assert found <= ({"lr-without-bn"} if bn in ("head", "none") else set())


@pytest.mark.parametrize("preactivation", ["true", "false"])
@pytest.mark.parametrize("arch", ["root_resnet34", "resnet101"])
def test_behind_the_last_tap_of_a_branch_nothing_is_rendered(arch: str, preactivation: str) -> None:
    settings = ["pyramid.taps=branch", f"backbone.preactivation={preactivation}"]
    net = net_of(plan(arch, "voc0712", "refinedet", settings=settings))
    read = {bottom for layer in net.layer for bottom in layer.bottom}
    assert {top for layer in net.layer for top in layer.top} - read == {"detection_out"}


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
