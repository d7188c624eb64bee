"""Every rule: silent on a job without a fault, and the only one to speak on its own fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scratchdet_caffe.analysis.lint import Finding, Severity, all_rules, lint
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text

Lint = Callable[..., list[Finding]]


def nets(job: Any, name: str) -> list[Any]:
    return [job.train, job.test, job.deploy] if name == "*" else [getattr(job, name)]


def put(job: Any, address: str, value: object) -> None:
    """Set a field: ``solver/base_lr``, ``train/data/data_param.batch_size``, ``*/a/type``.

    ``*`` is every net; None clears the field, a list replaces a repeated one.
    """
    where, *layer, path = address.split("/")
    messages = [job.solver]
    if where != "solver":
        messages = [own for net in nets(job, where) for own in net.layer if own.name == layer[0]]
    assert messages
    *parents, name = path.split(".")
    for message in messages:
        for parent in parents:
            message = getattr(message, parent)
        message.ClearField(name)
        if isinstance(value, list):
            getattr(message, name).extend(value)
        elif value is not None:
            setattr(message, name, value)


def insert(net: Any, text: str, behind: str | None = None) -> None:
    """Put a layer into ``net``, at the end or behind another."""
    names = [layer.name for layer in net.layer]
    place = names.index(behind) + 1 if behind else len(names)
    net.layer.insert(place, parse_text(text, pb.LayerParameter))


def without(job: Any, *names: str) -> None:
    for net in nets(job, "*"):
        kept = [layer for layer in net.layer if layer.name not in names]
        assert len(kept) == len(net.layer) - len(names)
        del net.layer[:]
        net.layer.extend(kept)


def without_batch_norm(job: Any, *convolutions: str) -> None:
    without(job, *(f"{name}_{part}" for name in convolutions for part in ("bn", "scale")))


def nobody_reads(job: Any) -> None:
    insert(job.train, 'name: "x" type: "TanH" bottom: "a" top: "x"')


def no_loss_depends(job: Any) -> None:
    filler = 'weight_filler { type: "xavier" }'
    conv = f"convolution_param {{ num_output: 2 kernel_size: 1 {filler} }}"
    insert(job.train, f'name: "x" type: "Convolution" bottom: "a" top: "x" {conv}')
    insert(job.train, 'name: "end" type: "Silence" bottom: "x"')


def no_loss(job: Any) -> None:
    put(job, "train/loss/type", "Silence")
    put(job, "train/loss/top", None)


def read_before_relu(job: Any) -> None:
    for net in nets(job, "*"):
        early = 'name: "x" type: "Reduction" bottom: "a" top: "x" loss_weight: 1'
        insert(net, early, behind="a_scale")


def dropout_behind_sigmoid(job: Any) -> None:
    put(job, "*/stem_relu/type", "Sigmoid")
    for net in nets(job, "*"):
        insert(net, 'name: "x" type: "Dropout" bottom: "stem" top: "stem"', behind="stem_relu")


def source_before_sum(job: Any) -> None:
    """Predict from the raw convolution ``b``, which a sum with its beginning reads, too."""
    without(job, "b_bn", "b_scale", "b_relu")
    put(job, "*/b/convolution_param.stride", [1])
    put(job, "*/b_prior/prior_box_param.step", 4.0)
    for net in nets(job, "*"):
        insert(net, 'name: "x" type: "Eltwise" bottom: "a" bottom: "b" top: "x"', behind="b")
    put(job, "*/a_conf/bottom", ["x"])


def rates_of_statistics(job: Any) -> None:
    put(job, "*/a_bn/param", [pb.ParamSpec(lr_mult=1, decay_mult=0)] * 3)


def zero_fillers(job: Any) -> None:
    for name in ("stem", "a"):
        put(job, f"*/{name}/convolution_param.weight_filler", None)


def few_images(job: Any) -> None:
    without_batch_norm(job, *BODY)
    put(job, "train/data/data_param.batch_size", 4)
    put(job, "solver/base_lr", 0.001)


def rough_statistics(job: Any) -> None:
    put(job, "train/data/data_param.batch_size", 4)
    put(job, "solver/base_lr", 0.0005)


def no_tests(job: Any) -> None:
    for name in ("test_net", "test_iter", "eval_type"):
        put(job, f"solver/{name}", None)


def keeps_nothing(job: Any) -> None:
    put(job, "solver/snapshot", 0)
    put(job, "solver/snapshot_after_train", False)


def scores_only(job: Any) -> None:
    put(job, "solver/max_iter", 0)
    put(job, "solver/stepvalue", None)


def means(job: Any, values: list[float]) -> None:
    for net in ("train", "test"):
        put(job, f"{net}/data/transform_param.mean_value", values)


HEAD = ("a_loc", "a_conf", "b_loc", "b_conf")
BODY = ("stem", "a", "b", *HEAD)
Fault = Callable[[Any], object] | tuple[str, object]
CASES: list[tuple[str, Fault]] = [
    ("unwired", ("*/a/bottom", ["nobody"])),
    ("shapes", ("*/a/convolution_param.group", 3)),
    ("unread-top", nobody_reads),
    ("no-gradient", no_loss_depends),
    ("no-loss", no_loss),
    ("in-place-shared", read_before_relu),
    ("in-place-overwrites", dropout_behind_sigmoid),
    ("too-many-params", ("*/a/param", [pb.ParamSpec(lr_mult=1), pb.ParamSpec(lr_mult=2)])),
    ("same-name", ("*/b/name", "stem")),
    ("zero-weights", zero_fillers),
    ("bn-rates", rates_of_statistics),
    ("bn-frozen", ("train/a_bn/batch_norm_param.use_global_stats", True)),
    ("bn-batch-at-test", ("test/a_bn/batch_norm_param.use_global_stats", False)),
    ("bn-without-scale", lambda job: without(job, "a_scale")),
    ("bn-small-batch", rough_statistics),
    ("head-without-bn", lambda job: without_batch_norm(job, *HEAD)),
    ("prior-count", ("*/a_prior/prior_box_param.aspect_ratio", [2.0, 3.0])),
    ("prior-step", ("*/b_prior/prior_box_param.step", 16.0)),
    ("tap-before-sum", source_before_sum),
    ("propagate-down", ("train/loss/propagate_down", None)),
    ("loss-term-off", ("train/loss/propagate_down", [False, True, False, False])),
    ("class-count", ("*/scores/reshape_param.shape.dim", [0, -1, 6])),
    ("force-color", ("train/data/transform_param.force_color", None)),
    ("mean-order", lambda job: means(job, [123.7, 116.3, 103.5])),
    ("mean-values", lambda job: means(job, [])),
    ("augmentation", ("train/data/transform_param.expand_param", None)),
    ("random-test-data", ("test/data/transform_param.mirror", True)),
    ("test-batch", ("test/data/data_param.batch_size", 6)),
    ("solver-nets", ("solver/test_iter", None)),
    ("solver-type", ("solver/type", "adam")),
    ("lr-policy", ("solver/lr_policy", "polly")),
    ("stepvalue", ("solver/stepvalue", [100, 400])),
    ("trains-nothing", scores_only),
    ("no-snapshot", keeps_nothing),
    ("snapshot-prefix", ("solver/snapshot_prefix", "./")),
    ("snapshot-folder", ("solver/snapshot_prefix", "none/job")),
    ("debug-info", ("solver/debug_info", True)),
    ("no-test", no_tests),
    ("eval-type", ("solver/eval_type", None)),
    ("ap-version", ("solver/ap_version", None)),
    ("test-count", ("solver/test_iter", [5])),
    ("iter-size-bn", ("solver/iter_size", 2)),
    ("small-batch", few_images),
    ("lr-normalization", ("train/loss/loss_param.normalization", pb.LossParameter.BATCH_SIZE)),
    ("lr-without-bn", lambda job: without_batch_norm(job, *BODY)),
    ("nets-differ", ("deploy/a_prior/prior_box_param.offset", 0.0)),
    ("untrained-layer", ("deploy/a/name", "other")),
    ("input-differs", ("test/data/transform_param.scale", 0.5)),
    ("output-differs", ("test/detections/detection_output_param.code_type", 1)),
    ("same-database", ("test/data/data_param.source", "trainval_lmdb")),
]


def test_a_job_without_a_fault_is_clean(lint_job: Lint) -> None:
    assert lint_job() == []
    assert lint_job("solver.prototxt") == []
    assert lint_job("train.prototxt") == []


@pytest.mark.parametrize(("rule", "fault"), CASES, ids=[rule for rule, _ in CASES])
def test_a_fault_is_found_by_its_rule_alone(
    rule: str, fault: Fault, job: Any, lint_job: Lint
) -> None:
    if isinstance(fault, tuple):
        put(job, *fault)
    else:
        fault(job)
    found = lint_job()
    assert {finding.rule for finding in found} == {rule}
    for finding in found:
        assert finding.what and finding.why and finding.do and finding.files


def test_every_rule_has_a_test() -> None:
    elsewhere = {"unknown-field", "no-resize", "label-map", "label-map-absent", "net-absent"}
    elsewhere.add("batch-gpus")
    names = [rule.name for rule in all_rules()]
    assert len(set(names)) == len(names)
    assert {rule for rule, _ in CASES} | elsewhere == set(names)


def found_by(findings: list[Finding], rule: str) -> Finding:
    (finding,) = [finding for finding in findings if finding.rule == rule]
    return finding


def test_a_field_of_another_caffe(lint_job: Lint, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text('layer { name: "r" type: "ReLU" top: "y"\n  relu6_param { } }')
    finding = found_by(lint_job("net.prototxt"), "unknown-field")
    assert finding.what.startswith("2:3: LayerParameter has no field 'relu6_param'")
    assert finding.severity == Severity.ERROR


TWO_PHASES = """
layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" include { phase: TRAIN }
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "x" top: "loss"
  include { phase: TRAIN } }
layer { name: "soft" type: "Softmax" bottom: "nobody" top: "p" include { phase: TEST %s } }
"""


def test_both_phases_of_a_net_are_wired(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(TWO_PHASES % "")
    (finding,) = lint(path)
    assert finding.rule == "unwired"
    assert "unknown bottom blob 'nobody'" in finding.what
    # With a stage, only a solver can say whether that phase exists so.
    path.write_text(TWO_PHASES % 'stage: "deploy"')
    assert lint(path) == []
    solver = tmp_path / "solver.prototxt"
    solver.write_text(
        'net: "net.prototxt" test_iter: 1 test_interval: 1 base_lr: 1 lr_policy: "fixed"'
        ' max_iter: 9 snapshot_prefix: "p" test_state { stage: "deploy" }'
    )
    found = found_by(lint(solver), "solver-nets")
    assert "unknown bottom blob 'nobody'" in found.what


@pytest.mark.parametrize(
    "data",
    [
        'type: "Input" input_param { shape { dim: 1 dim: 2 } }',
        'type: "Data" include { phase: TRAIN } data_param { source: "lmdb" batch_size: 2 }',
    ],
)
def test_a_loss_of_another_caffe_may_be_one(data: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        f'layer {{ name: "data" top: "x" {data} }}'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {'
        ' num_output: 2 weight_filler { type: "xavier" } } include { phase: TRAIN } }'
        'layer { name: "loss" type: "CenterLoss" bottom: "y" top: "loss" }'
    )
    assert lint(path) == []


def test_what_may_differ_between_nets(job: Any, lint_job: Lint) -> None:
    """Engines and fillers do not change what a layer computes; another test size is a warning."""
    put(job, "test/a/convolution_param.engine", pb.ConvolutionParameter.CAFFE)
    put(job, "deploy/a/convolution_param.weight_filler", None)
    assert lint_job() == []
    put(job, "test/data/transform_param.resize_param.height", 64)
    put(job, "test/data/transform_param.resize_param.width", 64)
    found = [finding for finding in lint_job() if finding.rule == "input-differs"]
    assert [finding.severity for finding in found] == [Severity.WARNING] * 2


def test_pictures_of_any_size_in_one_batch(job: Any, lint_job: Lint) -> None:
    put(job, "train/data/transform_param.resize_param", None)
    finding = found_by(lint_job("train.prototxt"), "no-resize")
    assert finding.layers == ("data",)


def test_label_maps_are_held_against_the_classes(job: Any, lint_job: Lint, tmp_path: Path) -> None:
    assert lint_job() == []
    labels = tmp_path / "labelmap.prototxt"
    fourth = 'item { name: "hen" label: 3 display_name: "hen" }'
    labels.write_text(labels.read_text() + fourth)
    finding = found_by(lint("."), "label-map")
    assert finding.what == "labelmap.prototxt has 4 labels, the net 3 classes"
    labels.write_text(fourth)
    assert "a label map needs the background" in found_by(lint("."), "label-map").what
    labels.unlink()
    assert [(f.rule, f.severity) for f in lint(".")] == [("label-map-absent", Severity.NOTE)]


def test_nets_that_are_not_there(job: Any, lint_job: Lint) -> None:
    job.solver.train_net = "none/none.prototxt"
    finding = found_by(lint_job("solver.prototxt"), "net-absent")
    assert finding.what == "'none/none.prototxt' is not there"


def test_gpus_take_the_batch_as_it_is(job: Any, lint_job: Lint, tmp_path: Path) -> None:
    finding = found_by(lint_job(gpus=3), "batch-gpus")
    assert finding.what == (
        "batch_size 16 x 3 GPUs x iter_size 1 is 48 images; 16 images do not divide by 3"
    )
    assert lint_job(gpus=4) == []
    solver = {"gpus": [0, 1, 2, 3], "accum_batch_size": 64}
    (tmp_path / "job.json").write_text(json.dumps({"recipe": {"solver": solver}}))
    assert lint_job() == []
    finding = found_by(lint_job(gpus=3), "batch-gpus")
    assert finding.what.endswith("is 48 images, but the job is made for 64")
    put(job, "train/data/data_param.batch_size", 8)
    assert found_by(lint_job(), "batch-gpus").what.startswith("batch_size 8 x 4 GPUs")
    put(job, "solver/solver_mode", pb.SolverParameter.CPU)
    assert lint_job() == []  # GPUs in the record of a job on the CPU are another recipe's


def test_accumulating_small_batches_is_worse_than_large_ones(job: Any, lint_job: Lint) -> None:
    job.solver.iter_size = 4
    assert found_by(lint_job(), "iter-size-bn").severity == Severity.NOTE
    put(job, "train/data/data_param.batch_size", 12)
    finding = found_by(lint_job(), "iter-size-bn")
    assert finding.severity == Severity.WARNING
    assert "statistics are those of 12 images" in finding.what


def test_statistics_with_a_rate_are_found_however_many_entries_there_are(
    job: Any, lint_job: Lint
) -> None:
    for count in (1, 2, 3):
        put(job, "*/a_bn/param", [pb.ParamSpec(lr_mult=1)] * count)
        rules = {finding.rule for finding in lint_job()}
        assert rules == ({"bn-rates"} if count == 3 else {"shapes"})


@pytest.mark.parametrize(
    ("goes", "rule"),
    [
        ([True, True, True, False], "propagate-down"),
        ([True, True, False, True], "propagate-down"),
        ([True, False, False, False], "loss-term-off"),
    ],
)
def test_propagate_down(goes: list[bool], rule: str, job: Any, lint_job: Lint) -> None:
    put(job, "train/loss/propagate_down", goes)
    assert {finding.rule for finding in lint_job()} >= {rule}


def test_prior_counts_name_the_prediction_and_what_it_needs(job: Any, lint_job: Lint) -> None:
    put(job, "*/b_conf/convolution_param.num_output", 84)
    finding = found_by(lint_job(), "prior-count")
    assert finding.layers == ("b_conf",)
    assert finding.files == ("train.prototxt", "test.prototxt", "deploy.prototxt")
    assert finding.what == (
        "has 84 outputs, but 4 priors per cell of 'b_prior' with 3 classes each need 12"
    )
