from __future__ import annotations

import json
from pathlib import Path

import pytest

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import Job, plan


def priors(job: Job) -> int:
    return sum(source.priors for source in job.sources)


def test_the_release_has_8892_priors_and_the_paper_8732() -> None:
    assert priors(plan("root_resnet34", "voc0712", "release-caffe")) == 8892
    assert priors(plan("root_resnet34", "voc0712", "paper")) == 8732
    assert priors(plan("root_resnet18", "voc0712", "release-caffe")) == 8732


def test_512_has_the_24564_priors_of_ssd512() -> None:
    assert priors(plan("root_resnet34", "voc0712", "paper", size=512)) == 24564


def test_the_release_taps_the_branch_and_the_paper_the_activated_sum() -> None:
    release = plan("root_resnet34", "voc0712", "release-caffe").sources
    assert [source.blob for source in release] == [
        *("conv4_12", "conv5_6", "conv6_2", "conv7_2", "conv8_2", "conv9_2"),
    ]
    paper = plan("root_resnet34", "voc0712", "paper").sources
    assert [source.blob for source in paper][:2] == ["res4_6_act", "res5_3_act"]


def test_a_job_lives_under_arch_dataset_and_its_own_name(folder: Path) -> None:
    job = plan("root_resnet18", str(folder), "mini", size=96, bn="none", out="runs")
    assert job.folder == "runs/root_resnet18/cells/mini_96_bn-none"
    assert job.snapshot_prefix == f"{job.folder}/root_resnet18_cells_mini_96_bn-none"
    named = plan("root_resnet18", str(folder), "mini", name="try1")
    assert named.folder == "models/root_resnet18/cells/try1"


def test_the_test_batch_divides_the_image_count(folder: Path) -> None:
    (folder / "test_name_size.txt").write_text("x 1 1\n" * 70)
    job = plan("root_resnet18", str(folder), "mini")
    assert (job.test_batch, job.test_iter) == (14, 5)
    assert plan("root_resnet34", "voc0712", "release-caffe").test_iter == 4952
    assert plan("root_resnet34", "coco", "release-caffe").test_batch == 2


def test_max_iter_scales_the_schedule_and_set_wins_over_it() -> None:
    job = plan("root_resnet34", "voc0712", "release-caffe", max_iter=1000)
    solver = job.recipe.solver
    assert (solver.max_iter, solver.stepvalue) == (1000, (400, 750, 900, 1000))
    assert (solver.snapshot, solver.test_interval) == (50, 50)
    job = plan(
        "root_resnet34", "coco", "release-caffe", max_iter=325, settings=["solver.snapshot=20"]
    )
    assert job.recipe.solver.snapshot == 20
    assert job.recipe.solver.test_interval == 0  # the release does not test on COCO


def test_bn_words_switch_backbone_and_head() -> None:
    for word, expected in {
        "both": (True, True),
        "backbone": (True, False),
        "head": (False, True),
        "none": (False, False),
    }.items():
        recipe = plan("root_resnet34", "coco", "paper", bn=word).recipe
        assert (recipe.backbone.bn, recipe.head.bn) == expected
    with pytest.raises(UserError, match=r"'bth' \(did you mean 'both'\?\)"):
        plan("root_resnet34", "coco", "paper", bn="bth")


def test_custom_data_never_saves_output_while_testing(folder: Path) -> None:
    assert plan("root_resnet34", "voc0712", "release-caffe").saves_output
    assert not plan("root_resnet34", "voc0712", "paper").saves_output
    assert not plan("root_resnet34", str(folder), "release-caffe").saves_output


def test_the_record_says_what_was_asked_and_what_it_became() -> None:
    job = plan("root_resnet18", "voc0712", "mini", batch=8, settings=["solver.base_lr=0.01"])
    record = json.loads(json.dumps(job.record()))
    assert record["asked"]["set"] == ["solver.base_lr=0.01"]
    assert record["recipe"]["data"]["batch_size"] == 8
    assert record["recipe"]["solver"]["base_lr"] == 0.01
    assert record["dataset"]["classes"][0] == "background"
    assert [source["blob"] for source in record["sources"]] == [s.blob for s in job.sources]


@pytest.mark.parametrize("kind", ["size", "max_iter", "batch"])
def test_counts_below_one_are_refused(kind: str) -> None:
    with pytest.raises(UserError, match="must be 1 or more"):
        plan("root_resnet34", "voc0712", "mini", **{kind: 0})  # type: ignore[arg-type]


def test_an_unknown_arch_or_head_names_what_there_is() -> None:
    with pytest.raises(UserError, match=r"unknown arch 'resnet33' \(did you mean"):
        plan("resnet33", "voc0712", "mini")
    with pytest.raises(UserError, match=r"unknown head 'sdd' \(did you mean 'ssd'\?\)"):
        plan("root_resnet34", "voc0712", "mini", settings=["head.type=sdd"])
