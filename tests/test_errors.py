"""The nearest word: proposed where it is likely meant, and not where it is nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe.errors import nearest

MEANT = [
    ("root_resnet43", ["root_resnet18", "root_resnet34"], "root_resnet34"),
    ("resnet34", ["root_resnet18", "root_resnet34"], "root_resnet34"),
    ("voc0721", ["voc0712", "coco", "shapes"], "voc0712"),
    ("voc07", ["voc0712", "coco", "shapes"], "voc0712"),
    ("papper", ["mini", "paper", "release-caffe"], "paper"),
    ("bth", ["both", "backbone", "head", "none"], "both"),
    ("convolution_parm", ["convolution_param", "concat_param"], "convolution_param"),
    ("MXA", ["MAX", "AVE", "STOCHASTIC"], "MAX"),
    ("sdd", ["ssd"], "ssd"),
    ("Ring", ["circle", "ring"], "ring"),
]


@pytest.mark.parametrize(("word", "known", "meant"), MEANT)
def test_a_slip_finds_its_word(word: str, known: list[str], meant: str) -> None:
    assert nearest(word, known) == f" (did you mean '{meant}'?)"


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("ring", ["circle", "square", "star", "triangle"]),
        ("star", ["circle", "square", "triangle"]),
        ("cow", ["cat", "dog"]),
        ("train", ["triangle", "boat"]),
        ("boat", ["bottle", "cat"]),
        ("person", ["horse", "sofa"]),
        ("x", ["y", "box"]),
        ("", ["a"]),
    ],
)
def test_another_word_is_not_proposed(word: str, known: list[str]) -> None:
    assert nearest(word, known) == ""


@given(st.from_regex(r"[a-z_0-9]{5,20}", fullmatch=True), st.data())
def test_one_letter_left_out_is_always_found(word: str, data: st.DataObject) -> None:
    gone = data.draw(st.integers(0, len(word) - 1))
    assert nearest(word[:gone] + word[gone + 1 :], ["q", word]) == f" (did you mean '{word}'?)"
