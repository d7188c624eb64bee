"""Rates, passes and weights: what follows from batch, GPUs and the loss's normalisation."""

from __future__ import annotations

from typing import Any

import pytest

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import plan
from scratchdet_caffe.experiment.recipe import SolverParams


def solver(arch: str, recipe: str, dataset: str = "voc0712", **words: Any) -> SolverParams:
    return plan(arch, dataset, recipe, **words).recipe.solver


@pytest.mark.parametrize(
    ("words", "passes", "device"),
    [
        ({}, 2, 0),  # 16 x 4 GPUs
        ({"batch": 32}, 1, 0),
        ({"gpus": "0"}, 8, 0),
        ({"gpus": "2,3", "batch": 10}, 7, 2),  # 140 pictures: no fewer than the 128 meant
        ({"gpus": "none"}, 8, 0),
        ({"batch": 4, "settings": ["solver.iter_size=1"]}, 1, 0),
        ({"batch": 4, "settings": ["solver.accum_batch_size=32"]}, 2, 0),
    ],
)
def test_passes_make_up_the_batch_that_the_recipe_means(
    words: dict[str, Any], passes: int, device: int
) -> None:
    found = solver("root_resnet34", "paper", **words)
    assert (found.iter_size, found.device_id) == (passes, device)
    assert found.solver_mode == ("CPU" if words.get("gpus") == "none" else "GPU")


@pytest.mark.parametrize(
    ("arch", "recipe", "settings", "rate"),
    [
        ("vgg16", "ssd", [], 0.001),
        ("vgg16", "ssd", ["loss.normalization=FULL"], 0.08),
        ("vgg16", "ssd", ["loss.normalization=NONE"], 0.000005),
        ("vgg16", "ssd", ["loss.neg_pos_ratio=7"], 0.0005),  # boxes weigh twice as much
        ("vgg16", "ssd", ["loss.normalization=FULL", "solver.base_lr=0.3"], 0.3),
        ("root_resnet34", "release-caffe", [], 0.05),
        ("vgg16", "refinedet-finetune", [], 0.00005),
        ("root_resnet18", "mini", ["loss.normalization=FULL"], 0.03),  # stated, so it holds
    ],
)
def test_the_rate_follows_the_normalisation_of_the_loss(
    arch: str, recipe: str, settings: list[str], rate: float
) -> None:
    assert solver(arch, recipe, settings=settings).base_lr == pytest.approx(rate)


def test_the_weight_of_boxes_follows_the_negatives() -> None:
    def weight(*settings: str) -> float | None:
        return plan("vgg16", "voc0712", "ssd", settings=settings).recipe.loss.loc_weight

    assert weight() == 1
    assert weight("loss.neg_pos_ratio=7") == 2
    assert weight("loss.neg_pos_ratio=7", "loss.loc_weight=1") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"settings": ["loss.normalization=BATCH_SIZE"]}, "has no rule for the rate"),
        ({"gpus": "0,0"}, "--gpus '0,0': write numbers like 0,1, each once"),
        ({"gpus": "all"}, "--gpus 'all'"),
        ({"gpus": ""}, "--gpus ''"),
    ],
)
def test_what_gives_no_rate_and_no_gpu_is_refused(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        plan("vgg16", "voc0712", "ssd", **words)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "steps", "snapshot"),
    [("voc0712", (80000, 120000), 5000), ("voc0712plus", (120000, 160000), 10000)],
)
def test_finetuning_is_that_of_the_scripts(
    dataset: str, steps: tuple[int, ...], snapshot: int
) -> None:
    found = solver("vgg16", "refinedet-finetune", dataset, size=512)
    assert (found.stepvalue, found.gamma, found.max_iter) == (steps, 0.2, steps[-1])
    assert (found.snapshot, found.iter_size) == (snapshot, 1)


def test_weights_are_the_recipes_or_those_asked_for() -> None:
    def weights(recipe: str, arch: str = "vgg16", **words: Any) -> str:
        return plan(arch, "voc0712", recipe, **words).recipe.weights

    assert weights("ssd").endswith("VGG_ILSVRC_16_layers_fc_reduced.caffemodel")
    assert weights("ssd", weights="none") == ""
    assert weights("paper") == ""
    assert weights("paper", weights="a b.caffemodel") == "a b.caffemodel"
    assert "512x512" in weights("refinedet-finetune", size=512)
    assert weights("paper-finetune", "root_resnet34").startswith(
        "models/root_resnet34/coco/paper_300"
    )
    for recipe in ("ssd", "refinedet"):  # not from ImageNet, as the recipe itself
        folder = f"models/resnet101/coco/{recipe}_320/"
        assert weights(f"{recipe}-finetune", "resnet101", size=320).startswith(folder)
    with pytest.raises(UserError, match="goes on from trained weights: give --weights FILE"):
        weights("paper-finetune", "root_resnet34", weights="none")


def test_the_head_may_be_asked_for() -> None:
    job = plan("root_resnet34", "voc0712", "paper", size=320, head="refinedet")
    assert (job.head.name, job.name) == ("refinedet", "paper_320_refinedet")
    assert job.recipe.detection.top_k == 1000  # what belongs to the head comes with it
    with pytest.raises(UserError, match=r"unknown head 'refinedt' \(did you mean 'refinedet'\?\)"):
        plan("root_resnet34", "voc0712", "paper", head="refinedt")
