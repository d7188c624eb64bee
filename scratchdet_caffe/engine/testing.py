"""The test phase: what a test net scores over its batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import torch

from scratchdet_caffe import glog
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics.detection_evaluate import DetectionAccumulator

LOG = logging.getLogger("caffe")
Feed = Callable[[], Mapping[str, torch.Tensor]]


@torch.no_grad()
def test_net(
    net: Net, solver: pb.SolverParameter, batches: int, feed: Feed = dict
) -> dict[str, float]:
    """Run ``net`` over ``batches`` and log its scores; return them by output blob.

    ``feed`` provides the blobs of its Input layers, if it has any.

    ``eval_type`` "classification" averages every number of every output; "detection" computes
    the mean average precision from each output's rows, as DetectionEvaluate makes them.
    """
    if solver.eval_type == "detection":
        return _test_detection(net, solver, batches, feed)
    if solver.eval_type == "classification":
        return _test_average(net, solver, batches, feed)
    raise UserError(
        f"solver: eval_type must be classification or detection, not '{solver.eval_type}'"
    )


def _test_detection(
    net: Net, solver: pb.SolverParameter, batches: int, feed: Feed
) -> dict[str, float]:
    found = {blob: DetectionAccumulator() for blob in net.outputs}
    losses = []
    for _ in range(batches):
        outputs = net(feed())
        losses.append(net.loss(outputs))
        for blob, accumulator in found.items():
            rows = outputs[blob]
            if rows.dim() == 0 or rows.shape[-1] != 5:
                raise UserError(
                    f"net '{net.name}': output '{blob}' of shape {tuple(rows.shape)} holds no rows "
                    "of DetectionEvaluate, which eval_type 'detection' needs"
                )
            accumulator.add(rows.cpu().numpy())
    _log_loss(solver, losses)
    scores = {}
    for i, (blob, accumulator) in enumerate(found.items()):
        result = accumulator.result(solver.ap_version)
        for label in result.missing:
            LOG.warning(glog.missing_detections(label))
        if solver.show_per_class_result:
            for label, ap in result.ap.items():
                if label not in result.missing:
                    LOG.info(glog.class_ap(label, ap))
        LOG.info(glog.test_output(i, blob, result.mean))
        scores[blob] = result.mean
    return scores


def _test_average(
    net: Net, solver: pb.SolverParameter, batches: int, feed: Feed
) -> dict[str, float]:
    totals: dict[str, torch.Tensor] = {}
    losses = []
    for _ in range(batches):
        outputs = net(feed())
        losses.append(net.loss(outputs))
        for blob in net.outputs:
            totals[blob] = totals.get(blob, 0) + outputs[blob].flatten() / batches
    _log_loss(solver, losses)
    weights = {net.graph.blob_of[value]: weight for value, weight in net.loss_terms}
    index = 0
    for blob, total in totals.items():
        for value in total.tolist():
            LOG.info(glog.test_output(index, blob, value, weights.get(blob, 0.0)))
            index += 1
    return {blob: float(total.mean()) for blob, total in totals.items()}


def _log_loss(solver: pb.SolverParameter, losses: list[torch.Tensor]) -> None:
    if solver.test_compute_loss and losses:
        LOG.info(glog.test_loss(float(torch.stack(losses).mean())))
