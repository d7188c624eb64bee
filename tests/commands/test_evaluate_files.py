"""`evaluate --detections`: files of other tools and of earlier runs, against any ground truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from scratchdet_caffe import evaluate, prepare
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import (
    AREA,
    ELEVEN_POINT,
    coco_json,
    read_results,
    write_detection_files,
    write_ilsvrc_file,
    write_results,
)
from scratchdet_caffe.metrics.results import with_detections
from scratchdet_caffe.scoring import read_ground_truth


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One set of detections, in every form, of a small set that exists in every form."""
    folder = tmp_path_factory.mktemp("files")
    prepare.main(["shapes", "--out", str(folder / "set"), "--train", "12", "--test", "12"])
    truth = read_ground_truth(folder / "set")
    rng = np.random.default_rng(0)
    image, rows = [], []
    for number, own in enumerate(truth.results.images):
        for label, _, *box in own.truth.tolist():
            # Halves and quarters: every form holds these boxes exactly.
            shift = rng.integers(-32, 33, 4) / 4
            image.append(number)
            rows.append([label, round(rng.random(), 3), *(np.array(box) + shift)])
    results = with_detections(truth.results, np.array(image), np.array(rows, float))
    names = [own.name for own in results.images]
    found = {name: detections for name, (detections, _) in results.by_class().items()}
    write_detection_files(folder / "voc", names, found, "comp3_det_test_")
    write_ilsvrc_file(folder / "ilsvrc.txt", results)
    write_results(folder / "detections.json", results)
    instances, detections = coco_json(results)
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "coco.json").write_text(json.dumps(detections))
    return folder


FORMS = [
    ("voc", "set"),
    ("voc", "set/VOCdevkit"),
    ("voc", "set/VOCdevkit/shapes"),
    ("voc", "instances.json"),
    ("ilsvrc.txt", "set"),
    ("detections.json", "set"),
    ("detections.json", None),
    ("coco.json", "instances.json"),
]


def score(made: Path, found: str, truth: str | None, out: Path, *more: str) -> dict[str, Any]:
    against = ["--ground-truth", str(made / truth)] if truth else []
    options = ["--detections", str(made / found), *against, "--out", str(out), *more]
    assert evaluate.main(options) == 0
    return json.loads((out / "metrics.json").read_text())


@pytest.mark.parametrize(("found", "truth"), FORMS)
def test_every_form_scores_the_same(
    made: Path, tmp_path: Path, found: str, truth: str | None
) -> None:
    expected = score(made, "detections.json", None, tmp_path / "a", "--sizes", "12,24")
    metrics = score(made, found, truth, tmp_path / "b", "--sizes", "12,24")
    assert 0.1 < metrics["map"][AREA] < 0.95
    for own, name in ((metrics, "map"), (metrics["coco"], "map")):
        whole = expected if own is metrics else expected["coco"]
        assert own[name] == pytest.approx(whole[name], abs=1e-9)
    assert metrics["coco"]["objects"] == expected["coco"]["objects"]
    assert metrics["classes"] == expected["classes"]
    # What was read is left as a run would leave it.
    assert len(read_results(tmp_path / "b/detections.json").images) == 12


def test_lines_name_cocos_images_by_stem_or_id(made: Path, tmp_path: Path) -> None:
    """As `evaluate` itself writes them for a COCO set; but not where an id is another's stem."""
    data = json.loads((made / "instances.json").read_text())
    for image in data["images"]:
        image["file_name"] = f"photo_{image['id']:05d}.jpg"
    (tmp_path / "by_stem.json").write_text(json.dumps(data))
    for image in data["images"]:
        image["file_name"] = f"{image['id'] % 12 + 1}.jpg"
    (tmp_path / "crossed.json").write_text(json.dumps(data))
    numbers = {
        image.name: n for n, image in enumerate(read_ground_truth(made / "set").results.images)
    }
    lines = [line.split() for line in (made / "ilsvrc.txt").read_text().splitlines()]
    maps = []
    for truth, form in (("by_stem", "photo_{:05d}"), ("by_stem", "{}"), ("crossed", "{}")):
        text = "".join(f"{form.format(numbers[a] + 1)} {' '.join(b)}\n" for a, *b in lines)
        (tmp_path / "found.txt").write_text(text)
        metrics = score(tmp_path, "found.txt", f"{truth}.json", tmp_path / "out")
        maps.append(metrics["map"][AREA])
    assert maps[0] == maps[1] > maps[2]


def test_a_coco_set_has_cocos_numbers_unasked(made: Path, tmp_path: Path) -> None:
    assert "coco" in score(made, "coco.json", "instances.json", tmp_path)
    assert "coco" not in score(made, "voc", "set", tmp_path)


def test_another_overlap(made: Path, tmp_path: Path) -> None:
    strict = score(made, "voc", "set", tmp_path, "--iou", "0.9")
    assert strict["iou_threshold"] == 0.9
    assert strict["map"][ELEVEN_POINT] < score(made, "voc", "set", tmp_path)["map"][ELEVEN_POINT]


def test_equal_scores_count_in_the_order_of_the_file(tmp_path: Path) -> None:
    """As the devkit's users sort: stably, over the file of the class."""
    for name in ("a", "b"):
        (tmp_path / f"Annotations/{name}.xml").parent.mkdir(exist_ok=True)
        (tmp_path / f"Annotations/{name}.xml").write_text(
            "<annotation><size><width>50</width><height>50</height></size>"
            "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"
            "<ymax>9</ymax></bndbox></object></annotation>"
        )
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/test.txt").write_text("a\nb\n")
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "det").mkdir()
    hit, miss = "0.5 1 1 9 9", "0.5 30 30 40 40"
    areas = []
    for lines in (f"b {hit}\na {miss}\n", f"a {miss}\nb {hit}\n"):
        (tmp_path / "det/x_cat.txt").write_text(lines)
        metrics = score(tmp_path, "det", ".", tmp_path / "out")
        areas.append(metrics["map"][AREA])
        # The detections.json that is left keeps the order.
        again = score(tmp_path, "out/detections.json", None, tmp_path / "again")
        assert again["map"] == metrics["map"]
    assert areas == [pytest.approx(1 / 2), pytest.approx(1 / 4)]


VOC_OBJECT = (
    "<annotation><size><width>50</width><height>50</height></size><object><name>cat</name>"
    "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox></object>"
    "</annotation>"
)


@pytest.mark.parametrize(
    ("listed", "right", "options", "sentence"),
    [
        ("a\nb\na\n", 9, "", "ground truth: image 'a' stands in it 2 times"),
        ("a\nb\n", 9, "--classes cat,dog,cat", "given twice: cat, dog, cat"),
        ("a\nb\n", -3, "", "a.xml: a box of 'cat' ends before it begins"),
    ],
)
def test_ground_truth_that_cannot_be_meant(
    tmp_path: Path, listed: str, right: int, options: str, sentence: str
) -> None:
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages", "det"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / f"Annotations/{name}.xml").write_text(VOC_OBJECT.format(right))
    (tmp_path / "ImageSets/Main/test.txt").write_text(listed)
    for name in ("cat", "dog"):
        (tmp_path / f"det/{name}.txt").touch()
    with pytest.raises(UserError, match=sentence):
        score(tmp_path, "det", ".", tmp_path / "out", *options.split())


def test_boxes_that_look_like_something_else_are_doubted(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = read_ground_truth(made / "set").results.images[0].name
    line = f"{name} 1 0.5 30 30 40 40\n"
    (tmp_path / "sound.txt").write_text(line)
    (tmp_path / "sides.txt").write_text(f"{name} 1 0.5 30 30 40 10\n{line}")
    (tmp_path / "shares.txt").write_text(f"{name} 1 0.5 0.1 0.1 0.4 1.0\n")
    for found, sentence in (
        ("sides", "1 of 2 boxes end before they begin"),
        ("shares", "no box reaches beyond pixel 2"),
        ("sound", ""),
    ):
        score(made, str(tmp_path / f"{found}.txt"), "set", tmp_path / "out")
        said = capsys.readouterr().err
        assert (sentence in said) if sentence else said == ""


def test_leading_zeros_of_detection_output(shared: Path, tmp_path: Path) -> None:
    """Its JSON is none where names are padded; against instances with such ids it is scored."""
    sizes = (shared / "golden/detfiles/coco_zero_padded_names/name_size.txt").read_text()
    images = [
        {"id": int(name), "file_name": f"{name}.jpg", "height": int(h), "width": int(w)}
        for name, h, w in map(str.split, sizes.splitlines())
    ]
    categories = [{"id": number, "name": str(number)} for number in (4, 7, 10, 13)]
    truth = {"images": images, "categories": categories, "annotations": []}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    path = shared / "golden/detfiles/coco_zero_padded_names/out/pre_.json"
    metrics = score(tmp_path, str(path), "truth.json", tmp_path / "out")
    assert sum(own["detections"] for own in metrics["classes"].values()) == 25


def without_line(made: Path, tmp_path: Path) -> list[str]:
    return ["--detections", str(tmp_path / "voc"), "--ground-truth", str(made / "set")]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"comp3_det_test_ring.txt": None}, "no comp3_det_test_ring.txt: each class"),
        ({"comp3_det_test_bird.txt": ""}, "comp3_det_test_bird.txt is of class 'bird'"),
        ({"comp3_det_test_ring.txt": "lost 0.5 1 1 2 2\n"}, "image 'lost' is not in the image set"),
        ({"comp3_det_test_ring.txt": "x 1 2\n"}, "ring.txt:1: 3 fields"),
        ({"comp3_det_test_ring.txt": "x nan 1 1 2 2\n"}, "image 'x' is not in the image set"),
    ],
)
def test_sets_that_do_not_match_are_said(
    made: Path, tmp_path: Path, change: dict[str, str | None], sentence: str
) -> None:
    (tmp_path / "voc").mkdir()
    files = {path.name: path.read_text() for path in (made / "voc").glob("*.txt")}
    for name, text in {**files, **change}.items():
        if text is not None:
            (tmp_path / "voc" / name).write_text(text)
    with pytest.raises(UserError, match=sentence):
        evaluate.main(without_line(made, tmp_path))
    assert not (tmp_path / "voc/evaluation").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--detections nowhere", "nowhere: no such file or folder"),
        ("--detections voc", "need --ground-truth"),
        ("--detections voc --ground-truth nowhere", "nowhere: no ground truth here"),
        ("--detections voc --ground-truth voc", "no VOC folder here"),
        ("--detections voc --ground-truth set --model x", "give no job, net or weights"),
        ("--detections set --ground-truth set", "no files of detections in it"),
        ("--detections voc --ground-truth set/VOCdevkit --image-set tset", "did you mean 'test'"),
        (
            "--detections voc --ground-truth set/VOCdevkit "
            "--classes circle,rin,square,star,triangle",
            "class 'ring' is not among the classes.*did you mean 'rin'",
        ),
        ("--detections instances.json --ground-truth set", "not a detections.json"),
        ("--detections coco.json --ground-truth other.json", "category 5 is not a class"),
        ("--detections detections.json --ground-truth other.json", "classes are not those"),
        ("--detections detections.json --ground-truth fewer.json", "is not in the image set"),
        ("--detections voc --ground-truth set --iou 1.5", "--iou must be"),
        ("--detections voc --ground-truth set --similar ring,crcle", "did you mean 'circle'"),
        ("--detections voc --ground-truth set --pictures -1", "--pictures must not be"),
    ],
)
def test_what_cannot_be_scored_is_said(
    made: Path, options: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    data = json.loads((made / "instances.json").read_text())
    other = {**data, "categories": data["categories"][:-1]}
    other["annotations"] = [a for a in data["annotations"] if a["category_id"] < 5]
    Path("other.json").write_text(json.dumps(other))
    fewer = {**data, "images": data["images"][1:]}
    fewer["annotations"] = [a for a in data["annotations"] if a["image_id"] > 1]
    Path("fewer.json").write_text(json.dumps(fewer))
    with pytest.raises(UserError, match=sentence):
        evaluate.main(options.split())


def test_sizes_that_do_not_rise_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        evaluate.main(["job", "--sizes", "24,12"])
    assert end.value.code == 2
    assert "not two rising sides" in capsys.readouterr().err


def test_errors_are_told_apart_and_drawn(made: Path, tmp_path: Path) -> None:
    metrics = score(made, "voc", "set", tmp_path, "--similar", "ring,circle;star,triangle")
    errors, page = metrics["errors"], (tmp_path / "errors.html").read_text()
    assert sum(errors["shares"].values()) == pytest.approx(1)
    assert errors["bounds"] == [32, 96]
    for row in errors["worst"]:
        assert cv2.imread(str(tmp_path / row["file"])).shape[2] == 3
        assert row["file"] in page
    drawn = len(list((tmp_path / "worst").iterdir()))
    assert 0 < drawn == len(errors["worst"]) <= 12
    # Fewer the next time, and none left of this one.
    score(made, "voc", "set", tmp_path, "--pictures", "1")
    assert len(list((tmp_path / "worst").iterdir())) == 1
    score(made, "voc", "set", tmp_path, "--pictures", "0")
    assert not (tmp_path / "worst").exists()


def test_without_pictures_at_hand_all_else_is_there(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--pictures-from", str(made / "nowhere"))
    metrics = score(made, "coco.json", "instances.json", tmp_path, *options)
    assert "no pictures of errors: " in capsys.readouterr().err
    assert metrics["errors"]["worst"] == []
    assert "By class" in (tmp_path / "errors.html").read_text()
