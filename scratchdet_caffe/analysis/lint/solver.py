"""Rules about a solver: schedule, snapshots, tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scratchdet_caffe.analysis.lint.data import test_images
from scratchdet_caffe.analysis.lint.rules import ERROR, NOTE, WARNING, Hit, job_rule
from scratchdet_caffe.analysis.lint.subject import Job
from scratchdet_caffe.engine.rates import check_policy, check_type
from scratchdet_caffe.errors import UserError

_AP_VERSIONS = ("11point", "MaxIntegral", "Integral")


@job_rule(
    "solver-nets",
    ERROR,
    why="the solver cannot start",
    do="name one training net, and a test_iter for each test net",
    known="Caffe's solver.cpp",
)
def solver_nets(job: Job) -> Iterator[Hit]:
    """A solver that names no training net, or test nets and test_iter that do not match."""
    if job.problem:
        yield Hit(job.problem.removeprefix("solver: "))


@job_rule(
    "net-absent",
    NOTE,
    why="nobody could look at it; the solver stops where it is not there",
    do="run this command from the folder that the solver's paths count from",
    known="paths in a prototxt count from the current folder",
)
def net_absent(job: Job) -> Iterator[Hit]:
    """A net that the solver names and that is not there."""
    for path in job.absent:
        yield Hit(f"'{path}' is not there")


@job_rule(
    "solver-type",
    ERROR,
    why="the solver stops",
    do="take one of Caffe's: SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam",
    known="Caffe's solver_factory.hpp",
)
def solver_type(job: Job) -> Iterator[Hit]:
    """A type of solver that Caffe does not have."""
    try:
        check_type(job.param)
    except UserError as error:
        yield Hit(str(error).removeprefix("solver: "))


@job_rule(
    "lr-policy",
    ERROR,
    why="the solver stops, or the rate never changes",
    do="give the policy the numbers that it needs",
    known="Caffe's sgd_solver.cpp",
)
def lr_policy(job: Job) -> Iterator[Hit]:
    """A learning rate policy that is unknown or lacks a number."""
    try:
        check_policy(job.param)
    except UserError as error:
        yield Hit(str(error).removeprefix("solver: "))


@job_rule(
    "stepvalue",
    WARNING,
    why="that drop of the rate never comes",
    do="scale the steps together with max_iter",
    known="schedules cut short by hand",
)
def stepvalue(job: Job) -> Iterator[Hit]:
    """A step of the learning rate behind the end of training."""
    p = job.param
    late = [step for step in p.stepvalue if step > p.max_iter]
    if late and p.lr_policy == "multistep":
        yield Hit(f"stepvalue {', '.join(map(str, late))} lies beyond max_iter {p.max_iter}")


@job_rule(
    "trains-nothing",
    NOTE,
    why="the solver only runs its first test",
    do="set max_iter",
    known="solvers that score a published model",
)
def trains_nothing(job: Job) -> Iterator[Hit]:
    """A max_iter of 0."""
    if job.param.max_iter == 0:
        yield Hit("max_iter is 0")


@job_rule(
    "no-snapshot",
    WARNING,
    why="when the run ends, or is stopped by what cannot be caught, nothing of it is left",
    do="set snapshot to some thousand iterations, and leave snapshot_after_train on",
    known="Caffe's solver.cpp",
)
def no_snapshot(job: Job) -> Iterator[Hit]:
    """A solver that keeps nothing, or nothing before the end."""
    p = job.param
    if not p.max_iter:
        return
    early = 0 < p.snapshot <= p.max_iter
    if not early and not p.snapshot_after_train:
        yield Hit("no snapshot is ever taken")
    elif not early and p.max_iter > 10000:
        yield Hit(f"no snapshot before the end, after {p.max_iter} iterations", severity=NOTE)


@job_rule(
    "snapshot-prefix",
    WARNING,
    why="snapshots are called '_iter_N', hidden among those of other jobs",
    do="end snapshot_prefix with a name",
    known="Caffe's solver.cpp",
)
def snapshot_prefix(job: Job) -> Iterator[Hit]:
    """A snapshot_prefix that is empty or ends as a folder."""
    p = job.param
    if p.snapshot or p.snapshot_after_train:
        if not p.snapshot_prefix:
            yield Hit("has no snapshot_prefix", severity=NOTE)
        elif p.snapshot_prefix.endswith("/") or Path(p.snapshot_prefix).is_dir():
            yield Hit(f"snapshot_prefix '{p.snapshot_prefix}' is a folder")


@job_rule(
    "snapshot-folder",
    NOTE,
    why="real Caffe makes no folders: it stops at the first snapshot (some versions at the start)",
    do="make the folder, or train from the folder that paths count from",
    known="BVLC/caffe#1394 and PR #3049",
)
def snapshot_folder(job: Job) -> Iterator[Hit]:
    """A folder for snapshots that is not there."""
    folder = Path(job.param.snapshot_prefix).parent
    if job.param.snapshot_prefix and not folder.is_dir():
        yield Hit(f"folder '{folder}' of snapshot_prefix is not there")


@job_rule(
    "debug-info",
    NOTE,
    why="each pass logs a norm for every blob: long logs, and time",
    do="set debug_info: false once training runs",
    known="the authors' VOC solver",
)
def debug_info(job: Job) -> Iterator[Hit]:
    """A solver that logs every blob."""
    if job.param.debug_info:
        yield Hit("debug_info is on")


@job_rule(
    "no-test",
    NOTE,
    why="the log has no score: a run that goes wrong shows by its loss only",
    do="name a test_net with test_iter and test_interval, or score the snapshots with evaluate",
    known="the authors' COCO solver and RefineDet's",
)
def no_test(job: Job) -> Iterator[Hit]:
    """A solver without test nets."""
    if job.train and not job.problem and not job.tests and job.param.max_iter:
        yield Hit("nothing is tested while training")


@job_rule(
    "eval-type",
    WARNING,
    why="without it Caffe averages the rows of detections as if they were scores",
    do='set eval_type: "detection" (and ap_version) where a DetectionEvaluate layer is tested',
    known="weiliu89/caffe#344",
)
def eval_type(job: Job) -> Iterator[Hit]:
    """A solver whose eval_type does not fit its test nets."""
    tests = [net for net in job.tests if net]
    judged = any(True for net in tests for _ in net.of_type("DetectionEvaluate"))
    asked = job.param.eval_type == "detection"
    if judged and not asked:
        yield Hit(f"eval_type is '{job.param.eval_type}', but the test net detects")
    elif asked and tests and not judged:
        yield Hit("eval_type is 'detection', but no test net has a DetectionEvaluate layer")


@job_rule(
    "ap-version",
    NOTE,
    why="the log's mAP is not the one that VOC 2007 tables show (11point)",
    do='set ap_version: "11point" to compare with VOC 2007 tables',
    known="three rules of AP in Caffe's bbox_util.cpp; Integral by default",
)
def ap_version(job: Job) -> Iterator[Hit]:
    """A rule of average precision that is unknown or not chosen."""
    p = job.param
    if p.eval_type == "detection" and p.ap_version not in _AP_VERSIONS:
        known = ", ".join(_AP_VERSIONS)
        yield Hit(f"ap_version '{p.ap_version}' is none of {known}", severity=ERROR)
    elif p.eval_type == "detection" and not p.HasField("ap_version"):
        yield Hit("ap_version is not set, so it is Integral")


@job_rule(
    "test-count",
    WARNING,
    why="images are counted twice or left out, so the score is slightly off",
    do="make test_iter x batch_size the number of test images",
    known="a comment in SSD's ssd_pascal.py; eric612/MobileNet-YOLO#198",
)
def test_count(job: Job) -> Iterator[Hit]:
    """A round of tests that does not see every test image once."""
    for net, rounds in zip(job.tests, job.param.test_iter):
        if not net or not net.data or not net.batch:
            continue
        own = test_images(net)
        images = own or job.record.get("dataset", {}).get("test_images")
        if own and own % net.batch:
            continue  # told by the rule about the batch
        seen = rounds * net.batch
        if isinstance(images, int) and images > 0 and seen != images:
            surplus = f"{seen - images} twice" if seen > images else f"{images - seen} never"
            what = f"test_iter {rounds} x batch_size {net.batch} is {seen} of {images} images"
            yield Hit(f"{what}: {surplus}", net.data.name)
