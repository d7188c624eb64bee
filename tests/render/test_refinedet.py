"""RefineDet: the nets of its other scripts, whose structure is stated here from those scripts."""

from __future__ import annotations

from typing import Any

import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import plan
from scratchdet_caffe.render import job_files


def net_of(arch: str, dataset: str, net: str = "deploy", **words: Any) -> pb.NetParameter:
    files = job_files(plan(arch, dataset, words.pop("recipe", "refinedet"), **words))
    return parse_text(files[f"{net}.prototxt"], pb.NetParameter)


def solver_of(arch: str, dataset: str, **words: Any) -> pb.SolverParameter:
    files = job_files(plan(arch, dataset, words.pop("recipe", "refinedet"), **words))
    return parse_text(files["solver.prototxt"], pb.SolverParameter)


def layer_of(net: pb.NetParameter, name: str) -> pb.LayerParameter:
    (found,) = [layer for layer in net.layer if layer.name == name]
    return found


def priors(net: pb.NetParameter) -> list[pb.PriorBoxParameter]:
    return [layer.prior_box_param for layer in net.layer if layer.type == "PriorBox"]


@pytest.mark.parametrize(("size", "count"), [(320, 6375), (512, 16320)])
@pytest.mark.parametrize("arch", ["vgg16", "resnet101", "root_resnet34"])
def test_priors_are_four_steps_wide_on_four_maps(arch: str, size: int, count: int) -> None:
    net = net_of(arch, "coco", size=size)
    shapes = infer(net, pb.TEST).blobs
    assert shapes["arm_priorbox"] == (1, 2, count * 4)
    assert shapes["arm_conf"] == (1, count * 2)
    assert shapes["odm_conf"] == (1, count * 81)
    assert [(p.min_size[0], p.step) for p in priors(net)] == [
        (32, 8),
        (64, 16),
        (128, 32),
        (256, 64),
    ]
    assert not any(p.max_size for p in priors(net))
    assert {tuple(p.aspect_ratio) for p in priors(net)} == {(2.0,)}


def test_resnet101_has_a_block_before_every_prediction() -> None:
    net = net_of("resnet101", "coco")
    heads = ["resres3b3_relu_inter", "resres4b22_relu_inter", "resres5c_relu_inter"]
    heads += ["resres6_relu_inter", "resP3_inter", "resP4_inter", "resP5_inter", "resP6_inter"]
    for head in heads:
        assert list(layer_of(net, f"{head}_mbox_loc").bottom) == [head]
        assert layer_of(net, f"{head}_branch1").convolution_param.num_output == 1024
        assert layer_of(net, f"{head}_branch2b").convolution_param.num_output == 256
        assert list(layer_of(net, head).bottom) == [f"{head}_branch1", f"{head}_branch2c"]
        layer_of(net, f"bn{head.removeprefix('res')}_branch2a")
        layer_of(net, f"scale{head.removeprefix('res')}_branch2a")
    assert list(layer_of(net, "resres3b3_relu_inter_branch2a").bottom) == ["res3b3"]
    assert list(layer_of(net, "resP3_inter_branch1").bottom) == ["P3"]
    assert list(layer_of(net, "TL6_1").bottom) == ["res6"]
    assert list(layer_of(net, "TL3_1").bottom) == ["res3b3"]  # not what the predictions read


def test_resnet101s_batch_norm_is_bare_and_predictions_have_none() -> None:
    net = net_of("resnet101", "coco")
    for layer in net.layer:
        if layer.type == "BatchNorm":
            assert not layer.param
            assert not layer.HasField("batch_norm_param")
        if layer.type == "Scale":
            assert not layer.param
            assert layer.scale_param.bias_term
            assert not layer.scale_param.HasField("filler")
        if layer.type in ("Convolution", "Deconvolution"):
            filler, with_bn = layer.convolution_param.weight_filler, "_mbox_" not in layer.name
            assert (filler.type, len(layer.param)) == (
                ("gaussian", 1) if with_bn else ("xavier", 2)
            )
            assert layer.convolution_param.bias_term is not with_bn
    up = [layer.name for layer in net.layer if layer.type == "Deconvolution"]
    assert up == ["P6-up", "P5-up", "P4-up"]
    layer_of(net, "P6-up_bn")


def test_the_tcb_adds_upsampled_coarse_maps_to_fine_ones() -> None:
    net = net_of("vgg16", "voc0712")
    order = [layer.name for layer in net.layer]
    assert (
        order.index("P6")
        < order.index("P5")
        < order.index("P3")
        < order.index("conv4_3_norm_mbox_loc")
    )
    for number in (3, 4, 5):
        added = list(layer_of(net, f"Elt{number}").bottom)
        assert added == [f"TL{number}_2", f"P{number + 1}-up"]
    assert "Elt6" not in order
    shapes = infer(net, pb.TEST).blobs
    assert [shapes[f"P{n}"][1:] for n in (3, 6)] == [(256, 40, 40), (256, 5, 5)]
    scales = [
        layer.norm_param.scale_filler.value for layer in net.layer if layer.type == "Normalize"
    ]
    assert scales == [8, 10]  # conv5_3, then conv4_3: the TCB goes from coarse to fine


def test_only_predictions_get_gradients_from_the_losses() -> None:
    net = net_of("vgg16", "coco", "train")
    arm, odm = layer_of(net, "arm_loss"), layer_of(net, "odm_loss")
    assert list(arm.propagate_down) == [True, True, False, False]
    assert list(odm.propagate_down) == [True, True, False, False, False, False]
    assert list(odm.bottom)[2:] == ["arm_priorbox", "label", "arm_conf_flatten", "arm_loc"]
    assert (arm.multibox_loss_param.num_classes, odm.multibox_loss_param.num_classes) == (2, 81)
    assert arm.multibox_loss_param.objectness_score == pytest.approx(0.01)
    assert not arm.multibox_loss_param.use_difficult_gt


@pytest.mark.parametrize(
    ("arch", "dataset", "size", "batch", "steps", "snapshot"),
    [
        ("vgg16", "voc0712", 512, 8, [80000, 100000, 120000], 5000),
        ("vgg16", "voc0712plus", 320, 8, [160000, 200000, 240000], 10000),
        ("vgg16", "coco", 512, 8, [280000, 360000, 400000], 10000),
        ("resnet101", "coco", 320, 8, [280000, 360000, 400000], 10000),
        ("resnet101", "coco", 512, 5, [400000, 480000, 540000], 10000),
    ],
)
def test_solvers_are_those_of_the_scripts(
    arch: str, dataset: str, size: int, batch: int, steps: list[int], snapshot: int
) -> None:
    solver = solver_of(arch, dataset, size=size)
    assert list(solver.stepvalue) == steps
    assert (solver.max_iter, solver.snapshot) == (steps[-1], snapshot)
    assert solver.base_lr == pytest.approx(0.001)
    assert not solver.test_net
    data = net_of(arch, dataset, "train", size=size).layer[0]
    assert data.data_param.batch_size == batch
    assert data.transform_param.force_color == (dataset == "coco")
    test = net_of(arch, dataset, "test", size=size)
    assert test.layer[0].data_param.batch_size == 1
    assert not layer_of(test, "detection_out").detection_output_param.HasField("save_output_param")


def test_a_size_whose_maps_do_not_double_is_refused() -> None:
    with pytest.raises(UserError, match=r"maps of 38, 19, 10, 5.*19 is not 2 x 10.*multiple of 64"):
        plan("vgg16", "voc0712", "refinedet", size=300)
    with pytest.raises(UserError, match=r"maps of 12, 6, 3, 1.*multiple of 64"):
        plan("vgg16", "voc0712", "refinedet", size=96)
    assert plan("vgg16", "voc0712", "refinedet", size=384).refined[0].source.cells == 48


@pytest.mark.parametrize("bn", ["both", "backbone", "head", "none"])
def test_bn_words_mean_the_tcb_by_head(bn: str) -> None:
    net = net_of("resnet101", "coco", bn=bn)
    norms = {layer.name for layer in net.layer if layer.type == "BatchNorm"}
    assert ("bn_conv1" in norms) == (bn in ("both", "backbone"))
    assert ("TL3_1_bn" in norms) == (bn in ("both", "head"))
    assert ("resP3_inter_mbox_conf_bn" in norms) == (bn in ("both", "head"))


def test_any_recipe_and_backbone_takes_the_head() -> None:
    for arch, recipe, maps in (
        ("root_resnet34", "paper", [40, 20, 10, 5]),
        ("root_resnet18", "mini", [80, 40, 20, 10]),
        ("resnet50", "ssd", [40, 20, 10, 5]),
    ):
        job = plan(arch, "voc0712", recipe, size=320, settings=["head.type=refinedet"])
        assert [source.cells for source in job.sources] == maps
        net = parse_text(job_files(job)["deploy.prototxt"], pb.NetParameter)
        blobs = infer(net, pb.TEST).blobs
        assert [blobs[refined.blob][2] for refined in job.refined] == maps
