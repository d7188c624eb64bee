"""What the reference refuses ends here in a sentence that names the layer."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.errors import UserError

TABLE = Path(__file__).parents[3] / "shared" / "golden" / "layers" / "refused.csv"

# The table gives the layers only; on these bottoms the reference's message comes true.
BOTTOMS = {
    "conv-kernel-larger-than-input": {"x": (1, 3, 2, 2)},
    "pool-three-axes": {"x": (2, 3, 6)},
    "embed-force-backward": {"x": (4,)},
    "lrn-2d": {"x": (2, 3)},
    "bn-one-axis": {"x": (6,)},
    "scale-too-many-axes": {"x": (2, 3)},
    "normalize-1d": {"x": (6,)},
    "prelu-1d": {"x": (6,)},
    "concat-mismatch": {"a": (2, 3, 4), "b": (2, 3, 5)},
    "slice-uneven": {"x": (2, 5)},
    "permute-out-of-range": {"x": (2, 3)},
    "permute-duplicate": {"x": (2, 3)},
    "reshape-bad-count": {"x": (3, 4)},
    "crop-out-of-bounds": {"x": (1, 1, 5, 5), "ref": (1, 1, 4, 4)},
    "batchreindex-negative": {"x": (3, 2), "i": (2,)},
    "filter-force-backward": {"x": (3, 2), "i": (3,)},
    "softmaxloss-two-tops": {"x": (3, 4), "label": (3,)},
    "softmaxloss-two-tops-no-weight": {"x": (3, 4), "label": (3,)},
    "softmaxloss-label-count": {"x": (3, 4), "label": (1,)},
    "infogain-force-backward": {"p": (4, 3), "label": (4,), "H": (1, 1, 3, 3)},
    "accuracy-topk-too-large": {"x": (3, 4), "label": (3,)},
    "accuracy-backward": {"x": (3, 4), "label": (3,)},
    "net-shared-shape-mismatch": {"x": (2, 5), "z": (2, 6)},
}
DEFAULT = (2, 3, 6, 6)
VALUES = {"batchreindex-negative": {"i": -1.0}, "filter-force-backward": {"i": 1.0}}


def rows() -> list[dict[str, str]]:
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.skipif(not TABLE.exists(), reason="needs ../shared/golden/layers")
@pytest.mark.parametrize("row", rows(), ids=lambda row: row["case"])
def test_refused_with_a_sentence(row: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    forced = "force_backward: true\n" if row["stage"] == "backward" else ""
    path.write_text(forced + with_inputs(row["layer_text"], row["case"]))
    with pytest.raises(UserError) as caught:
        net = caffe.Net(path, getattr(caffe, row["phase"]))
        for blob, value in VALUES.get(row["case"], {}).items():
            net.blobs[blob].data[...] = value
        net.forward()
        net.backward()
    sentence = str(caught.value)
    assert "layer '" in sentence or "net.prototxt:" in sentence, sentence
    assert "\n" not in sentence


def with_inputs(text: str, case: str) -> str:
    """Put Input layers in front for the bottoms that no layer of ``text`` before makes."""
    try:
        net = parse_text(text, pb.NetParameter)
    except UserError:
        return text
    made: set[str] = set()
    shapes = BOTTOMS.get(case, {})
    front = ""
    for layer in net.layer:
        for bottom in layer.bottom:
            if bottom not in made and not (case == "net-unknown-bottom" and bottom == "q"):
                made.add(bottom)
                dims = " ".join(f"dim: {d}" for d in shapes.get(bottom, DEFAULT))
                front += (
                    f'layer {{ name: "in_{bottom}" type: "Input" top: "{bottom}" '
                    f"input_param {{ shape {{ {dims} }} }} }}\n"
                )
        made.update(layer.top)
    return front + text
