"""Nets that nobody would write: each is built and runs, or ends in a sentence; memory is bounded.

The layers are drawn from the schema: any field of a layer's own parameters, with the numbers
that break things (0, negative, huge, NaN, infinite).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.pycaffe.net_spec import param_name_dict

#: Layers that read or write files have tests of their own.
FILES = {"Python", "AnnotatedData", "Data", "ImageData", "HDF5Data", "HDF5Output", "Input"}
TYPES = sorted(set(caffe.layer_type_list()) - FILES)
FIELDS = param_name_dict() | {"SoftmaxWithLoss": "softmax", "RNN": "recurrent", "LSTM": "recurrent"}
SHAPES = [(2, 3, 4, 4), (1, 3, 5, 5), (2, 6), (4,), (), (2, 0, 3, 3), (1, 2, 8), (1, 1, 3, 8)]
INTS = [0, 1, 1, 2, 3, -1, 2**31 - 1, -(2**31)]
FLOATS = [0.0, 1.0, -1.0, 0.5, 2.0, 1e30, float("nan"), float("inf"), float("-inf")]
WORDS = ["", "nowhere", "constant", "xavier", "bilinear", "positive_unitball"]


@st.composite
def messages(draw: st.DrawFn, kind: Any, depth: int = 0) -> Any:
    """A message of class ``kind`` with some of its fields."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        inner = field.message_type is not None
        if draw(st.integers(0, 2)) or (inner and depth > 1):
            continue
        if inner:
            values = messages(getattr(pb, field.message_type.name), depth + 1)
        elif field.enum_type is not None:
            values = st.sampled_from([value.number for value in field.enum_type.values])
        elif field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
            values = st.sampled_from(FLOATS)
        elif field.cpp_type == field.CPPTYPE_BOOL:
            values = st.booleans()
        elif field.cpp_type == field.CPPTYPE_STRING:
            values = st.sampled_from(WORDS)
        else:
            unsigned = field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64)
            values = st.sampled_from([abs(i) for i in INTS] if unsigned else INTS)
        held = getattr(message, field.name)
        if hasattr(held, "extend"):
            held.extend(draw(st.lists(values, min_size=1, max_size=3)))
        elif inner:
            held.CopyFrom(draw(values))
        else:
            setattr(message, field.name, draw(values))
    return message


@st.composite
def nets(draw: st.DrawFn) -> pb.NetParameter:
    """A net of Input layers and one layer of any type."""
    layer = pb.LayerParameter(name="lut", type=draw(st.sampled_from(TYPES)))
    if own := FIELDS.get(layer.type):
        field = getattr(layer, f"{own}_param")
        field.CopyFrom(draw(messages(type(field))))
    if layer.type in ("Convolution", "Deconvolution", "Im2col") and draw(st.booleans()):
        layer.convolution_param.kernel_size[:] = [draw(st.integers(1, 3))]
    net = pb.NetParameter(force_backward=draw(st.booleans()))
    for i, shape in enumerate(draw(st.lists(st.sampled_from(SHAPES), max_size=4))):
        net.layer.add(name=f"in{i}", type="Input", top=[f"b{i}"]).input_param.shape.add(dim=shape)
        layer.bottom.append(f"b{i}")
    layer.top.extend(f"t{i}" for i in range(draw(st.integers(0, 2))))
    net.layer.append(layer)
    return net


@settings(max_examples=400, deadline=None, derandomize=True)
@given(net=nets(), phase=st.sampled_from([pb.TRAIN, pb.TEST]), value=st.sampled_from(FLOATS))
def test_any_layer_is_built_and_runs_or_ends_in_a_sentence(
    net: pb.NetParameter, phase: int, value: float
) -> None:
    try:
        built = Net(net, phase)
        feed = {b: torch.full(built.shapes[built.graph.last[b]], value) for b in built.inputs}
        for values in feed.values():
            values.requires_grad_(net.force_backward)
        outputs = built(feed)
        total = sum(values.sum() for values in outputs.values())
        if isinstance(total, torch.Tensor) and total.requires_grad:
            total.backward()
    except UserError as error:
        assert "layer '" in str(error) and "\n" not in str(error)


HUGE = """
import resource, sys
import torch  # maps much that it never touches
import h5py
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
from scratchdet_caffe.caffeproto import parse_text, read_model, read_state, caffe_pb2 as pb
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.engine.weights import copy_weights
from scratchdet_caffe.errors import UserError

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { %s } } } '
SMALL = INPUT % "dim: 1 dim: 3 dim: 9 dim: 9"
LAYER = 'layer { name: "big" bottom: "x" top: "y" type: %s }'
NETS = [
    INPUT % "dim: 2147483647 dim: 2147483647",
    INPUT % "dim: 2147483648",
    INPUT % "dim: 46341 dim: 46341" + LAYER % '"Power" power_param { power: 2 }',
    SMALL + LAYER % '"InnerProduct" inner_product_param { num_output: 4294967295 }',
    SMALL + LAYER % '"InnerProduct" inner_product_param { num_output: 8000000 }',
    SMALL + LAYER % '"Convolution" convolution_param { num_output: 65536 kernel_size: 4 '
        'pad: 1000000 }',
    SMALL + LAYER % '"Deconvolution" convolution_param { num_output: 9 kernel_size: 9 '
        'stride: 500000 }',
    SMALL + LAYER % '"Tile" tile_param { tiles: 2147483647 }',
    SMALL + LAYER % '"Pooling" pooling_param { kernel_size: 100000 pad: 99999 }',
    SMALL + LAYER % '"Embed" embed_param { num_output: 65535 input_dim: 65535 }',
    'layer { name: "big" type: "DummyData" top: "y" dummy_data_param { shape { dim: 1000000000 '
        'dim: 2 } } }',
    'layer { name: "big" type: "Parameter" top: "y" parameter_param { shape { dim: 2147483647 '
        '} } }',
]
BIG = pb.NetParameter()
blob = BIG.layer.add(name="big").blobs.add(data=[1.0])
blob.shape.dim.extend([2147483647, 2147483647])

def weights():
    text = SMALL + LAYER % '"InnerProduct" inner_product_param { num_output: 2 bias_term: false }'
    copy_weights(Net(parse_text(text, pb.NetParameter), pb.TEST), BIG, "big.caffemodel")

def stored(name, read):
    with h5py.File(name, "w") as file:
        file["iter"] = [1]
        file.create_dataset("data/big/0", (2**20, 2**20), "f4", chunks=(1, 1), fillvalue=1)
        file.create_dataset("history/0", (2**40,), "f4", chunks=(2**10,), compression="gzip")
    return lambda: read(name)

def build(text):
    net = Net(parse_text(text, pb.NetParameter), pb.TRAIN)
    return net({blob: torch.zeros(net.shapes[net.graph.last[blob]]) for blob in net.inputs})

jobs = [lambda text=text: build(text) for text in NETS]
jobs += [weights, stored("m.h5", read_model), stored("s.h5", read_state)]
for job in jobs:
    try:
        job()
    except UserError as error:
        print(error)
    else:
        print("built")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_huge_declared_sizes_are_refused_in_bounded_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HUGE], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *sentences, peak = done.stdout.splitlines()
    assert len(sentences) == 15
    assert "built" not in sentences
    assert int(peak) < 900, "MiB"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'layer { name: "a" type: "ReLU" bottom: "b" top: "a" } '
            'layer { name: "b" type: "ReLU" bottom: "a" top: "b" }',
            "layer 'a' .ReLU.: unknown bottom blob 'b'",
        ),
        ('layer { name: "a" type: "ReLU" bottom: "a" top: "a" }', "unknown bottom blob 'a'"),
        ('layer { name: "a" type: "Relu" bottom: "x" top: "a" }', "did you mean 'ReLU'"),
        ('layer { name: "a" bottom: "x" top: "a" }', "layer 'a' ..: unknown layer type"),
        ('layer { name: "a" type: "Input" top: "x" }', "'x' is already made by another layer"),
        (
            'layer { name: "a" type: "ReLU" bottom: "x" top: "a" include {} exclude {} }',
            "either include or exclude rules, not both",
        ),
    ],
)
def test_nets_that_cannot_be_wired_name_the_layer(text: str, sentence: str, tmp_path: Path) -> None:
    front = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 } } } '
    (tmp_path / "n").write_text(front + text)
    with pytest.raises(UserError, match=sentence):
        caffe.Net(tmp_path / "n", caffe.TEST)
