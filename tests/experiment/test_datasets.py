from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import find_dataset


def test_known_words_have_their_classes_and_upstreams_paths() -> None:
    voc, coco = find_dataset("voc0712"), find_dataset("coco")
    assert (len(voc.classes), len(coco.classes)) == (21, 81)
    assert voc.classes[:2] == ("background", "aeroplane")
    assert coco.classes[-1] == "toothbrush"
    assert voc.test_lmdb == "examples/VOC0712/VOC0712_test_lmdb"


def test_the_splits_of_a_family_share_classes_and_recipes() -> None:
    plus, coco2017 = find_dataset("voc0712plus"), find_dataset("coco2017")
    assert plus.classes == find_dataset("voc0712").classes
    assert (plus.test_images, plus.family) == (10991, "voc")
    assert coco2017.classes == find_dataset("coco").classes
    assert (coco2017.family, coco2017.test_lmdb) == ("coco", "examples/coco/coco_val2017_lmdb")


def test_a_prepared_folder_is_a_dataset(folder: Path) -> None:
    data = find_dataset(f"{folder}/")
    assert data.name == "cells"
    assert data.classes == ("background", "RBC", "WBC")
    assert data.test_images == 6  # blank lines do not count
    assert data.trainval_lmdb == f"{folder}/trainval_lmdb"


def test_missing_pieces_are_named_together(folder: Path) -> None:
    shutil.rmtree(folder / "test_lmdb")
    (folder / "test_name_size.txt").unlink()
    with pytest.raises(UserError, match=r"lacks test_lmdb, test_name_size\.txt; .*prepare"):
        find_dataset(str(folder))
    with pytest.raises(UserError, match="no such folder"):
        find_dataset(f"{folder}/none")


def test_an_empty_test_list_is_refused(folder: Path) -> None:
    (folder / "test_name_size.txt").write_text("\n")
    with pytest.raises(UserError, match=r"test_name_size\.txt: lists no test image"):
        find_dataset(str(folder))


def test_a_label_map_without_background_is_refused(folder: Path) -> None:
    (folder / "labelmap.prototxt").write_text(
        'item { name: "a" label: 0 }\nitem { name: "b" label: 1 }\n'
    )
    with pytest.raises(UserError, match=r"labelmap\.prototxt: label 0 must be the background"):
        find_dataset(str(folder))


def test_an_unknown_word_names_the_nearest_and_offers_a_folder() -> None:
    with pytest.raises(UserError, match=r"'voc07' \(did you mean 'voc0712'\?\).*data/voc07"):
        find_dataset("voc07")
