"""A small VOC folder, and a way to make larger ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

GOOD = (
    "<annotation><size><width>60</width><height>40</height><depth>3</depth></size>"
    "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin>"
    "<xmax>20</xmax><ymax>20</ymax></bndbox></object>"
    "<object><name>dog</name><difficult>0</difficult><bndbox><xmin>10</xmin><ymin>10</ymin>"
    "<xmax>60</xmax><ymax>40</ymax></bndbox></object></annotation>"
)
VocSet = Callable[[Path, Sequence[str], Sequence[str]], Path]


@pytest.fixture(scope="session")
def make_voc() -> VocSet:
    """A function ``(root, trainval, test) -> root``: it makes a sound VOC folder of those stems."""

    def make(root: Path, trainval: Sequence[str], test: Sequence[str]) -> Path:
        for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (root / name).mkdir(parents=True)
        rng = np.random.default_rng(0)
        for stem in (*trainval, *test):
            pixels = cv2.resize(rng.integers(0, 256, (8, 12, 3), np.uint8), (60, 40))
            cv2.imwrite(str(root / f"JPEGImages/{stem}.jpg"), pixels)
            (root / f"Annotations/{stem}.xml").write_text(GOOD)
        for name, stems in (("trainval", trainval), ("test", test)):
            lines = "".join(f"{stem}\n" for stem in stems)
            (root / f"ImageSets/Main/{name}.txt").write_text(lines)
        return root

    return make


@pytest.fixture
def voc(make_voc: VocSet, tmp_path: Path) -> Path:
    """A small sound VOC folder: four training pictures, two for testing."""
    return make_voc(tmp_path / "voc", "abcd", "ef")
