"""The backbones: their variants, and the names by which published weights find their layers."""

from __future__ import annotations

from typing import Any

import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.experiment import plan
from scratchdet_caffe.render import job_files


def deploy(arch: str, *settings: str, recipe: str = "paper", **words: Any) -> pb.NetParameter:
    job = plan(arch, "voc0712", recipe, settings=settings, **words)
    return parse_text(job_files(job)["deploy.prototxt"], pb.NetParameter)


def names(net: pb.NetParameter, kind: str) -> list[str]:
    return [layer.name for layer in net.layer if layer.type == kind]


def conv(net: pb.NetParameter, name: str) -> tuple[int, int, int, int]:
    """Return channels, kernel, stride and padding of a convolution."""
    (found,) = [layer.convolution_param for layer in net.layer if layer.name == name]
    stride = found.stride[0] if found.stride else 1
    return found.num_output, found.kernel_size[0], stride, found.pad[0] if found.pad else 0


def shape(net: pb.NetParameter, blob: str) -> tuple[int, ...]:
    return tuple(infer(net, pb.TEST).blobs[blob][1:])


@pytest.mark.parametrize(
    ("arch", "settings", "stem", "pool"),
    [
        ("resnet18", (), [(64, 7, 2, 3)], (64, 75, 75)),
        ("resnet18_a", (), [(64, 7, 2, 3)], None),
        ("resnet18_b", (), [(64, 7, 1, 3)], (64, 150, 150)),
        ("root_resnet18", (), [(64, 3, 1, 1)] * 3, (64, 150, 150)),
        ("root_resnet18", ("number=1", "kernel=7"), [(64, 7, 1, 3)], (64, 150, 150)),
        ("root_resnet18", ("number=2", "channels=32"), [(32, 3, 1, 1)] * 2, (32, 150, 150)),
        ("root_resnet18", ("kernel=5", "stride=2", "pool=0"), [(64, 5, 2, 2), (64, 5, 1, 2)], None),
        ("resnet18", ("number=3", "kernel=3"), [(64, 3, 2, 1)], (64, 75, 75)),
    ],
)
def test_the_stem_study_is_one_option_each(
    arch: str,
    settings: tuple[str, ...],
    stem: list[tuple[int, int, int, int]],
    pool: tuple[int, ...] | None,
) -> None:
    net = deploy(arch, *(f"backbone.stem.{setting}" for setting in settings))
    convs = names(net, "Convolution")
    assert [conv(net, name) for name in convs[: len(stem)]] == stem
    assert names(net, "Pooling") == ([] if pool is None else ["pool1"])
    if pool:
        assert shape(net, "pool1") == pool
    assert shape(net, "mbox_priorbox") == (2, 8732 * 4)


def test_the_stem_study_changes_nothing_but_the_stem() -> None:
    """Sources of all four nets have the same maps and channels, and so have their heads."""
    nets = [deploy(arch) for arch in ("resnet18", "resnet18_a", "resnet18_b", "root_resnet18")]
    kept = [
        [shape(net, layer.bottom[0]) for layer in net.layer if layer.type == "PriorBox"]
        for net in nets
    ]
    assert kept[0] == kept[1] == kept[2] == kept[3]
    assert kept[0][:2] == [(256, 38, 38), (512, 19, 19)]


def test_a_root_block_on_resnet_is_root_resnet_under_other_names() -> None:
    settings = ("number=3", "kernel=3", "stride=1", "pool=2")
    ours = deploy(
        "resnet18", *(f"backbone.stem.{s}" for s in settings), "backbone.strides=[1,2,2,2]"
    )
    root = deploy("root_resnet18")
    assert [layer.type for layer in ours.layer] == [layer.type for layer in root.layer]
    assert [infer(ours, pb.TEST).blobs["mbox_conf"]] == [infer(root, pb.TEST).blobs["mbox_conf"]]


@pytest.mark.parametrize(
    ("arch", "first", "last"),
    [
        ("resnet50", "res4b", "res4f"),
        ("resnet101", "res4b1", "res4b22"),
        ("resnet34", "res4b", "res4f"),
    ],
)
def test_resnet_has_the_names_of_the_published_weights(arch: str, first: str, last: str) -> None:
    net = deploy(arch, recipe="ssd")
    convs, norms, scales = (names(net, kind) for kind in ("Convolution", "BatchNorm", "Scale"))
    assert convs[0] == "conv1"
    assert (norms[0], scales[0]) == ("bn_conv1", "scale_conv1")
    assert {"res2a_branch2a", f"{first}_branch2b", f"{last}_branch2a"} <= set(convs)
    assert f"bn{last.removeprefix('res')}_branch2b" in norms
    assert ("res2a_branch1" in convs) == (arch != "resnet34")  # 64 channels go on as they are
    assert "res5c_relu" in names(net, "ReLU")
    assert "res3a_branch1" in convs


def test_blocks_are_normalised_before_or_behind_their_convolutions() -> None:
    before, behind = (deploy("resnet50", f"backbone.preactivation={x}") for x in ("true", "false"))
    after_sum = [
        [net.layer[i + 1].type for i, layer in enumerate(net.layer) if layer.type == "Eltwise"]
        for net in (before, behind)
    ]
    assert set(after_sum[0]) == {"BatchNorm"}
    assert set(after_sum[1]) == {"ReLU"}
    convs = [
        {n for n in names(net, "Convolution") if "_mbox_" not in n} for net in (before, behind)
    ]
    assert convs[0] == convs[1]
    norms = [set(names(net, "BatchNorm")) for net in (before, behind)]
    assert "bn2a" in norms[0] - norms[1]  # on the sum
    assert "bn2a_branch2c" in norms[1] - norms[0]  # behind the last convolution


def test_extra_levels_are_residual_or_plain_as_asked() -> None:
    plain = deploy("root_resnet34", "backbone.extras=plain")
    assert conv(plain, "conv6_1") == (256, 1, 1, 0)
    assert conv(plain, "conv6_2") == (512, 3, 2, 1)
    residual = deploy("resnet50", "backbone.extras=residual")
    assert conv(residual, "res6_branch2a") == (128, 1, 2, 0)
    assert conv(residual, "res6_branch2c") == (512, 1, 1, 0)
    assert shape(residual, "res6_act") == (512, 5, 5)


def test_vgg16_is_the_reduced_one_with_upstreams_names() -> None:
    net = deploy("vgg16", bn="none")
    assert names(net, "ReLU")[:3] == ["relu1_1", "relu1_2", "relu2_1"]
    assert {"relu6", "relu7", "conv6_1_relu"} <= set(names(net, "ReLU"))
    (fc6,) = [layer.convolution_param for layer in net.layer if layer.name == "fc6"]
    assert (fc6.num_output, fc6.pad[0], fc6.dilation[0]) == (1024, 6, 6)
    assert shape(net, "pool5") == (512, 19, 19)
    (fc6,) = [
        layer.convolution_param
        for layer in deploy("vgg16", "backbone.dilated=false").layer
        if layer.name == "fc6"
    ]
    assert (fc6.pad[0], fc6.dilation[0]) == (3, 3)


def test_vgg16_with_batch_norm_has_it_behind_poolings_in_the_release_only() -> None:
    release = deploy("vgg16", recipe="release-caffe")
    order = [layer.name for layer in release.layer]
    at = order.index("pool1")
    assert order[at + 1 : at + 4] == ["pool1_bn", "pool1_scale", "pool1_relu"]
    assert "pool5_bn" in order
    assert "conv5_3_bn" in order
    assert not names(deploy("vgg16", recipe="release-caffe", bn="none"), "BatchNorm")
    assert "pool1_bn" not in names(deploy("vgg16", recipe="ssd", bn="both"), "BatchNorm")


@pytest.mark.parametrize("arch", ["resnet101", "vgg16", "root_resnet34"])
def test_width_scales_every_channel_but_the_predictions(arch: str) -> None:
    full, narrow = deploy(arch), deploy(arch, "backbone.width=0.25")
    for name in names(full, "Convolution"):
        share = 1 if "_mbox_" in name else 4
        assert conv(full, name)[0] == share * conv(narrow, name)[0], name
    thin = deploy(arch, "backbone.width=0.001")
    body = [name for name in names(thin, "Convolution") if "_mbox_" not in name]
    assert min(conv(thin, name)[0] for name in body) == 8
