from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import scratchdet_caffe.experiment as experiment
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import (
    ARCHS,
    DATASETS,
    HEADS,
    load_recipe,
    recipe_files,
    recipe_names,
)
from scratchdet_caffe.experiment.recipe_files import about_recipe, parse_setting, toml

FILES = sorted((Path(experiment.__file__).parent / "recipes").glob("*.toml"))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_settles_for_every_arch_and_dataset(name: str) -> None:
    words = itertools.product([a.name for a in ARCHS], [d.name for d in DATASETS])
    for pair in words:
        assert load_recipe(name, pair).name == name
    assert about_recipe(name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_when_names_words_that_exist(path: Path) -> None:
    words = {word for key in toml.loads(path.read_text()).get("when", {}) for word in key.split()}
    known = {arch.name for arch in ARCHS} | {arch.family for arch in ARCHS}
    known |= {arch.block for arch in ARCHS}
    known |= {data.name for data in DATASETS} | {"voc"} | {head.name for head in HEADS}
    assert all(word in known or word.isdigit() for word in words)


def test_a_condition_of_two_words_holds_where_both_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "base.toml").write_text('about = "b"\nsize = 1\n[a]\nx = 1\ny = 1\n')
    (tmp_path / "more.toml").write_text("[a]\ny = 2\n")
    (tmp_path / "both.toml").write_text(
        'extends = ["base", "more"]\n[when."coco 512"]\na.x = 5\n[when.512]\nsize = 3\n'
    )
    monkeypatch.setattr(recipe_files, "_FOLDER", tmp_path)
    recipe_files._read.cache_clear()
    settled = recipe_files._settled
    try:
        assert settled("both", frozenset({"coco"}))["a"] == {"x": 1, "y": 2}
        assert settled("both", frozenset({"coco", "512"}))["a"] == {"x": 5, "y": 2}
        assert settled("both", frozenset({"512"}))["size"] == 3
    finally:
        recipe_files._read.cache_clear()


def test_the_release_has_head_bn_on_coco_only() -> None:
    assert not load_recipe("release-caffe", ("root_resnet34", "voc0712")).head.bn
    assert load_recipe("release-caffe", ("root_resnet34", "coco")).head.bn


def test_a_recipe_states_only_what_it_changes() -> None:
    release = load_recipe("release-caffe", ("root_resnet34", "voc0712"))
    paper = load_recipe("paper", ("root_resnet34", "voc0712"))
    assert paper.solver.stepvalue == release.solver.stepvalue
    assert paper.pyramid.unshrunk == ()
    assert paper.data.batch_size == release.data.batch_size / 2


def test_settings_win_over_the_recipe() -> None:
    changes = [parse_setting(s) for s in ("solver.base_lr=1", "solver.stepvalue=[5, 9]")]
    changes += [parse_setting("solver.lr_policy=poly"), parse_setting("head.bn=true")]
    changes += [parse_setting('backbone.filler={type="msra"}'), parse_setting("solver.power=0.9")]
    recipe = load_recipe("release-caffe", ("root_resnet34", "voc0712"), changes)
    assert recipe.solver.base_lr == 1.0
    assert recipe.solver.stepvalue == (5, 9)
    assert (recipe.solver.lr_policy, recipe.solver.power) == ("poly", 0.9)
    assert recipe.head.bn
    assert recipe.backbone.filler.type == "msra"


def test_a_filler_is_replaced_as_a_whole() -> None:
    change = parse_setting('head.filler_with_bn={type="xavier"}')
    assert load_recipe("release-caffe", (), [change]).head.filler_with_bn.std is None


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("solver.bse_lr=1", r"'solver\.bse_lr' \(did you mean 'solver\.base_lr'\?\)"),
        ("slover.base_lr=1", r"'slover' \(did you mean 'solver'\?\)"),
        ("solver.base_lr=fast", "'solver.base_lr' is 'fast', but must be a number"),
        ("solver.max_iter=1.5", "'solver.max_iter' is 1.5, but must be a whole number"),
        ("head.bn=1", "'head.bn' is 1, but must be true or false"),
        ("solver.stepvalue=[1, 2.5]", "'solver.stepvalue' is 2.5, but must be a whole number"),
        ("solver.stepvalue=7", "'solver.stepvalue' is 7, but must be a list"),
        ("solver=7", "'solver' is 7, but must be a table of type, lr_policy"),
        ("backbone.filler={std=1}", "'backbone.filler.type' is missing"),
    ],
)
def test_a_wrong_setting_is_one_sentence(setting: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_recipe("mini", ("root_resnet18", "shapes"), [parse_setting(setting)])


@pytest.mark.parametrize("setting", ["solver.base_lr", "=3", "solver.=3"])
def test_a_setting_without_field_or_value_says_how_to_write_it(setting: str) -> None:
    with pytest.raises(UserError, match=r"table\.field=value"):
        parse_setting(setting)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'papr' \(did you mean 'paper'\?\)"):
        load_recipe("papr")
