"""Label maps: what is accepted and what is a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from scratchdet_caffe.caffeproto import write_prototxt
from scratchdet_caffe.caffeproto.labelmap import (
    class_names,
    labels_by_name,
    make_label_map,
    read_label_map,
)
from scratchdet_caffe.errors import UserError


def test_made_map_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "labelmap.prototxt"
    write_prototxt(path, make_label_map(["cat", "dog"]))
    read = read_label_map(path)
    assert labels_by_name(read) == {"none_of_the_above": 0, "cat": 1, "dog": 2}
    assert class_names(read) == ["cat", "dog"]


def test_reads_a_reference_map(shared: Path) -> None:
    read = read_label_map(shared / "golden/data/labelmap.prototxt")
    assert labels_by_name(read) == {"none_of_the_above": 0, "RBC": 1, "WBC": 2, "Platelets": 3}
    assert class_names(read) == ["rbc", "wbc", "platelets"]


BACKGROUND = 'item { name: "none_of_the_above" label: 0 }'
WRONG = {
    "no background": ('item { name: "a" label: 1 } item { name: "b" label: 2 }', "missing"),
    "a class as background": ('item { name: "a" label: 0 } item { name: "b" label: 1 }', "'a'"),
    "label twice": (
        f'{BACKGROUND} item {{ name: "a" label: 1 }} item {{ name: "b" label: 1 }}',
        "label 1 is given to 'a' and to 'b'",
    ),
    "name twice": (
        f'{BACKGROUND} item {{ name: "a" label: 1 }} item {{ name: "a" label: 2 }}',
        "'a' is given twice",
    ),
    "gap": (f'{BACKGROUND} item {{ name: "a" label: 2 }}', "without a gap"),
    "nameless": (f"{BACKGROUND} item {{ label: 1 }}", "item 2 lacks a name"),
    "no label": (f'{BACKGROUND} item {{ name: "a" }}', "item 2 lacks a label"),
    "empty": ("", "needs the background"),
    "background elsewhere": (f'{BACKGROUND} item {{ name: "background" label: 1 }}', "label 1"),
    "path as name": (f'{BACKGROUND} item {{ name: "a/b" label: 1 }}', "'a/b' cannot name a class"),
    "path as display name": (
        f'{BACKGROUND} item {{ name: "a" label: 1 display_name: ".." }}',
        "'..' cannot name a class",
    ),
    "line end in a name": (f'{BACKGROUND} item {{ name: "a\\n" label: 1 }}', "'a\\n' cannot name"),
    "misspelt field": ('item { nam: "a" }', "has no field 'nam'"),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG)
def test_wrong_maps_are_sentences(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "map.prototxt"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_label_map(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["traffic light", "...", ".cat", "c++", "Füße", "n01440764"])
def test_unusual_names_are_classes(name: str) -> None:
    assert class_names(make_label_map([name])) == [name]


def test_class_given_twice_is_a_sentence() -> None:
    with pytest.raises(UserError, match="'cat' is given twice"):
        make_label_map(["cat", "dog", "cat"])
