"""Nets that run on pictures: a test net made a detector, many looks, and a look that goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import ImageResult, Results
from scratchdet_caffe.report.annotate import Mark, annotated
from scratchdet_caffe.scoring import (
    Detector,
    GroundTruth,
    from_pictures,
    plan_views,
    read_deploy_net,
)
from scratchdet_caffe.scoring.detector import voting
from scratchdet_caffe.scoring.looking import PARTIAL, look_at
from scratchdet_caffe.scoring.truth import FAR, finite
from scratchdet_caffe.scoring.views import View, Views

SECOND = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }'


def picture(*cells: tuple[int, int, int, int], size: int = 64) -> np.ndarray:
    """Black, with cells of a sixteenth of its side: row, column, blue, green."""
    pixels = np.zeros((4, 4, 3), np.uint8)
    for row, column, blue, green in cells:
        pixels[row, column, :2] = blue, green
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_NEAREST)


def test_a_test_net_becomes_a_detector(files: Path, tmp_path: Path) -> None:
    deploy = read_deploy_net(files / "test.prototxt")
    assert deploy.net.layer[0].type == "Input"
    names = {layer.name for layer in deploy.net.layer}
    assert not names & {"loss", "quiet", "counted"}
    assert not deploy.output.save_output_param.output_directory
    assert (deploy.data, deploy.detections, deploy.size) == ("data", "found", (32, 32))
    assert deploy.layer.transform_param.mean_value == [0]
    # A deploy net takes its mean colour from the test net beside it, else SSD's own.
    assert read_deploy_net(files / "deploy.prototxt").layer.transform_param.mean_value == [0]
    shutil.copy(files / "deploy.prototxt", tmp_path)
    alone = read_deploy_net(tmp_path / "deploy.prototxt")
    assert alone.layer.transform_param.mean_value == [104, 117, 123]


def test_what_is_in_a_picture(files: Path) -> None:
    deploy = read_deploy_net(files / "test.prototxt")
    detect = Detector(caffe, deploy, files / "net.caffemodel")
    square = picture((0, 1, 255, 0), (2, 3, 0, 204))
    wide = cv2.resize(square, (128, 64), interpolation=cv2.INTER_NEAREST)
    for found in (detect([wide])[0], detect([picture(), wide, picture()])[1]):
        assert found[:, 0].tolist() == [1, 2]
        assert found[:, 1] == pytest.approx([1, 0.8])
        assert found[:, 2:].tolist() == [[32, 0, 64, 16], [96, 32, 128, 48]]
    assert detect([picture()])[0].shape == (0, 6)
    gray = wide[..., :1]  # a picture of one channel is shown as three
    assert set(detect([gray])[0][:, 0]) == {1, 2}


def test_many_looks_find_what_one_does(files: Path) -> None:
    deploy = read_deploy_net(files / "test.prototxt")
    sizes = [(64, 64)]
    views = plan_views(deploy.size, sizes, deploy.takes)
    assert [view.width for view in views.lying] == [32, 32, 19, 38, 45, 51, 58, 70]
    many = Detector(caffe, deploy, files / "net.caffemodel", voting(None), None, views)
    (found,) = many([picture((0, 1, 255, 0), (2, 3, 0, 204))])
    # Larger views have smaller priors, so each cell is found in several sizes, all within it.
    for label, cell in ((1, [16, 0, 32, 16]), (2, [48, 32, 64, 48])):
        best = found[(found[:, 0] == label) & (found[:, 1] >= 0.75)]
        assert len(best) > 1
        assert (best[:, 2:4] >= np.array(cell[:2]) - 4).all()
        assert (best[:, 4:] <= np.array(cell[2:]) + 4).all()


def test_a_mirrored_picture_gives_mirrored_boxes(files: Path) -> None:
    deploy = read_deploy_net(files / "test.prototxt")
    plain = [View(32, 32)]
    many = Detector(
        caffe, deploy, files / "net.caffemodel", voting(None), None, Views(plain, plain, [])
    )
    cells = picture((0, 1, 255, 0), (2, 3, 0, 204))
    (found,), (turned,) = many([cells]), many([np.ascontiguousarray(cells[:, ::-1])])
    assert found[:, 0].tolist() == turned[:, 0].tolist() == [1, 2]
    assert found[:, 2:].tolist() == [[16, 0, 32, 16], [48, 32, 64, 48]]
    assert turned[:, [4, 2]].tolist() == (64 - found[:, [2, 4]]).tolist()


def test_a_box_that_is_mostly_outside_is_not_small(files: Path, tmp_path: Path) -> None:
    """Of a box of 16 pixels 8 are left in the picture; views for boxes below 12 do not take it."""
    net = caffe.Net(str(files / "deploy.prototxt"), str(files / "net.caffemodel"), caffe.TEST)
    net.params["loc"][1].data[0] = -5  # half a prior to the left
    net.save(str(tmp_path / "left.caffemodel"))
    deploy = read_deploy_net(files / "test.prototxt")
    for below, boxes in ((20, [[0, 0, 8, 16], [8, 0, 24, 16]]), (12, [])):
        views = Views([], [View(32, 32, below=below)], [])
        many = Detector(caffe, deploy, tmp_path / "left.caffemodel", voting(None), None, views)
        (found,) = many([picture((0, 0, 255, 0))])
        assert found[:, 2:].tolist() == boxes


def test_without_suppression_all_candidates_come_out(files: Path) -> None:
    raw = read_deploy_net(files / "test.prototxt", nms=False)
    detect = Detector(caffe, raw, files / "net.caffemodel")
    white = np.full((32, 32, 3), 255, np.uint8)
    assert len(detect([white])[0]) == 32  # 16 cells, two classes; the net keeps five
    assert len(Detector(caffe, raw, files / "net.caffemodel", None, 7)([white])[0]) == 7


def test_boxes_without_bound_are_cut(files: Path, tmp_path: Path) -> None:
    """As an untrained net predicts them: sides of exp(1000) are infinite, or no number."""
    net = caffe.Net(str(files / "deploy.prototxt"), str(files / "net.caffemodel"), caffe.TEST)
    net.params["loc"][1].data[2:] = 5000
    net.save(str(tmp_path / "wild.caffemodel"))
    detect = Detector(caffe, read_deploy_net(files / "test.prototxt"), tmp_path / "wild.caffemodel")
    pixels = picture((0, 1, 255, 0))
    (found,) = detect([pixels])
    assert len(found) and np.abs(found[:, 2:]).max() == FAR
    marks = [Mark(tuple(box), "#ff0000", "wild") for box in found[:, 2:].tolist()]
    assert annotated(pixels, (64, 64), marks).shape == (480, 480, 3)
    assert finite(np.array([[np.nan, -np.inf, np.inf, 1.234]])).tolist() == [[0, -FAR, FAR, 1.23]]


def truth_of(pictures: list[np.ndarray], labels: int = 3) -> GroundTruth:
    images = [
        ImageResult(f"p{i}", p.shape[1], p.shape[0], np.empty((0, 6)), np.empty((0, 6)))
        for i, p in enumerate(pictures)
    ]
    classes = ("background", "blue", "green", "red")[:labels]
    return GroundTruth(Results(classes, images), (), (), pixels=lambda n: pictures[n])


def test_a_look_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    pictures = [np.full((2, 2, 3), i, np.uint8) for i in range(7)]
    truth, seen = truth_of(pictures), []

    def detect(batch: list[np.ndarray]) -> list[np.ndarray]:
        for pixels in batch:
            seen.append(int(pixels[0, 0, 0]))
            if len(seen) == 6:
                raise KeyboardInterrupt
        return [np.array([[1, 0.5, i[0, 0, 0], 0, 9, 9.25]]) for i in batch]

    with pytest.raises(KeyboardInterrupt):
        look_at(truth, detect, 2, tmp_path, "net A")
    with open(tmp_path / PARTIAL, "a") as stream:
        stream.write("[[1, 0.5, 4, 0")  # as a kill leaves it
    results = look_at(truth, detect, 2, tmp_path, "net A")
    assert seen == [0, 1, 2, 3, 4, 5, 4, 5, 6]
    assert [image.detections.tolist() for image in results.images] == [
        [[1, 0.5, i, 0, 9, 9.25]] for i in range(7)
    ]
    assert not (tmp_path / PARTIAL).exists()


def test_what_another_net_found_is_not_taken(tmp_path: Path) -> None:
    truth = truth_of([np.zeros((2, 2, 3), np.uint8)] * 2)
    (tmp_path / PARTIAL).write_text('{"key": "another"}\n[[1, 0.5, 0, 0, 1, 1]]\n')
    results = look_at(truth, lambda batch: [np.empty((0, 6))] * len(batch), 1, tmp_path, "net")
    assert all(len(image.detections) == 0 for image in results.images)


def test_a_coco_sets_boxes_begin_at_zero(tmp_path: Path) -> None:
    plain = truth_of([np.zeros((8, 8, 3), np.uint8)])
    coco = GroundTruth(plain.results, (1,), (1, 2), pixels=plain.pixels, coco=True)
    found = np.array([[1, 0.5, 0, 0, 4, 4]])
    results = look_at(coco, lambda batch: [found], 1, tmp_path, "net")
    assert results.images[0].detections.tolist() == [[1, 0.5, 1, 1, 4, 4]]


def test_what_does_not_fit_together_is_said(files: Path, tmp_path: Path) -> None:
    def score(**options: object) -> None:
        truth = truth_of([picture()], 4)
        model, weights = files / "test.prototxt", files / "net.caffemodel"
        from_pictures(lambda: caffe, model, weights, tmp_path, truth, **options)  # type: ignore[arg-type]

    with pytest.raises(UserError, match="tells 3 classes apart.*ground truth has 4"):
        score()
    with pytest.raises(UserError, match="give no --soft-nms with it"):
        score(multi_scale="auto", soft="linear")
    deploy, test = ((files / f"{name}.prototxt").read_text() for name in ("deploy", "test"))
    for text, sentence in (
        (deploy.split('layer { name: "found"')[0], "no DetectionOutput layer"),
        (
            deploy + 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }',
            "must be one blob of pictures",
        ),
        (test.replace("WARP", "FIT_SMALL_SIZE"), "must stretch pictures to one size"),
    ):
        (tmp_path / "net.prototxt").write_text(text)
        with pytest.raises(UserError, match=sentence):
            read_deploy_net(tmp_path / "net.prototxt")
