"""Pictures of nets: valid, complete, legible (no box over another, no line through one)."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from scratchdet_caffe import gen
from scratchdet_caffe.analysis.detector import heads
from scratchdet_caffe.analysis.draw import draw
from scratchdet_caffe.analysis.read import read_view
from scratchdet_caffe.analysis.view import NetView
from scratchdet_caffe.errors import UserError

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
SVG = "{http://www.w3.org/2000/svg}"
Box = tuple[float, float, float, float]
NETS = [
    "vgg16/voc0712/ssd_300/train.prototxt",
    "vgg16/voc0712/refinedet_320/train.prototxt",
    "root_resnet34/voc0712/paper_300/deploy.prototxt",
    "root_resnet34/voc0712/release-caffe_300/test.prototxt",
    "resnet101/coco/refinedet_512/deploy.prototxt",
]


def boxes(picture: ET.Element, *kinds: str) -> list[Box]:
    """Corners (left, top, right, bottom) of all boxes of these kinds."""
    found = []
    for rect in picture.iter(f"{SVG}rect"):
        if rect.get("class") in kinds:
            x, y, width, height = (float(rect.get(k, "")) for k in ("x", "y", "width", "height"))
            found.append((x, y, x + width, y + height))
    return found


def texts(picture: ET.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def uprights(picture: ET.Element) -> list[Box]:
    """The vertical pieces of all lines."""
    found = []
    for path in picture.iter(f"{SVG}path"):
        at = (0.0, 0.0)
        for command, numbers in re.findall(r"([MLC])([^MLCz]*)", path.get("d", "")):
            *_, x, y = map(float, re.split(r"[ ,]+", numbers.strip()))
            if command == "L" and x == at[0]:
                found.append((x, min(y, at[1]), x, max(y, at[1])))
            at = (x, y)
    return found


def apart(a: Box, b: Box) -> bool:
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def check(picture: ET.Element) -> None:
    """All boxes lie inside the picture, apart from one another and from lines that pass."""
    solid = boxes(picture, "unit", "head", "output")
    assert solid
    width, height = float(picture.get("width", "")), float(picture.get("height", ""))
    for a in solid:
        assert a[0] >= 0 and a[1] >= 0 and a[2] <= width and a[3] <= height
    for a, b in itertools.combinations(solid, 2):
        assert apart(a, b), (a, b)
    for line in uprights(picture):
        for box in solid:
            assert line[1] >= box[3] or line[3] <= box[1] or not box[0] < line[0] < box[2]


def test_every_net_of_the_zoo_can_be_drawn(zoo_file: Path) -> None:
    if "solver" in zoo_file.name:
        pytest.skip("a solver")
    picture = ET.fromstring(draw(read_view(zoo_file)))
    check(picture)
    tips = [title.text or "" for title in picture.iter(f"{SVG}title")]
    assert any("(Convolution)" in tip or "(InnerProduct)" in tip for tip in tips)


@pytest.mark.parametrize("name", NETS)
def test_detectors_show_every_source_with_its_predictions(name: str) -> None:
    view = read_view(MODELS / name)
    picture = ET.fromstring(draw(view))
    check(picture)
    shown = texts(picture)
    for head in heads(view):
        for level in head.levels:
            assert level.source is not None
            assert f"{head.name}: {view.graph.blob_of[level.source]}" in shown
    assert len(boxes(picture, "head")) == sum(len(head.levels) for head in heads(view))


def test_blocks_that_repeat_are_drawn_once() -> None:
    view = read_view(MODELS / "root_resnet34/voc0712/paper_300/deploy.prototxt")
    shown = texts(ET.fromstring(draw(view)))
    # Stages of 3, 4, 6 and 3 blocks; those that change the map, or read it first, stand alone.
    assert [text for text in shown if text.startswith("×")] == ["× 2", "× 3", "× 5", "× 2"]
    assert "to res4_6" in shown
    assert "conv4_3" in shown and "conv4_5" not in shown


def test_a_hundred_layers_fit() -> None:
    picture = ET.fromstring(draw(read_view(MODELS / NETS[4])))
    assert float(picture.get("height", "")) < 4000
    assert "× 22" in texts(picture)


def test_edges_show_shapes_and_boxes_show_what_they_do() -> None:
    picture = ET.fromstring(draw(read_view(MODELS / NETS[0])))
    shown = texts(picture)
    assert {"64x300x300", "512x38x38", "1024x19x19"} <= set(shown)
    assert "3x3 conv, 1024, dilation 6 · ReLU" in shown
    assert "38x38, stride 8" in shown
    assert "5,776 priors: 4 on each of 38x38" in shown
    assert "21 classes, 8,732 priors" in shown
    stage = next(text for text in shown if text.endswith("9.47 GFLOPs"))
    assert stage == "13.11 M parameters, 9.47 GFLOPs"


def test_names_are_escaped_and_long_ones_cut(view: Callable[..., NetView]) -> None:
    name = 'a<b>&\\"c\\"' + "x" * 60
    net = view(
        'input: "x" input_shape { dim: 1 dim: 1 dim: 8 dim: 8 }'
        f'layer {{ name: "{name}" type: "Convolution" bottom: "x" top: "y"'
        " convolution_param { num_output: 1 kernel_size: 3 } }"
    )
    picture = ET.fromstring(draw(net))
    (shown,) = [text for text in texts(picture) if text.startswith("a<b>&")]
    assert "…" in shown
    (full,) = [t.text for t in picture.iter(f"{SVG}title") if t.text and t.text.startswith("a<b>")]
    assert "x" * 60 in full


def test_the_command_writes_the_same_bytes_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = str(MODELS / NETS[1])
    assert gen.main(["--draw", net, str(tmp_path / "a.svg")]) == 0
    assert gen.main(["--draw", net, str(tmp_path / "b.svg")]) == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path}")
    with pytest.raises(UserError, match=r"must end in \.svg"):
        gen.main(["--draw", net, str(tmp_path / "a.png")])


def test_shapes_that_are_not_known_are_said_to_be(zoo: Path) -> None:
    lenet = zoo / "BVLC+caffe/examples/mnist/lenet_train_test.prototxt"
    shown = texts(ET.fromstring(draw(read_view(lenet))))
    assert any("some shapes are not known (--input gives them)" in text for text in shown)
    assert "5x5 conv, 20" in shown
