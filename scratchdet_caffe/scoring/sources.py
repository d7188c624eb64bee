"""The ways to something scored: a test net's own pass, a look at pictures, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import InNet
from scratchdet_caffe.scoring.deploy import DeployNet, read_deploy_net
from scratchdet_caffe.scoring.detector import Detector, softly, voting
from scratchdet_caffe.scoring.found import read_found
from scratchdet_caffe.scoring.looking import look_at
from scratchdet_caffe.scoring.scored import Scored
from scratchdet_caffe.scoring.testnet import detect, open_test_net, read_test_net
from scratchdet_caffe.scoring.truth import GroundTruth
from scratchdet_caffe.scoring.views import Views, plan_views

SOFT = ("linear", "gaussian", "refinedet")
"""Soft suppression in the place of the net's own, or, as RefineDet does for COCO, after it."""


def from_test_net(
    engine: Callable[[], Any],
    model: Path,
    weights: Path,
    version: str,
    batch: int | None,
    threshold: float | None,
) -> Scored:
    """Run a test net once over its data.

    Args:
        engine: Returns a module with pycaffe's API.
        model: The prototxt.
        weights: The ``.caffemodel``.
        version: The solver's ``ap_version``.
        batch: Images per forward; None for the prototxt's.
        threshold: IoU from which on a detection finds an object; None for the prototxt's.
    """
    test = read_test_net(model, batch)
    made = detect(open_test_net(engine(), model, weights, batch), test)
    in_net = None
    if test.evaluation and threshold in (None, test.threshold):
        in_net = InNet(
            whole=made.rows.result(version),
            once=made.once.result(version),
            surplus=-len(test.images) % test.batch,
            in_pixels=test.in_pixels,
            count_difficult=test.count_difficult,
            version=version,
        )
    truth = GroundTruth(
        made.results, test.image_ids, test.category_ids, pixels=test.pixels, coco=test.coco
    )
    return Scored(
        made.results,
        truth,
        {},
        threshold or test.threshold,
        in_net,
        written_by_net=test.files,
    )


def from_pictures(
    engine: Callable[[], Any],
    model: Path,
    weights: Path,
    out: Path,
    truth: GroundTruth | None = None,
    batch: int | None = None,
    threshold: float | None = None,
    multi_scale: str = "",
    coco_voting: bool | None = None,
    soft: str = "",
) -> Scored:
    """Look at the pictures of a ground truth with a net, by one look or by many.

    Args:
        engine: Returns a module with pycaffe's API.
        model: A test or deploy prototxt.
        weights: The ``.caffemodel``.
        out: Where an interrupted look leaves what it has found.
        truth: What is there; None for what the data layer of the test net holds.
        batch: Pictures per forward.
        threshold: IoU from which on a detection finds an object.
        multi_scale: "auto", "320" or "512" for many looks, see `plan_views`.
        coco_voting: Whether detections are merged by COCO's rule, and COCO's further scales are
            looked at; None for what the set is.
        soft: One of `SOFT`, or nothing.

    Raises:
        UserError: Net, truth and wishes do not fit together.
    """
    if multi_scale and soft:
        raise UserError("--multi-scale merges by box voting: give no --soft-nms with it")
    deploy = read_deploy_net(model, nms=soft not in ("linear", "gaussian"))
    if truth is None:
        test = read_test_net(model, batch)
        truth, threshold = test.truth, threshold or test.threshold
        batch = batch or test.batch
    classes = truth.results.classes
    if deploy.output.num_classes != len(classes):
        raise UserError(
            f"{model}: the net tells {deploy.output.num_classes} classes apart, the background "
            f"included, but the ground truth has {len(classes)}"
        )
    known = deploy.classes() or classes
    if known != classes:
        strange = [name for name in classes if name not in known]
        wrong = f"has '{strange[0]}'" if strange else f"numbers them {', '.join(classes[1:])}"
        raise UserError(
            f"{model}: the net's classes are {', '.join(known[1:])}, but the ground truth {wrong}"
        )
    coco = truth.coco if coco_voting is None else coco_voting
    views = None
    if multi_scale:
        sizes = [(image.width, image.height) for image in truth.results.images]
        views = plan_views(deploy.size, sizes, deploy.takes, coco, multi_scale)
    detector = make_detector(engine(), deploy, weights, views, coco, soft)
    facts = _facts(views, coco, soft)
    status = weights.stat()
    what = f"{deploy.net}{facts}{weights.resolve()}{status.st_size}{status.st_mtime_ns}"
    results = look_at(truth, detector, batch or 1, out, what)
    return Scored(results, truth, facts, threshold or 0.5)


def make_detector(
    caffe: Any,
    deploy: DeployNet,
    weights: Path,
    views: Views | None = None,
    coco_voting: bool = False,
    soft: str = "",
) -> Detector:
    """Return the detector that merges as is asked for; see `from_pictures`."""
    told = deploy.output
    least = told.confidence_threshold if told.HasField("confidence_threshold") else 0.01
    if views:
        return Detector(caffe, deploy, weights, voting(least if coco_voting else None), None, views)
    if soft:
        kind = "linear" if soft == "refinedet" else soft
        keep = told.keep_top_k if told.keep_top_k >= 0 else None
        return Detector(caffe, deploy, weights, softly(kind, least), keep)
    return Detector(caffe, deploy, weights)


def _facts(views: Views | None, coco: bool, soft: str) -> dict[str, Any]:
    if views:
        return {
            "views": [str(view) for view in views.lying],
            "views_left_out": views.left_out,
            "merged_by": "soft box voting" if coco else "box voting",
        }
    return {"soft_nms": soft} if soft else {}


def from_files(path: Path, truth: GroundTruth | None, threshold: float | None) -> Scored:
    """Read detections; see `read_found`."""
    found = read_found(path, truth)
    raw = None
    if truth and truth.instances and found.coco is not None:
        raw = truth.instances, found.coco
    truth = truth or GroundTruth(found.results, (), ())
    return Scored(found.results, truth, {}, threshold or 0.5, raw=raw, from_files=True)
