"""HDF5 snapshots: laid out as the reference's, and refused with a sentence when damaged."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchdet_caffe.caffeproto import (
    array_of,
    blob_of,
    hdf5,
    read_model,
    read_state,
    write_model,
    write_state,
)
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError

CASE = Path("golden") / "solvers" / "sgd_hdf5"


def layout(path: Path) -> dict[str, object]:
    """What a reader in C depends on, by name: types, shapes, string padding."""
    found: dict[str, object] = {}

    def note(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset):
            kind = item.id.get_type()
            form = kind.get_class() if kind.get_class() != h5py.h5t.STRING else kind.get_strpad()
            found[name] = (item.shape, item.dtype, item.chunks, form, dict(item.attrs))
        else:
            found[name] = dict(item.attrs)

    with h5py.File(path, "r") as file:
        file.visititems(note)
    return found


@pytest.mark.parametrize("kind", ["caffemodel", "solverstate"])
def test_what_is_read_from_the_reference_is_written_as_it_wrote_it(
    kind: str, shared: Path, tmp_path: Path
) -> None:
    theirs = shared / CASE / f"snap_iter_6.{kind}.h5"
    ours = tmp_path / f"ours.{kind}.h5"
    if kind == "caffemodel":
        write_model(ours, read_model(theirs))
        assert read_model(ours) == read_model(theirs)
    else:
        write_state(ours, read_state(theirs))
        assert read_state(ours) == read_state(theirs)
        assert read_state(ours).learned_net == "snap_iter_6.caffemodel.h5"
    assert layout(ours) == layout(theirs)


def small_model() -> pb.NetParameter:
    net = pb.NetParameter()
    net.layer.add(name="relu")
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    net.layer.add(name="stage/conv", blobs=[blob_of(values), blob_of(values[0])])
    return net


def small_state() -> pb.SolverState:
    history = [blob_of(np.full(3, i, np.float32)) for i in range(12)]
    return pb.SolverState(iter=7, learned_net="a.caffemodel.h5", current_step=2, history=history)


def test_blobs_come_back_in_order_and_layer_names_keep_their_slashes(tmp_path: Path) -> None:
    write_model(tmp_path / "m.caffemodel.h5", small_model())
    assert read_model(tmp_path / "m.caffemodel.h5") == small_model()
    write_state(tmp_path / "s.solverstate.h5", small_state())
    state = read_state(tmp_path / "s.solverstate.h5")
    assert [blob.data[0] for blob in state.history] == list(range(12))  # 10 comes after 9
    assert (state.iter, state.current_step) == (7, 2)


def test_the_content_tells_the_format_not_the_name(tmp_path: Path) -> None:
    write_model(tmp_path / "m.h5", small_model())
    (tmp_path / "m.h5").rename(tmp_path / "m.caffemodel")
    assert read_model(tmp_path / "m.caffemodel") == small_model()


def test_gradients_lie_beside_the_data_and_shared_blobs_are_left_out(tmp_path: Path) -> None:
    net = small_model()
    net.layer[1].blobs[0].MergeFrom(pb.BlobProto(diff=[5] * 6))
    net.layer[1].blobs[1].CopyFrom(blob_of(np.zeros(3), np.ones(3)))
    net.layer.add(name="twin", blobs=[pb.BlobProto(), blob_of(np.ones(2))])
    write_model(tmp_path / "m.h5", net)
    with h5py.File(tmp_path / "m.h5") as file:
        np.testing.assert_array_equal(file["diff/stage/conv/0"], np.full((2, 3), 5))
        assert list(file["data/twin"]) == ["1"]
    shared, own = read_model(tmp_path / "m.h5").layer[-1].blobs
    assert not shared.data
    np.testing.assert_array_equal(array_of(own), np.ones(2))


def test_older_states_lack_the_fields_of_plateau(tmp_path: Path) -> None:
    write_state(tmp_path / "s.h5", small_state())
    with h5py.File(tmp_path / "s.h5", "a") as file:
        del file["minimum_loss"], file["iter_last_event"]
    assert not read_state(tmp_path / "s.h5").HasField("minimum_loss")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: f.pop("data"), "without /data, so it is no .caffemodel.h5"),
        (lambda f: f["data/relu"].create_dataset("w", data=[1.0]), "a blob is named 'w'"),
        (lambda f: f["data/relu"].create_dataset("0", data=b"text"), "not numbers"),
        (
            lambda f: f["data/relu"].create_dataset("0", (10**6, 10**6), "f4", chunks=(1, 1)),
            "declares (1000000, 1000000), which the file does not hold",
        ),
        (
            lambda f: f["data/relu"].create_dataset("0", (4,), "f4", external=[("other", 0, 16)]),
            "which the file does not hold",
        ),
    ],
)
def test_a_file_of_another_make_is_a_sentence(spoil, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "m.caffemodel.h5"
    write_model(path, small_model())
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(UserError) as caught:
        read_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert sentence in str(caught.value)


def test_weights_in_place_of_a_state_are_told_apart(tmp_path: Path) -> None:
    write_model(tmp_path / "m.caffemodel.h5", small_model())
    with pytest.raises(UserError, match="m.caffemodel.h5: not a solver state: it holds weights"):
        read_state(tmp_path / "m.caffemodel.h5")


def test_links_that_lead_back_come_to_an_end(tmp_path: Path) -> None:
    write_model(tmp_path / "m.h5", small_model())
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file["data/stage/again"] = file["data"]
        file["data/away"] = h5py.ExternalLink("none.h5", "/")
    assert read_model(tmp_path / "m.h5") == small_model()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    folder = tmp_path_factory.mktemp("hdf5")
    write_model(folder / "m.h5", small_model())
    write_state(folder / "s.h5", small_state())
    return (folder / "m.h5").read_bytes(), (folder / "s.h5").read_bytes()


def test_a_file_cut_anywhere_is_refused(images: tuple[bytes, bytes]) -> None:
    model, state = images
    for cut in range(8, len(model), 7):
        with pytest.raises(UserError, match="not a complete HDF5 snapshot"):
            hdf5.parse_model(model[:cut], "m")
    for cut in range(8, len(state), 101):
        with pytest.raises(UserError, match="not a complete HDF5 snapshot"):
            hdf5.parse_state(state[:cut], "s")


@settings(max_examples=150)
@given(data=st.data())
def test_a_spoilt_byte_gives_a_message_or_a_sentence(images: tuple[bytes, bytes], data) -> None:
    for image, parse in zip(images, (hdf5.parse_model, hdf5.parse_state)):
        spoilt = bytearray(image)
        spoilt[data.draw(st.integers(8, len(image) - 1))] ^= data.draw(st.integers(1, 255))
        try:
            parse(bytes(spoilt), "f")
        except UserError as error:
            assert str(error).startswith("f: ")
