"""Objects cut out of a detection set, as ImageData reads them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from scratchdet_caffe.data.crops import write_crops
from scratchdet_caffe.data.shapes import Drawing
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.prepare import main


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("crops") / "set"
    main(["shapes", "--out", str(out), "--train", "12", "--test", "4", "--size", "64"])
    return out


def lines(path: Path) -> list[tuple[str, int]]:
    pairs = (line.rsplit(" ", 1) for line in path.read_text().splitlines())
    return [(name, int(label)) for name, label in pairs]


def test_every_object_that_is_not_difficult_is_cut_out(dataset: Path, tmp_path: Path) -> None:
    counts = write_crops(dataset, tmp_path / "crops", size=24)
    classes = (tmp_path / "crops/classes.txt").read_text().split()
    assert classes == ["circle", "ring", "square", "star", "triangle"]
    for name, image_set in (("train.txt", "trainval"), ("test.txt", "test")):
        root = dataset / "VOCdevkit/shapes"
        stems = (root / f"ImageSets/Main/{image_set}.txt").read_text().split()
        xml = "".join((root / f"Annotations/{stem}.xml").read_text() for stem in stems)
        assert counts[name] == len(lines(tmp_path / "crops" / name))
        assert counts[name] == xml.count("<difficult>0</difficult>")
        for file, label in lines(tmp_path / "crops" / name):
            picture = cv2.imread(str(tmp_path / "crops" / file))
            assert picture is not None and picture.shape == (24, 24, 3)
            assert 0 <= label < 5


def test_a_cut_shows_the_object_in_the_middle(tmp_path: Path) -> None:
    """One large white square on black: the middle of its cut is white, the corners are black."""
    root = tmp_path / "voc"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    picture = np.zeros((100, 120, 3), np.uint8)
    picture[40:70, 50:80] = 255
    cv2.imwrite(str(root / "JPEGImages/a.png"), picture)
    (root / "Annotations/a.xml").write_text(
        "<annotation><size><width>120</width><height>100</height></size><object><name>box</name>"
        "<difficult>0</difficult><bndbox><xmin>50</xmin><ymin>40</ymin><xmax>80</xmax>"
        "<ymax>70</ymax></bndbox></object></annotation>"
    )
    for name in ("trainval", "test"):
        (root / f"ImageSets/Main/{name}.txt").write_text("a\n")
    main(["voc", "--root", str(root), "--out", str(tmp_path / "set")])
    main(
        ["crops", "--dataset", str(tmp_path / "set"), "--out", str(tmp_path / "c"), "--size", "40"]
    )
    cut = cv2.imread(str(tmp_path / "c/train/000000.jpg"), cv2.IMREAD_GRAYSCALE)
    assert cut is not None
    assert cut[15:25, 15:25].min() > 240
    # The margin is at least a tenth of the side, so that the corners lie outside.
    assert max(cut[0, 0], cut[0, -1], cut[-1, 0], cut[-1, -1]) < 15


def test_a_set_without_objects_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="8 pixels or more"):
        write_crops(dataset, tmp_path / "crops", size=4)
    with pytest.raises(UserError, match="labelmap.prototxt"):
        write_crops(tmp_path, tmp_path / "crops", size=24)
    assert not (tmp_path / "crops").exists()


@pytest.mark.parametrize(
    ("sides", "tiny"), [((0.01, 0.5), 0.1), ((0.5, 0.3), 0.1), ((0.2, 0.9), 0), ((0.2, 0.5), 1.5)]
)
def test_shapes_that_do_not_fit_are_refused(sides: tuple[float, float], tiny: float) -> None:
    with pytest.raises(UserError, match="shapes: "):
        Drawing(64, 0, sides, tiny)


def test_sides_and_the_share_of_tiny_shapes_are_as_asked(tmp_path: Path) -> None:
    main([
        "shapes", "--out", str(tmp_path / "set"), "--train", "20", "--test", "1", "--size", "96",
        "--sides", "0.1", "0.12", "--tiny", "0",
    ])  # fmt: skip
    xml = "".join(p.read_text() for p in (tmp_path / "set/VOCdevkit").rglob("*.xml"))
    edges = [[int(part.split("<")[0]) for part in xml.split(f"<{tag}>")[1:]]
             for tag in ("xmin", "xmax", "ymin", "ymax")]  # fmt: skip
    left, right, top, bottom = map(np.array, edges)
    sides = np.sqrt((right - left + 1) * (bottom - top + 1))
    assert len(sides) > 20
    assert sides.min() > 6 and sides.max() < 17  # 0.1 * 96, turned and stretched
    assert "<difficult>1</difficult>" not in xml
