"""Blobs and binary models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scratchdet_caffe.caffeproto import array_of, blob_of, blob_shape, read_binary, write_binary
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError


@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=5, max_side=4)))
def test_a_blob_holds_an_array_exactly(array: np.ndarray) -> None:
    blob = pb.BlobProto.FromString(blob_of(array, -array).SerializeToString())
    np.testing.assert_array_equal(array_of(blob), array)
    np.testing.assert_array_equal(array_of(blob, diff=True), -array)
    assert list(blob.data) == array.ravel().tolist() or np.isnan(array).any()


def test_old_four_dims_and_doubles_are_read() -> None:
    old = pb.BlobProto(num=1, channels=1, height=2, width=2, data=[1, 2, 3, 4])
    assert blob_shape(old) == (1, 1, 2, 2)
    wide = pb.BlobProto(double_data=[1.5, 2.5])
    wide.shape.dim.append(2)
    assert array_of(wide).tolist() == [1.5, 2.5]


def test_a_blob_with_too_few_values_is_refused() -> None:
    blob = blob_of(np.zeros(3, np.float32))
    blob.shape.dim[:] = [4]
    with pytest.raises(ValueError, match="3 values for shape"):
        array_of(blob)


@given(st.data())
def test_a_model_cut_short_is_a_sentence_or_a_shorter_model(data) -> None:
    net = pb.NetParameter(name="net")
    net.layer.add(name="a", type="Convolution").blobs.add().MergeFrom(
        blob_of(np.arange(6, dtype=np.float32).reshape(2, 3))
    )
    whole = net.SerializeToString()
    cut = data.draw(st.integers(0, len(whole) - 1))
    from scratchdet_caffe.caffeproto import parse_binary

    try:
        parse_binary(whole[:cut], pb.NetParameter, "w.caffemodel")
    except UserError as error:
        assert "w.caffemodel" in str(error)
        assert "cut short" in str(error)


def test_files_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    write_binary(path, pb.NetParameter(name="n"))
    assert read_binary(path, pb.NetParameter).name == "n"
    assert [p.name for p in tmp_path.iterdir()] == ["w.caffemodel"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_binary(tmp_path / "file" / "w.caffemodel", pb.NetParameter())
