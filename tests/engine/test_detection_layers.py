"""The detection layers beside the golden cases: refusals, empty batches, repeatability."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.engine.layers import Context, Layer, layer_class
from scratchdet_caffe.engine.shapes import LayerError
from scratchdet_caffe.engine.shapes.registry import spec_of

TYPES = ("PriorBox", "MultiBoxLoss", "DetectionOutput", "DetectionEvaluate")
LOSS = (
    'name: "loss" type: "MultiBoxLoss" '
    "multibox_loss_param { num_classes: 4 code_type: CENTER_SIZE %s }"
)


def build(param: pb.LayerParameter, bottoms: Sequence[Tensor], propagate: bool = False) -> Layer:
    param.bottom.extend(f"b{i}" for i in range(len(param.bottom), len(bottoms)))
    spec = spec_of(param, [tuple(bottom.shape) for bottom in bottoms])
    flags = [True, True, *[propagate] * (len(bottoms) - 2)]
    return layer_class(param)(param, spec, Context(pb.TRAIN, propagate_down=flags))


def batch(images: int = 3, classes: int = 4, objects: int = 5) -> list[Tensor]:
    """Predictions, 30 priors, and ``objects`` true boxes in all."""
    random = torch.Generator().manual_seed(0)
    centers = torch.rand(30, 2, generator=random)
    priors = torch.cat([centers - 0.15, centers + 0.15], dim=1).flatten()
    truth = torch.zeros(max(1, objects), 8)
    truth[:, 0] = torch.arange(len(truth)) % images if objects else -1
    truth[:, 1] = torch.arange(len(truth)) % (classes - 1) + 1
    truth[:, 3:5] = torch.rand(len(truth), 2, generator=random) * 0.5
    truth[:, 5:7] = truth[:, 3:5] + 0.3
    return [
        torch.randn(images, 120, generator=random).requires_grad_(),
        torch.randn(images, 30 * classes, generator=random).requires_grad_(),
        torch.stack([priors, torch.full_like(priors, 0.1)])[None],
        truth[None, None],
    ]


def loss_of(bottoms: list[Tensor], extra: str = "") -> Tensor:
    (loss,) = build(parse_text(LOSS % extra, pb.LayerParameter), bottoms)(*bottoms)
    return loss


def refused_cases() -> list[tuple[str, str, str]]:
    path = Path(__file__).parents[3] / "shared" / "golden" / "layers" / "refused.csv"
    if not path.exists():
        return []
    with path.open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["layer"] in TYPES]
    return [(row["case"], row["stage"], row["layer_text"]) for row in rows]


def inputs_of(net: pb.NetParameter, case: str) -> list[Tensor]:
    """Bottoms of the size that the reference used, with what its case is about."""
    layer = net.layer[-1]
    if layer.type == "PriorBox":
        return [torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 30, 30)]
    if layer.type == "DetectionEvaluate":
        detected = torch.tensor([[0, 0, 0.9, 0, 0, 0.5, 0.5]])
        return [detected[None, None], torch.tensor([[0, 1, 0, 0, 0, 0.5, 0.5, 0]])[None, None]]
    classes = max(layer.multibox_loss_param.num_classes, layer.detection_output_param.num_classes)
    loc, conf, priors, truth = batch(classes=4 if case == "multiboxloss-prior-count" else classes)
    shared = (
        layer.multibox_loss_param.share_location and layer.detection_output_param.share_location
    )
    if not shared:
        loc = loc.repeat(1, classes)
    if "zero-variance" in case:
        priors[0, 1] = 0
    if "background-label" in case:
        truth[..., 0, 1] = 0
    arm = [torch.zeros(3, 60), torch.zeros(3, 120)]
    if layer.type == "DetectionOutput":
        return [loc, conf, priors, *arm][: len(layer.bottom)]
    return [loc, conf, priors, truth, *arm][: len(layer.bottom)]


@pytest.mark.skipif(not refused_cases(), reason="needs ../shared/golden/layers")
@pytest.mark.parametrize(("case", "stage", "text"), refused_cases())
def test_what_the_reference_refuses_is_a_sentence(
    case: str, stage: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    net = parse_text(text, pb.NetParameter)
    bottoms = inputs_of(net, case)
    with pytest.raises(LayerError, match=f"layer 'lut' \\({net.layer[-1].type}\\): .+"):
        layer = build(net.layer[-1], bottoms, propagate=stage == "backward")
        assert stage != "setup", "built although the reference refuses its parameters"
        layer(*bottoms)


def test_prior_boxes_are_computed_once_per_size() -> None:
    param = parse_text('type: "PriorBox" prior_box_param { min_size: 4 }', pb.LayerParameter)
    feature, image = torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 40, 50)
    layer = build(param, [feature, image])
    (first,), (again,) = layer(feature, image), layer(feature + 1, image)
    assert first is again
    assert not first.requires_grad
    assert layer(feature[..., :2], image)[0].shape == (1, 2, 4 * 2 * 4)


def test_two_passes_give_the_same_bits() -> None:
    results = []
    for _ in range(2):
        bottoms = batch()
        loss = loss_of(bottoms)
        loss.backward()
        results.append([loss, bottoms[0].grad, bottoms[1].grad])
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_a_batch_without_ground_truth_has_no_loss_and_no_gradient() -> None:
    bottoms = batch(objects=0)
    loss = loss_of(bottoms)
    loss.backward()
    assert loss == 0
    for bottom in bottoms[:2]:
        assert bottom.grad is not None and not bottom.grad.any()


def test_only_mined_priors_get_a_confidence_gradient() -> None:
    bottoms = batch()
    loss_of(bottoms, "neg_pos_ratio: 2").backward()
    assert bottoms[0].grad is not None and bottoms[1].grad is not None
    matched = int(bottoms[0].grad.view(-1, 4).any(1).sum())
    learning = int(bottoms[1].grad.view(-1, 4).any(1).sum())
    assert 0 < matched < learning <= 3 * matched


def test_a_term_that_wants_no_gradient_leaves_the_loss() -> None:
    bottoms = batch()
    whole = loss_of(bottoms)
    text = LOSS % "" + " propagate_down: %s propagate_down: %s"
    parts = []
    for flags in (("true", "false"), ("false", "true")):
        param = parse_text(text % flags, pb.LayerParameter)
        parts.append(build(param, bottoms)(*bottoms)[0])
    torch.testing.assert_close(parts[0] + parts[1], whole)
    assert all(part > 0 for part in parts)


def test_a_ground_truth_label_out_of_range_is_named() -> None:
    bottoms = batch()
    bottoms[3][..., 2, 1] = 9
    with pytest.raises(LayerError, match="label 9, but num_classes is 4"):
        loss_of(bottoms)


def test_shapes_that_do_not_fit_name_the_blob() -> None:
    bottoms = batch()
    bottoms[1] = bottoms[1][:, :-4]
    with pytest.raises(LayerError, match=r"'b1' has shape \(3, 116\).* need \(3, 120\)"):
        loss_of(bottoms)


@pytest.mark.parametrize("fourth", [(3, 3, 8, 8), (1, 1, 5, 8)])
def test_the_picture_that_ssd_draws_on_is_no_arm(fourth: tuple[int, ...]) -> None:
    bottoms = batch()[:3]

    def detect(*more: Tensor) -> Tensor:
        param = pb.LayerParameter(name="lut", type="DetectionOutput")
        param.detection_output_param.num_classes = 4
        return build(param, [*bottoms, *more])(*bottoms, *more)[0]

    assert torch.equal(detect(torch.rand(fourth)), detect())
