"""The prepare command: what it writes, and one sentence with exit status 2 for bad input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from scratchdet_caffe.caffeproto.labelmap import labels_by_name, read_label_map
from scratchdet_caffe.data import Database
from scratchdet_caffe.data.voc import read_annotation
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.prepare import main

WRITTEN = [
    "labelmap.prototxt",
    "test.txt",
    "test_lmdb",
    "test_name_size.txt",
    "trainval.txt",
    "trainval_lmdb",
]


def xml(*objects: tuple[str, tuple[float, float, float, float]], width: int = 60) -> str:
    parts = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{box[0]}</xmin>"
        f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box in objects
    )
    size = f"<size><width>{width}</width><height>40</height><depth>3</depth></size>"
    return f"<annotation>{size}{parts}</annotation>"


def prepare(root: Path, *options: str) -> Path:
    out = root.parent / "out"
    main(["voc", "--root", str(root), "--out", str(out), *options])
    return out


def test_writes_what_training_reads(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (voc / "ImageSets/Main/trainval.txt").write_bytes(b"a\nb\nc\r\nd\n")
    (voc / "ImageSets/Main/test.txt").write_text("e  1\nf -1\n")
    out = prepare(voc)
    assert sorted(os.listdir(out)) == WRITTEN
    labels = labels_by_name(read_label_map(out / "labelmap.prototxt"))
    assert labels == {"none_of_the_above": 0, "cat": 1, "dog": 2}
    assert (out / "test.txt").read_text().split("\n")[0] == "JPEGImages/e.jpg Annotations/e.xml"
    assert (out / "test_name_size.txt").read_text() == "e 40 60\nf 40 60\n"
    train, test = Database(out / "trainval_lmdb"), Database(out / "test_lmdb")
    assert (len(train), len(test)) == (4, 2)
    assert test.key(1) == "00000001_JPEGImages/f.jpg"
    assert test.record(1).datum.data == (voc / "JPEGImages/f.jpg").read_bytes()
    lines = (out / "trainval.txt").read_text().split("\n")[:-1]
    assert [train.key(i).split("_", 1)[1] for i in range(4)] == [s.split()[0] for s in lines]
    table = capsys.readouterr().out
    assert [line.split() for line in table.split("\n")[2:6]] == [
        ["images", "4", "2"],
        ["boxes", "8", "4"],
        ["cat", "4", "2"],
        ["dog", "4", "2"],
    ]


def test_again_gives_the_same_bytes_and_another_seed_another_order(voc: Path) -> None:
    def snapshot(out: Path) -> dict[str, bytes]:
        return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}

    first = snapshot(prepare(voc))
    assert snapshot(prepare(voc)) == first
    orders = {snapshot(prepare(voc, "--seed", str(seed)))["trainval.txt"] for seed in range(5)}
    assert len(orders) > 1
    assert snapshot(prepare(voc, "--seed", "3"))["test.txt"] == first["test.txt"]


def test_classes_can_be_given(voc: Path, tmp_path: Path) -> None:
    (tmp_path / "names").write_text("dog\ncat\n\n")
    for given in ("dog, cat", str(tmp_path / "names")):
        out = prepare(voc, "--classes", given)
        assert list(labels_by_name(read_label_map(out / "labelmap.prototxt")))[1:] == ["dog", "cat"]
    again = prepare(voc, "--labelmap", str(shutil.copy(out / "labelmap.prototxt", tmp_path)))
    assert list(labels_by_name(read_label_map(again / "labelmap.prototxt")))[1:] == ["dog", "cat"]


@pytest.fixture
def devkit(voc: Path, tmp_path: Path) -> Path:
    """VOC2007 and VOC2012, whose test set has no annotations."""
    for year in ("VOC2007", "VOC2012"):
        shutil.copytree(voc, tmp_path / "VOCdevkit" / year)
    for stem in "ef":
        (tmp_path / f"VOCdevkit/VOC2012/Annotations/{stem}.xml").unlink()
    return tmp_path / "VOCdevkit"


def test_a_devkit_trains_on_all_years_and_tests_on_the_first(devkit: Path) -> None:
    out = prepare(devkit)
    assert (len(Database(out / "trainval_lmdb")), len(Database(out / "test_lmdb"))) == (8, 2)
    assert (out / "test.txt").read_text().startswith("VOC2007/JPEGImages/e.jpg VOC2007/Annot")
    assert len(Database(prepare(devkit, "--year", "2007") / "trainval_lmdb")) == 4
    listed = (prepare(devkit, "--split", "07+12") / "trainval.txt").read_text()
    assert listed == (prepare(devkit) / "trainval.txt").read_text()


def test_07_plus_plus_12_is_tested_where_a_server_scores(
    devkit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = prepare(devkit, "--split", "07++12")
    assert len(Database(out / "trainval_lmdb")) == 10
    test = Database(out / "test_lmdb")
    assert test.key(0) == "00000000_VOC2012/JPEGImages/e.jpg"
    assert not test.record(0).annotation_group
    assert (out / "test_name_size.txt").read_text() == "e 40 60\nf 40 60\n"
    assert "warning: the test pictures have no annotations" in capsys.readouterr().err
    with pytest.raises(UserError, match="give it without --year"):
        prepare(devkit, "--split", "07", "--year", "2007")
    shutil.rmtree(devkit / "VOC2012")
    with pytest.raises(UserError, match="VOC2012: no VOC folder here"):
        prepare(devkit, "--split", "12")


def test_other_formats_are_stored_as_jpeg(voc: Path) -> None:
    pixels = cv2.imread(str(voc / "JPEGImages/e.jpg"))
    (voc / "JPEGImages/e.jpg").unlink()
    cv2.imwrite(str(voc / "JPEGImages/e.png"), pixels)
    record = Database(prepare(voc) / "test_lmdb").record(0)
    stored = cv2.imdecode(np.frombuffer(record.datum.data, np.uint8), cv2.IMREAD_COLOR)
    assert record.datum.data.startswith(b"\xff\xd8")
    assert np.abs(stored.astype(int) - pixels).mean() < 4


def test_boxes_without_area_are_kept_with_a_warning(
    voc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (voc / "Annotations/e.xml").write_text(xml(("cat", (5, 5, 5, 9)), ("dog", (1, 1, 9, 9))))
    out = prepare(voc)
    assert "warning: 1 box without area" in capsys.readouterr().err
    assert len(Database(out / "test_lmdb").record(0).annotation_group) == 2


def _truncate(voc: Path) -> None:
    path = voc / "JPEGImages/b.jpg"
    path.write_bytes(path.read_bytes()[:-200])


def _break_pixels(voc: Path) -> None:
    (voc / "JPEGImages/b.jpg").write_bytes(b"\xff\xd8\xff\xe0\x00\x04ab\xff\xda\xff\xd9")


def _rewrite(**files: str):
    def change(voc: Path) -> None:
        for name, text in files.items():
            (voc / f"Annotations/{name}.xml").write_text(text)

    return change


BAD = {
    "picture missing": (lambda voc: (voc / "JPEGImages/b.jpg").unlink(), ["JPEGImages/b.jpg"]),
    "annotation missing": (
        lambda voc: (voc / "Annotations/f.xml").unlink(),
        ["Annotations/f.xml: cannot read"],
    ),
    "truncated JPEG": (_truncate, ["b.jpg: the picture is truncated"]),
    "undecodable JPEG": (_break_pixels, ["b.jpg: the picture cannot be decoded"]),
    "box outside": (_rewrite(c=xml(("cat", (1, 1, 61, 9)))), ["c.xml: object 1 (cat)", "leaves"]),
    "inverted box": (_rewrite(c=xml(("cat", (9, 1, 3, 9)))), ["c.xml", "xmax 3 < xmin 9"]),
    "class of the test set alone": (
        _rewrite(f=xml(("cow", (1, 1, 9, 9)))),
        ["f.xml: object 1 (cow): the class occurs only in the test set", "give --classes"],
    ),
    "other size": (_rewrite(c=xml(width=59)), ["c.xml: the annotation says 59x40", "has 60x40"]),
    "malformed XML": (_rewrite(c="<annotation>"), ["c.xml: malformed XML"]),
    "no objects": (_rewrite(**dict.fromkeys("abcd", xml())), ["no classes", "--classes"]),
    "empty list": (
        lambda voc: (voc / "ImageSets/Main/test.txt").write_text("\n"),
        ["test.txt: the list is empty"],
    ),
    "no list": (
        lambda voc: (voc / "ImageSets/Main/test.txt").unlink(),
        ["test.txt: no such image set", "there are: trainval"],
    ),
    "no folder": (shutil.rmtree, ["no VOC folder here"]),
    "name with spaces": (
        lambda voc: (voc / "ImageSets/Main/test.txt").write_text("e 1\nmy cat -1\nf\n"),
        ["1 fault in 7", "JPEGImages/my cat.jpg: a name with spaces", "rename"],
    ),
    "several faults": (
        _rewrite(a="<", b=xml(("cat", (9, 1, 3, 9))), c=xml(("cat", (9, 9, 99, 20)))),
        ["3 faults in 6", "a.xml", "b.xml", "c.xml"],
    ),
}


@pytest.mark.parametrize(("spoil", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_a_sentence_and_writes_nothing(spoil, says: list[str], voc: Path) -> None:
    spoil(voc)
    with pytest.raises(UserError) as caught:
        prepare(voc)
    assert all(part in str(caught.value) for part in says), str(caught.value)
    assert "\n" not in str(caught.value)
    listed = voc.parent / "out/bad.txt"
    assert not set(WRITTEN) & set(os.listdir(listed.parent) if listed.exists() else [])
    if "fault" in says[0]:
        assert len(listed.read_text().splitlines()) == int(says[0].split()[0])


def test_a_class_that_was_not_given_is_a_sentence(voc: Path) -> None:
    with pytest.raises(UserError, match=r"object 2 \(dog\): the class is not in the label map"):
        prepare(voc, "--classes", "cat,cow")


def run(*options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scratchdet_caffe.prepare", *options]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_mistake_ends_with_status_2_and_no_traceback(voc: Path, tmp_path: Path) -> None:
    (voc / "Annotations/c.xml").write_text("<annotation>")
    done = run("voc", "--root", "voc", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("prepare: error: 1 fault in 6 pictures")
    assert "Traceback" not in done.stderr


def test_help_shows_an_example(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "example:" in done.stdout


def test_prepares_real_photographs(shared: Path, tmp_path: Path) -> None:
    root = shared / "data/bccd/VOCdevkit/BCCD"
    main(
        [
            "voc",
            "--root",
            str(root),
            "--test-set",
            "val",
            "--train-set",
            "test",
            "--out",
            str(tmp_path / "bccd"),
        ]
    )
    labels = labels_by_name(read_label_map(tmp_path / "bccd/labelmap.prototxt"))
    assert list(labels)[1:] == ["Platelets", "RBC", "WBC"]
    assert len(Database(tmp_path / "bccd/trainval_lmdb")) == 72
    assert len(Database(tmp_path / "bccd/test_lmdb")) == 87


def test_shapes_are_sound_seeded_and_of_every_class(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        main(
            [
                "shapes",
                "--out",
                str(tmp_path / name),
                "--train",
                "60",
                "--test",
                "10",
                "--size",
                "64",
                "--seed",
                seed,
            ]
        )
    assert sorted(os.listdir(tmp_path / "a")) == sorted([*WRITTEN, "VOCdevkit"])
    labels = labels_by_name(read_label_map(tmp_path / "a/labelmap.prototxt"))
    assert list(labels)[1:] == ["circle", "ring", "square", "star", "triangle"]
    first, second, other = (
        (tmp_path / name / "trainval_lmdb/data.mdb").read_bytes() for name in "abc"
    )
    assert first == second
    assert first != other
    objects = [
        thing
        for path in (tmp_path / "a/VOCdevkit/shapes/Annotations").iterdir()
        for thing in read_annotation(path).objects
    ]
    sides = [max(t.box[2] - t.box[0], t.box[3] - t.box[1]) for t in objects if not t.difficult]
    assert min(sides) > 8
    assert max(sides) > 30
    assert 0 < sum(thing.difficult for thing in objects) < 0.3 * len(objects)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--train", "0"], "at least one picture in each set"),
        (["--size", "8"], "pictures of 32 to 4096 pixels, not 8"),
        (["--size", "20000000"], "pictures of 32 to 4096 pixels, not 20000000"),
    ],
)
def test_impossible_shapes_are_a_sentence(options: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        main(["shapes", "--out", str(tmp_path / "x"), *options])
    assert not (tmp_path / "x").exists()
