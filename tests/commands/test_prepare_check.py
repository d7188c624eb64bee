"""prepare check: what is found, where it is written, and what --skip-bad does about it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from scratchdet_caffe.data import Database
from scratchdet_caffe.data.examine import check_samples
from scratchdet_caffe.data.vocset import voc_samples
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.prepare import main


def check(root: Path, *options: str) -> tuple[dict[str, list[str]], Path]:
    """Return the findings by kind, each as its line, and the folder of the report."""
    out = root.parent / "check"
    try:
        main(["check", "--root", str(root), "--out", str(out), *options])
    except UserError as error:
        assert f"listed in {out / 'bad.txt'}" in str(error)
        assert (out / "bad.txt").is_file()
    found: dict[str, list[str]] = {}
    for line in (out / "findings.tsv").read_text().splitlines():
        _, level, kind, text = line.split("\t")
        found.setdefault(kind, []).append(f"{level}: {text}")
    return found, out


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _turn(path: Path) -> None:
    with Image.open(path) as picture:
        exif = picture.getexif()
        exif[274] = 3
        picture.save(path, exif=exif)


def _as(mode: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with Image.open(path) as picture:
            turned = picture.convert(mode)
        turned.save(path)

    return change


def _deep(path: Path) -> None:
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.uint16) * 256
    path.unlink()
    cv2.imwrite(str(path.with_suffix(".png")), pixels)


def _copy(path: Path) -> None:
    shutil.copy(path.with_name("b.jpg"), path)


PICTURES = {
    "missing picture": (Path.unlink, "fault"),
    "empty picture": (lambda path: path.write_bytes(b""), "fault"),
    "truncated picture": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "fault"),
    "undecodable picture": (lambda path: path.write_bytes(b"no picture"), "fault"),
    "grey picture": (_as("L"), "note"),
    "CMYK picture": (_as("CMYK"), "note"),
    "16-bit picture": (_deep, "note"),
    "EXIF rotation": (_turn, "note"),
    "copy": (_copy, "note"),
}


@pytest.mark.parametrize(
    ("kind", "spoil", "level"), [(k, *v) for k, v in PICTURES.items()], ids=PICTURES
)
def test_odd_pictures_are_found(kind: str, spoil, level: str, voc: Path) -> None:
    spoil(voc / "JPEGImages/c.jpg")
    found, _ = check(voc)
    (line,) = found.pop(kind)
    assert line.startswith(f"{level}: ")
    assert "JPEGImages/c." in line
    assert not found  # and nothing else is


ANNOTATIONS = {
    "box outside": ("<xmax>20", "<xmax>61", "fault"),
    "inverted box": ("<xmin>10", "<xmin>61", "fault"),
    "box without area": ("<xmin>1<", "<xmin>20<", "note"),
    "decimals in a box": ("<xmin>1<", "<xmin>1.5<", "note"),
    "unknown class": ("<name>cat", "<name>cut", "fault"),
    "size differs": ("<width>60", "<width>61", "fault"),
    "ignored flag": ("</object>", "<difficult>1</difficult></object>", "note"),
    "unusable annotation": ("<name>cat</name>", "", "fault"),
}


@pytest.mark.parametrize(
    ("kind", "old", "new", "level"), [(k, *v) for k, v in ANNOTATIONS.items()], ids=ANNOTATIONS
)
def test_odd_annotations_are_found(kind: str, old: str, new: str, level: str, voc: Path) -> None:
    rewrite(voc / "Annotations/c.xml", old, new)
    found, _ = check(voc, "--classes", "cat,dog")
    assert found[kind][0].startswith(f"{level}: {voc}/Annotations/c.xml: ")


def test_lists_and_label_maps_are_looked_at(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = (voc / f"ImageSets/Main/{name}.txt" for name in ("trainval", "test"))
    train.write_bytes(b"a\r\nb\r\na\r\n")
    test.write_text("b\ne\n")
    found, _ = check(voc, "--classes", "cat,dog,cow")
    assert "note: JPEGImages/a.jpg: the list has it twice" in found["listed twice"]
    assert len(found["test picture in training"]) == 1
    assert found["unused class"] == ["note: cow: no training picture shows it"]
    assert found["CRLF list"][0].startswith(f"note: {train}: lines end in CR LF")
    assert ["CRLF", "list", "note", "1"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]


def test_names_that_detection_files_cannot_tell_apart(voc: Path) -> None:
    twins = [(voc, "test"), (voc, "trainval")]
    samples = voc_samples(voc, twins)
    other = dataclasses.replace(samples[-1], name=samples[0].name)
    found = check_samples("test", voc, [*samples[:-1], other], {"cat": 1, "dog": 2})
    assert found.items[-1].faults == [
        f"{other.entry.picture}: is called 'e' as JPEGImages/e.jpg is: detection files could not "
        "tell them apart; rename one"
    ]
    assert not check_samples("trainval", voc, [*samples[:-1], other], {}).items[-1].faults


def test_the_report_counts_and_draws(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (voc / "JPEGImages/c.jpg").unlink()
    rewrite(voc / "Annotations/a.xml", "<difficult>0", "<truncated>1</truncated><difficult>1")
    _, out = check(voc)
    text = (out / "report.txt").read_text()
    assert text in capsys.readouterr().out
    rows = {tuple(line.split()) for line in text.splitlines()}
    assert {("images", "4", "2"), ("cat", "4", "2"), ("difficult", "boxes", "1", "0")} <= rows
    assert {("truncated", "boxes", "1", "0"), ("missing", "picture", "fault", "1")} <= rows
    assert ("1/2", "to", "1", "4", "#" * 40) in rows  # the dogs: 50 x 30 of 60 x 40
    assert ("1/4", "to", "1/2", "4", "#" * 40) in rows  # the cats
    sheet = cv2.imread(str(out / "sheet.jpg"))
    # The one with a fault comes first, in a red frame.
    blue, green, red = sheet[60, 1].tolist()
    assert red > 180
    assert max(blue, green) < 90


def test_a_sound_set_passes(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = check(voc)
    assert found == {}
    assert "nothing to find fault with" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"is a VOC folder: --split is one of 07, 12"):
        main(["check", "--root", str(voc), "--split", "2017"])
    with pytest.raises(UserError, match="neither a VOC folder .* nor a COCO folder"):
        main(["check", "--root", str(voc / "ImageSets")])


def test_skip_bad_leaves_out_and_says_what(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (voc / "JPEGImages/c.jpg").write_bytes(b"no picture")
    rewrite(voc / "Annotations/f.xml", "<xmax>20", "<xmax>99")
    out = voc.parent / "out"
    with pytest.raises(UserError, match=r"2 faults in 6 pictures .*bad\.txt; --skip-bad leaves"):
        main(["voc", "--root", str(voc), "--out", str(out)])
    bad = (out / "bad.txt").read_text()
    main(["voc", "--root", str(voc), "--out", str(out), "--skip-bad"])
    assert (out / "skipped.txt").read_text() == bad
    assert not (out / "bad.txt").exists()
    assert (len(Database(out / "trainval_lmdb")), len(Database(out / "test_lmdb"))) == (3, 1)
    assert (out / "test_name_size.txt").read_text() == "e 40 60\n"
    assert "c.jpg" not in (out / "trainval.txt").read_text()
    said = capsys.readouterr()
    assert f"left out 2 pictures with faults: {out}/skipped.txt" in said.err
    assert ["cat", "3", "1"] in [line.split() for line in said.out.splitlines()]
    # Mended, the list of the skipped goes.
    shutil.copy(voc / "JPEGImages/a.jpg", voc / "JPEGImages/c.jpg")
    rewrite(voc / "Annotations/f.xml", "<xmax>99", "<xmax>20")
    main(["voc", "--root", str(voc), "--out", str(out)])
    assert not (out / "skipped.txt").exists()
