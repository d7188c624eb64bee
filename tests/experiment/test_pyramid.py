from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import ARCHS, Level, load_recipe, plan
from scratchdet_caffe.experiment.layout import make_body
from scratchdet_caffe.experiment.pyramid import Window, climb_start, climbing_sizes
from scratchdet_caffe.experiment.recipe_files import parse_setting


def sources(arch: str, size: int, *settings: str) -> tuple[Level, ...]:
    """Return the maps of the recipe paper for a net of its own words."""
    words = (arch, ARCHS[arch].family, "voc0712", str(size))
    recipe = load_recipe("paper", words, [parse_setting(text) for text in settings])
    return make_body(ARCHS[arch], size, recipe.backbone, recipe.pyramid).sources


def maps(size: int, arch: str = "root_resnet34", *settings: str) -> list[int]:
    return [level.cells for level in sources(arch, size, *settings)]


def steps(size: int) -> list[float]:
    return [level.step for level in sources("root_resnet34", size)]


def test_maps_and_steps_are_those_of_ssd() -> None:
    assert maps(300) == [38, 19, 10, 5, 3, 1]
    assert steps(300) == [8, 16, 32, 64, 100, 300]
    assert maps(512) == [64, 32, 16, 8, 4, 2, 1]
    assert steps(512) == [8, 16, 32, 64, 128, 256, 512]


def test_prior_sizes_are_those_of_ssd300() -> None:
    voc = climbing_sizes(300, sources=6, first=10, lowest=20, highest=90)
    assert [low for low, _ in voc] == [30, 60, 111, 162, 213, 264]
    assert [high for _, high in voc] == [60, 111, 162, 213, 264, 315]
    coco = climbing_sizes(300, sources=6, first=7, lowest=15, highest=90)
    assert [low for low, _ in coco] == [21, 45, 99, 153, 207, 261]
    assert [high for _, high in coco] == [45, 99, 153, 207, 261, 315]


def test_prior_sizes_are_those_of_ssd512_on_coco() -> None:
    sizes = climbing_sizes(512, sources=7, first=4, lowest=10, highest=90)
    assert [low for low, _ in sizes] == pytest.approx(
        [20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8]
    )
    assert sizes[-1][1] == pytest.approx(542.72)


@given(size=st.integers(33, 1500), arch=st.sampled_from([arch.name for arch in ARCHS]))
def test_any_size_gives_shrinking_maps_that_end_in_one_cell(size: int, arch: str) -> None:
    cells = maps(size, arch)
    assert cells[-1] == 1
    assert all(below > above for below, above in itertools.pairwise(cells))


@given(size=st.integers(9, 1500))
def test_every_prior_centre_row_starts_inside_and_covers_the_input(size: int) -> None:
    for cells, step in zip(maps(size), steps(size)):
        assert 0 < step / 2 < size
        assert cells * step >= size * (1 - 1e-9)


@given(
    size=st.integers(32, 1024),
    sources=st.integers(1, 8),
    lowest=st.integers(11, 30),
    highest=st.integers(60, 95),
)
def test_prior_sizes_climb_and_join(size: int, sources: int, lowest: int, highest: int) -> None:
    sizes = climbing_sizes(size, sources, 10, lowest, highest)
    assert len(sizes) == sources
    assert all(low < high for low, high in sizes)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(sizes))


def test_more_sources_than_six_lower_the_smallest_priors_as_ssd512_does() -> None:
    assert climb_start(6, 10, 20) == (10, 20)
    assert climb_start(7, 10, 20) == (7, 15)
    assert climb_start(7, 7, 15) == (4, 10)
    assert climb_start(4, 10, 20) == (10, 20)
    assert climb_start(11, 7, 15) == (1, 2)
    voc, coco = (plan("root_resnet34", data, "paper", size=512) for data in ("voc0712", "coco"))
    assert [source.min_size for source in voc.sources] == pytest.approx(
        [35.84, 76.8, 153.6, 230.4, 307.2, 384, 460.8]
    )
    assert coco.sources[0].min_size == pytest.approx(20.48)
    assert coco.sources[-1].max_size == pytest.approx(542.72)


def test_a_setting_wins_over_the_rule_of_more_sources() -> None:
    job = plan("root_resnet34", "voc0712", "paper", size=512, settings=["priors.first_ratio=9"])
    assert (job.recipe.priors.first_ratio, job.recipe.priors.min_ratio) == (9, 15)


def test_the_release_keeps_its_last_levels_at_five_cells() -> None:
    recipe = load_recipe("release-caffe", ("root_resnet34", "voc0712"))
    levels = make_body(ARCHS["root_resnet34"], 300, recipe.backbone, recipe.pyramid).sources
    assert [level.cells for level in levels] == [38, 19, 10, 5, 5, 5]
    assert [level.step for level in levels] == [8, 16, 32, 64, 100, 300]


def test_a_small_input_ends_early_and_a_tiny_one_is_refused() -> None:
    assert maps(64) == [8, 4, 2, 1]
    with pytest.raises(UserError, match=r"--size 8 is too small for root_resnet34: conv5 .* use 9"):
        maps(8)
    with pytest.raises(UserError, match=r"--size 16 is too small for resnet18: conv5 .* use 19"):
        maps(16, "resnet18", "backbone.strides=[1, 2, 2, 2]")
    with pytest.raises(UserError, match="no size is large enough for its strides"):
        maps(300, "resnet18", "backbone.strides=[99, 99, 99, 99]")


@given(cells=st.integers(1, 60), kernel=st.integers(2, 3), pad=st.integers(0, 1))
def test_a_pooling_covers_every_cell_and_begins_inside(cells: int, kernel: int, pad: int) -> None:
    pooled = Window(kernel, 2, pad).pooled(cells)
    last = (pooled - 1) * 2 - pad  # where the last window begins
    assert last < cells
    assert pooled == 1 or last + kernel >= cells


@pytest.mark.parametrize(
    ("size", "sources", "message"),
    [(64, 9, r"4 maps to predict from \(8, 4, 2, 1\).* but 9 are wanted"), (300, 6, None)],
)
def test_too_many_sources_are_refused(size: int, sources: int, message: str | None) -> None:
    if message is None:
        assert len(maps(size, "root_resnet34", f"pyramid.sources={sources}")) == sources
        return
    with pytest.raises(UserError, match=message):
        maps(size, "root_resnet34", f"pyramid.sources={sources}")


def test_unknown_words_name_the_nearest() -> None:
    with pytest.raises(UserError, match="known: branch, output"):
        maps(300, "root_resnet34", "pyramid.taps=sum")
    with pytest.raises(UserError, match=r"'residul' \(did you mean 'residual'\?\)"):
        maps(300, "root_resnet34", "backbone.extras=residul")


@pytest.mark.parametrize(
    ("arch", "setting", "sentence"),
    [
        ("root_resnet34", "backbone.width=0", "backbone.width is 0.0, but must be above 0"),
        ("resnet18", "backbone.strides=[1, 2]", "one stride of 1 or more for each of conv2, conv3"),
        ("vgg16", "backbone.strides=[1, 1, 2, 2, 2]", "vgg16 halves its maps by pooling"),
        ("vgg16", "backbone.stem.kernel=5", "vgg16 has no stem to change"),
        ("vgg16", "backbone.extras=residual", "vgg16 has no residual blocks"),
        ("resnet18", "backbone.stem.kernel=4", "backbone.stem.kernel is 4, but must be odd"),
        ("resnet18", "backbone.stem.number=0", "backbone.stem.number is 0, but must be 1 or more"),
        ("resnet18", "backbone.stem.pool=1", "backbone.stem.pool is 1, but must be 0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(
    arch: str, setting: str, sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        maps(300, arch, setting)
    assert sentence in str(caught.value)
