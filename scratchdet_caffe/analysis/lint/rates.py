"""Rules about a solver's rate and batch beside its training net."""

from __future__ import annotations

from collections.abc import Iterator

from scratchdet_caffe.analysis.lint.batch_norm import SMALL_BATCH
from scratchdet_caffe.analysis.lint.rules import NOTE, WARNING, Hit, job_rule
from scratchdet_caffe.analysis.lint.subject import Job, Net
from scratchdet_caffe.caffeproto import caffe_pb2 as pb

#: SSD's scripts scale the rate by these when the loss is normalised so.
_VALID, _FULL = 25.0, 2000.0
_HIGHEST = 0.2  # a rate beside VALID with which nobody has trained a detector with SGD
_NO_BN, _HEAD_BN = 0.01, 0.05
_USUAL, _FEW = 0.001, 8


@job_rule(
    "iter-size-bn",
    WARNING,
    why="iter_size adds up gradients, but BatchNorm sees each pass alone: its batch does not grow, "
    "and the running averages move with every pass",
    do="count on the statistics of batch_size images; below 16, prefer a larger batch_size",
    known="BVLC/caffe#4716; the authors train with 16 images per GPU, twice accumulated",
)
def iter_size_bn(job: Job) -> Iterator[Hit]:
    """Gradients accumulated over several passes of a net with BatchNorm."""
    net, passes = job.train, job.param.iter_size
    if net is None or passes < 2 or not _learning_bn(net):
        return
    batch = net.batch
    severity = WARNING if batch and batch < 2 * SMALL_BATCH else NOTE
    of = f"of {batch} images " if batch else ""
    yield Hit(
        f"iter_size {passes} with BatchNorm: statistics are those {of}of one pass",
        severity=severity,
    )


@job_rule(
    "small-batch",
    WARNING,
    why="with so few matched priors to an iteration the loss of a detector runs away to NaN",
    do="raise batch_size or iter_size to 8 images or more, or lower base_lr",
    known="sfzhang15/RefineDet#58 and #119 (NaN with 4, fine with 8), weiliu89/caffe#543",
)
def small_batch(job: Job) -> Iterator[Hit]:
    """A detector trained at a usual rate on few images per iteration."""
    net = job.train
    if net is None or not net.data or not net.batch:
        return
    images = net.batch * job.param.iter_size * (job.gpus or 1)
    usual = any(rate >= _USUAL * 0.999 for _, rate, _ in _rates(job))
    if usual and images < _FEW:
        yield Hit(f"{images} images per iteration, base_lr {job.param.base_lr:g}", net.data.name)


@job_rule(
    "batch-gpus",
    WARNING,
    why="every GPU takes batch_size as it stands in the prototxt, iter_size times; rate and "
    "schedule are made for another number of images",
    do="choose batch_size, GPUs and iter_size so that their product is what was meant, or scale "
    "base_lr with it",
    known="Caffe's multi-GPU notes; SSD's scripts, which divide by the GPUs and round up",
)
def batch_gpus(job: Job) -> Iterator[Hit]:
    """A batch that the GPUs do not share evenly, or that is not the job's own accum_batch_size."""
    net, gpus, passes = job.train, job.gpus, job.param.iter_size
    if net is None or not net.data or not net.batch or not gpus:
        return
    images = net.batch * gpus * passes
    wanted = job.recorded_solver.get("accum_batch_size")
    product = f"batch_size {net.batch} x {gpus} GPU{'s' * (gpus > 1)} x iter_size {passes}"
    if isinstance(wanted, int) and images != wanted:
        yield Hit(f"{product} is {images} images, but the job is made for {wanted}", net.data.name)
    elif not job.recorded_solver.get("gpus") and net.batch % gpus:
        what = f"{product} is {images} images; {net.batch} images do not divide by {gpus}"
        yield Hit(what, net.data.name)


@job_rule(
    "lr-normalization",
    WARNING,
    why="the loss and its gradient are divided by the matched priors (VALID), the images "
    "(BATCH_SIZE), all priors (FULL) or nothing (NONE): a rate made for one is far off for another",
    do="take normalization: VALID, or scale base_lr (SSD's scripts: 25 for VALID, 2000 for FULL, "
    "1 / batch for NONE)",
    known="SSD's ssd_pascal.py",
)
def lr_normalization(job: Job) -> Iterator[Hit]:
    """A rate that is too high for how the MultiBoxLoss is normalised."""
    for layer, rate, mode in _rates(job):
        if mode != "VALID" and rate > _HIGHEST:
            yield Hit(
                f"base_lr {job.param.base_lr:g} with normalization {mode} acts like "
                f"{rate:.2g} with VALID",
                layer,
            )


@job_rule(
    "lr-without-bn",
    WARNING,
    why="at this rate the loss of such a net is NaN in the paper, from scratch",
    do="put BatchNorm on the backbone (--bn both), or lower base_lr to 0.001",
    known="the paper's Table 1: NaN at 0.01 without BatchNorm, at 0.05 with it on the head alone",
)
def lr_without_bn(job: Job) -> Iterator[Hit]:
    """A rate with which the paper's net without BatchNorm on its backbone diverged."""
    net = job.train
    if net is None:
        return
    parts = {g.part for layer, g in zip(net.view.layers, net.groups) if layer.type == "BatchNorm"}
    limit = _HEAD_BN if parts - {"backbone"} else _NO_BN
    if "backbone" not in parts:
        for layer, rate, _ in _rates(job):
            if rate >= limit * 0.999:
                where = "on the head alone" if parts else "nowhere"
                yield Hit(f"base_lr {job.param.base_lr:g} and BatchNorm {where}", layer)
                break


def _learning_bn(net: Net) -> bool:
    return any(
        not layer.node.layer.batch_norm_param.use_global_stats for layer in net.of_type("BatchNorm")
    )


def _rates(job: Job) -> Iterator[tuple[str, float, str]]:
    """Yield, per MultiBoxLoss, its name, the rate as it would act with VALID, and its mode."""
    net = job.train
    if net is None or job.param.type not in ("SGD", "Nesterov"):
        return
    for layer in net.of_type("MultiBoxLoss"):
        mode = pb.LossParameter.NormalizationMode.Name(layer.node.layer.loss_param.normalization)
        batch = float(net.batch or 1)
        factors = {"VALID": _VALID, "FULL": _FULL, "BATCH_SIZE": 1.0, "NONE": 1 / batch}
        yield layer.name, job.param.base_lr * _VALID / factors[mode], mode
