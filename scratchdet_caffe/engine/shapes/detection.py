"""Shapes of the detection layers, and what a PriorBox layer's parameters mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, check, rule

#: Two aspect ratios closer than this are one.
_SAME_RATIO = 1e-6


def aspect_ratios(param: pb.PriorBoxParameter) -> list[float]:
    """Return the aspect ratios (width / height) of a PriorBox layer, 1 first.

    A ratio that is there already, also as the flip of an earlier one, is dropped together with
    its own flip.
    """
    ratios = [1.0]
    for ratio in param.aspect_ratio:
        if any(abs(ratio - known) < _SAME_RATIO for known in ratios):
            continue
        ratios += [ratio, 1 / ratio] if param.flip else [ratio]
    return ratios


def priors_per_cell(param: pb.PriorBoxParameter) -> int:
    """Return how many prior boxes ``param`` puts on each cell of its map."""
    return len(aspect_ratios(param)) * len(param.min_size) + len(param.max_size)


@rule("PriorBox")
def prior_box(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """PriorBox: boxes and variances, (1, 2, H * W * K * 4), for a map and an image."""
    p = layer.prior_box_param
    arity(layer, bottoms, 2)
    for shape in bottoms:
        check(layer, len(shape) == 4, f"takes bottoms with 4 axes, not {shape}")
    _check_sizes(layer, p)
    check(layer, all(ratio > 0 for ratio in p.aspect_ratio), "aspect_ratio must be positive")
    check(
        layer,
        len(p.variance) in (0, 1, 4),
        f"variance takes 1 or 4 values, but has {len(p.variance)}",
    )
    check(layer, all(value > 0 for value in p.variance), "variance must be positive")
    _check_pair(layer, p, "img_size", "img_h", "img_w")
    _check_pair(layer, p, "step", "step_h", "step_w")
    height, width = bottoms[0][2:]
    return Spec(tops=((1, 2, height * width * priors_per_cell(p) * 4),))


def _check_sizes(layer: pb.LayerParameter, p: pb.PriorBoxParameter) -> None:
    check(layer, len(p.min_size) > 0, "needs a min_size")
    # Sizes are truncated to whole pixels, so anything below 1 is no size.
    check(layer, all(size >= 1 for size in p.min_size), "min_size must be at least 1 pixel")
    check(
        layer,
        all(size < 2**31 for size in (*p.min_size, *p.max_size)),
        "min_size and max_size must be below 2^31 pixels",
    )
    if not p.max_size:
        return
    check(
        layer,
        len(p.min_size) == len(p.max_size),
        f"needs as many max_size as min_size, but has {len(p.max_size)} and {len(p.min_size)}",
    )
    for small, large in zip(p.min_size, p.max_size):
        check(layer, large > small, f"max_size {large:g} must be greater than min_size {small:g}")


def _check_pair(
    layer: pb.LayerParameter, p: pb.PriorBoxParameter, both: str, high: str, wide: str
) -> None:
    """Check a quantity given once for both axes, or once per axis, or not at all."""
    per_axis = [p.HasField(high), p.HasField(wide)]
    square = p.HasField(both)
    check(layer, not (square and any(per_axis)), f"give either {both} or {high} and {wide}")
    check(layer, all(per_axis) or not any(per_axis), f"{high} and {wide} go together")
    for name in (both, high, wide):
        given = p.HasField(name)
        check(layer, not given or getattr(p, name) > 0, f"{name} must be greater than 0")


def _check_predictions(
    layer: pb.LayerParameter,
    bottoms: Sequence[Shape],
    num_classes: int,
    share_location: bool,
    arm: Sequence[Shape],
) -> None:
    """Check loc (N, P * L * 4), conf (N, P * C), prior (1, 2, P * 4) and the ARM's predictions."""
    loc, conf, prior = bottoms[:3]
    check(layer, num_classes > 0, "needs num_classes")
    check(
        layer,
        len(prior) == 3 and prior[1] == 2 and prior[2] % 4 == 0,
        f"'{layer.bottom[2]}' has shape {prior}, but priors are (1, 2, 4 * priors)",
    )
    priors = prior[2] // 4
    names = list(layer.bottom[:2]) + list(layer.bottom[len(bottoms) - len(arm) :])
    per_prior = [4 if share_location else 4 * num_classes, num_classes, 2, 4]
    for name, shape, each in zip(names, [loc, conf, *arm], per_prior):
        check(
            layer,
            len(shape) >= 2 and shape[0] == loc[0] and math.prod(shape[1:]) == priors * each,
            f"'{name}' has shape {shape}, but {priors} priors with {each} values each, "
            f"for {loc[0]} images, need ({loc[0]}, {priors * each})",
        )


@rule("MultiBoxLoss")
def multibox_loss(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """MultiBoxLoss: a scalar."""
    p = layer.multibox_loss_param
    arity(layer, bottoms, 4, 6)
    mining = p.mining_type != pb.MultiBoxLossParameter.NONE
    check(
        layer,
        not p.HasField("do_neg_mining") or p.do_neg_mining == mining,
        f"do_neg_mining: {str(p.do_neg_mining).lower()} contradicts its mining_type",
    )
    check(layer, p.share_location or not mining, "mines negatives only with share_location: true")
    _check_predictions(layer, bottoms, p.num_classes, p.share_location, bottoms[4:])
    check(
        layer,
        p.background_label_id < p.num_classes,
        f"background_label_id {p.background_label_id} is none of its {p.num_classes} classes",
    )
    check(
        layer,
        not p.map_object_to_agnostic or (p.num_classes == 2 and p.background_label_id == 0),
        "map_object_to_agnostic needs num_classes: 2 and background_label_id: 0",
    )
    check(
        layer,
        p.mining_type != pb.MultiBoxLossParameter.HARD_EXAMPLE or p.sample_size > 0,
        "sample_size must be greater than 0",
    )
    check(layer, p.neg_pos_ratio >= 0, "neg_pos_ratio must not be negative")
    _check_rows(layer, 3, bottoms[3], 8)
    return Spec(tops=((),))


def arm_bottoms(bottoms: Sequence[Shape]) -> Sequence[Shape]:
    """Return the ARM's predictions among the bottoms of a DetectionOutput layer.

    RefineDet's layer takes one or two, (N, P * 2) and (N, P * 4). The fourth bottom of SSD's, which
    has four axes, is for drawing: its pictures, or in early nets its labels.
    """
    is_for_drawing = len(bottoms) == 4 and len(bottoms[3]) == 4
    return () if is_for_drawing else bottoms[3:]


@rule("DetectionOutput")
def detection_output(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """DetectionOutput: as many rows of 7 as there are detections; (1, 1, 1, 7) until it runs."""
    p = layer.detection_output_param
    arity(layer, bottoms, 3, 5)
    arm = arm_bottoms(bottoms)
    _check_predictions(layer, bottoms[: 3 + len(arm)], p.num_classes, p.share_location, arm)
    check(
        layer,
        not p.share_location or p.background_label_id >= 0,
        "background_label_id: -1 needs share_location: false",
    )
    check(
        layer,
        p.share_location or len(bottoms) < 5,
        "boxes refined by an ARM need share_location: true",
    )
    check(layer, p.nms_param.nms_threshold >= 0, "nms_threshold must not be negative")
    check(layer, 0 < p.nms_param.eta <= 1, "eta must be greater than 0 and at most 1")
    return Spec(tops=((1, 1, 1, 7),))


@rule("DetectionEvaluate")
def detection_evaluate(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """DetectionEvaluate: rows of 5, one per class and per detection; (1, 1, C, 5) until it runs."""
    p = layer.detection_evaluate_param
    arity(layer, bottoms, 2)
    check(layer, p.num_classes > 0, "needs num_classes")
    check(layer, p.overlap_threshold > 0, "overlap_threshold must be greater than 0")
    _check_rows(layer, 0, bottoms[0], 7)
    _check_rows(layer, 1, bottoms[1], 8)
    if p.HasField("resize_param"):
        resize = p.resize_param
        check(
            layer,
            resize.height > 0 and resize.width > 0,
            "resize_param needs a height and a width",
        )
    return Spec(tops=((1, 1, p.num_classes, 5),))


def _check_rows(layer: pb.LayerParameter, index: int, shape: Shape, width: int) -> None:
    check(
        layer,
        len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == width,
        f"'{layer.bottom[index]}' has shape {shape}, but rows of {width} are (1, 1, K, {width})",
    )
