from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import ARCHS, load_recipe
from scratchdet_caffe.experiment.body import make_body
from scratchdet_caffe.experiment.pyramid import prior_sizes
from scratchdet_caffe.experiment.recipe import Pyramid

TRUE_PYRAMID = Pyramid(first_source="conv4", taps="output", unshrunk=())


def maps(size: int, arch: str = "root_resnet34") -> list[int]:
    return [level.cells for level in make_body(ARCHS[arch], size, 1, TRUE_PYRAMID).sources]


def steps(size: int) -> list[float]:
    return [
        level.step for level in make_body(ARCHS["root_resnet34"], size, 1, TRUE_PYRAMID).sources
    ]


def test_maps_and_steps_are_those_of_ssd() -> None:
    assert maps(300) == [38, 19, 10, 5, 3, 1]
    assert steps(300) == [8, 16, 32, 64, 100, 300]
    assert maps(512) == [64, 32, 16, 8, 4, 2, 1]
    assert steps(512) == [8, 16, 32, 64, 128, 256, 512]


def test_prior_sizes_are_those_of_ssd300() -> None:
    voc = prior_sizes(300, sources=6, first=10, lowest=20, highest=90)
    assert [low for low, _ in voc] == [30, 60, 111, 162, 213, 264]
    assert [high for _, high in voc] == [60, 111, 162, 213, 264, 315]
    coco = prior_sizes(300, sources=6, first=7, lowest=15, highest=90)
    assert [low for low, _ in coco] == [21, 45, 99, 153, 207, 261]
    assert [high for _, high in coco] == [45, 99, 153, 207, 261, 315]


def test_prior_sizes_are_those_of_ssd512_on_coco() -> None:
    sizes = prior_sizes(512, sources=7, first=4, lowest=10, highest=90)
    assert [low for low, _ in sizes] == pytest.approx(
        [20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8]
    )
    assert sizes[-1][1] == pytest.approx(542.72)


@given(size=st.integers(9, 1500), arch=st.sampled_from(["root_resnet34", "root_resnet18"]))
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
    sizes = prior_sizes(size, sources, 10, lowest, highest)
    assert len(sizes) == sources
    assert all(low < high for low, high in sizes)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(sizes))


def test_the_release_keeps_its_last_levels_at_five_cells() -> None:
    recipe = load_recipe("release-caffe", ("root_resnet34", "voc0712"))
    sources = make_body(ARCHS["root_resnet34"], 300, 1, recipe.pyramid).sources
    assert [level.cells for level in sources] == [38, 19, 10, 5, 5, 5]
    assert [level.step for level in sources] == [8, 16, 32, 64, 100, 300]


def test_a_small_input_ends_early_and_a_tiny_one_is_refused() -> None:
    assert maps(64) == [8, 4, 2, 1]
    with pytest.raises(UserError, match=r"--size 8 is too small .* use 9 or more"):
        maps(8)


def test_width_scales_channels_down_to_eight() -> None:
    body = make_body(ARCHS["root_resnet18"], 64, 0.25, TRUE_PYRAMID)
    assert [conv.channels for conv in body.stem] == [16, 16, 16]
    assert body.levels[-1].plain[1].channels == 64
    thin = make_body(ARCHS["root_resnet18"], 64, 0.01, TRUE_PYRAMID)
    assert {conv.channels for conv in thin.stem} == {8}


def test_unknown_words_name_the_nearest() -> None:
    arch = ARCHS["root_resnet34"]
    with pytest.raises(UserError, match=r"'conv33' \(did you mean 'conv3'\?\)"):
        make_body(arch, 300, 1, Pyramid("conv33", "output", ()))
    with pytest.raises(UserError, match="known: branch, output"):
        make_body(arch, 300, 1, Pyramid("conv3", "sum", ()))
    with pytest.raises(UserError, match=r"width is 0"):
        make_body(arch, 300, 0, TRUE_PYRAMID)
