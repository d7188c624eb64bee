"""Data, ImageData, MemoryData, HDF5Data and HDF5Output: what they read, write and refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.caffeproto import blob_of, parse_text, write_binary
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data import write_database
from scratchdet_caffe.engine.layers.data import Source
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.engine.ranks import Ranks
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.engine.shapes.registry import LayerError
from scratchdet_caffe.engine.solver import Solver
from scratchdet_caffe.errors import UserError

COUNT, SIZE = 5, (3, 8, 10)
DATA = 'name: "data" type: "Data" top: "data" top: "label" '
IMAGES = 'name: "data" type: "ImageData" top: "data" top: "label" '
ROWS = 'name: "data" type: "HDF5Data" top: "data" top: "label" '
MEMORY = (
    'name: "data" type: "MemoryData" top: "data" top: "label" '
    "memory_data_param { batch_size: 2 channels: 3 height: 4 width: 4 }"
)


def pictures() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (COUNT, *SIZE), np.uint8)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `COUNT` pictures as LMDBs, as files with a list, and as HDF5."""
    monkeypatch.chdir(tmp_path)
    shape = dict(zip(("channels", "height", "width"), SIZE))
    raw, floats, png = [], [], []
    for i, picture in enumerate(pictures()):
        pixels = np.ascontiguousarray(picture.transpose(1, 2, 0))
        assert cv2.imwrite(f"{i} a.png", pixels)
        key = f"{i:08d}"
        raw.append((key, pb.Datum(data=picture.tobytes(), label=i, **shape)))
        small = (picture / np.float32(7)).ravel()
        floats.append((key, pb.Datum(float_data=small.tolist(), label=i, **shape)))
        stored = Path(f"{i} a.png").read_bytes()
        png.append((key, pb.Datum(data=stored, label=i, encoded=True)))
    write_database("raw", raw)
    write_database("floats", floats)
    write_database("png", png)
    Path("list.txt").write_text("".join(f"{i} a.png {i}\n" for i in range(COUNT)))
    for name, part in (("a.h5", slice(0, 2)), ("b.h5", slice(2, COUNT))):
        with h5py.File(name, "w") as file:
            file["data"] = pictures()[part].astype(np.float32)
            file["label"] = np.arange(COUNT)[part]
    Path("files.txt").write_text("a.h5\nb.h5\n")
    return tmp_path


def net(layer: str, phase: int = pb.TRAIN, seed: int = 1) -> Net:
    return Net(parse_text(f"layer {{ {layer} }}", pb.NetParameter), phase, seed=seed)


def batch(of: Net) -> tuple[np.ndarray, np.ndarray]:
    blobs = of()
    return blobs["data"].numpy(), blobs["label"].numpy()


def labels(of: Net, passes: int) -> list[int]:
    return [int(label) for _ in range(passes) for label in batch(of)[1]]


@pytest.fixture
def layers() -> Iterator[dict[str, str]]:
    """Every layer that reads files, in a random manner."""
    transform = "transform_param { mirror: true crop_size: 6 }"
    yield {
        "Data": f'{DATA} {transform} data_param {{ source: "png" batch_size: 2 backend: LMDB }}',
        "ImageData": f'{IMAGES} {transform} image_data_param {{ source: "list.txt" '
        "batch_size: 2 shuffle: true }",
        "HDF5Data": f'{ROWS} hdf5_data_param {{ source: "files.txt" batch_size: 2 shuffle: true }}',
    }


@pytest.mark.parametrize(("source", "scale"), [("raw", 1), ("png", 1), ("floats", 1 / 7)])
def test_data_reads_the_records_in_order_and_around(source: str, scale: float) -> None:
    one = net(f'{DATA} data_param {{ source: "{source}" batch_size: 3 }}')
    data, label = batch(one)
    np.testing.assert_allclose(data, pictures()[:3] * np.float32(scale), rtol=1e-6)
    assert label.tolist() == [0, 1, 2]
    data, label = batch(one)
    np.testing.assert_allclose(data[2], pictures()[0] * np.float32(scale), rtol=1e-6)
    assert label.tolist() == [3, 4, 0]


@pytest.mark.parametrize("source", ["raw", "png", "floats"])
def test_in_test_the_crop_is_central_and_mean_and_scale_apply(source: str) -> None:
    mean = np.random.default_rng(4).random((1, *SIZE), np.float32)
    write_binary("mean.binaryproto", blob_of(mean))
    asked = 'transform_param { crop_size: 4 scale: 0.5 mean_file: "mean.binaryproto" }'
    one = net(f'{DATA} data_param {{ source: "{source}" batch_size: 5 }} {asked}', pb.TEST)
    whole = pictures() / np.float32(7 if source == "floats" else 1)
    wanted = ((whole - mean) / 2)[:, :, 2:6, 3:7]
    np.testing.assert_allclose(batch(one)[0], wanted, rtol=1e-5, atol=1e-5)


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**31 - 1), crop=st.integers(1, 8))
def test_a_random_crop_is_a_window_of_the_picture_or_of_its_mirror(seed: int, crop: int) -> None:
    for source in ("raw", "png"):
        asked = f"transform_param {{ crop_size: {crop} mirror: true mean_value: 1 }}"
        data, label = batch(
            net(f'{DATA} data_param {{ source: "{source}" batch_size: 2 }} {asked}', seed=seed)
        )
        for picture, index in zip(data + 1, label.astype(int)):
            windows = [
                side[:, top : top + crop, left : left + crop]
                for side in (pictures()[index], pictures()[index][..., ::-1])
                for top in range(SIZE[1] - crop + 1)
                for left in range(SIZE[2] - crop + 1)
            ]
            assert any(np.array_equal(picture, window) for window in windows)


def test_label_top_may_be_left_out_and_grey_may_be_forced() -> None:
    one = net(
        'name: "data" type: "Data" top: "data" transform_param { force_gray: true } '
        'data_param { source: "png" batch_size: 1 }'
    )
    grey = cv2.imread("0 a.png", cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(one()["data"].numpy()[0, 0], grey)


@pytest.mark.parametrize("kind", ["Data", "ImageData", "HDF5Data"])
def test_a_seed_gives_the_same_batches_and_a_position_the_ones_after_it(
    layers: dict[str, str], kind: str
) -> None:
    unbroken = net(layers[kind])
    seen = [batch(unbroken) for _ in range(6)]
    again, resumed, other = net(layers[kind]), net(layers[kind]), net(layers[kind], seed=2)
    batch(resumed)
    resumed.sources["data"].position = 6
    for i, (data, label) in enumerate(seen):
        for same in [again, *([resumed] if i >= 3 else [])]:
            theirs = batch(same)
            np.testing.assert_array_equal(theirs[0], data)
            np.testing.assert_array_equal(theirs[1], label)
    assert any(not np.array_equal(batch(other)[0], data) for data, _ in seen)
    reseeded = net(layers[kind], seed=2)
    reseeded.sources["data"].reseed(1)
    np.testing.assert_array_equal(batch(reseeded)[0], seen[0][0])


@pytest.mark.parametrize("kind", ["Data", "ImageData", "HDF5Data"])
def test_processes_share_the_records(layers: dict[str, str], kind: str) -> None:
    def part(rank: int) -> Net:
        layer = layers[kind].replace("batch_size: 2", "batch_size: 1")
        return Net(
            parse_text(f"layer {{ {layer} }}", pb.NetParameter), pb.TRAIN, 0, (), 1, (rank, 2)
        )

    whole, parts = net(layers[kind]), [part(0), part(1)]
    for step in range(1, 5):
        data, label = batch(whole)
        for rank, one in enumerate(parts):
            mine = batch(one)
            np.testing.assert_array_equal(mine[0], data[rank : rank + 1])
            np.testing.assert_array_equal(mine[1], label[rank : rank + 1])
            assert one.sources["data"].position == 2 * step == step * one.sources["data"].per_pass


def test_a_solver_shares_training_records_only() -> None:
    text = f"layer {{ {DATA} data_param {{ source: 'raw' batch_size: 1 }} }}"
    param = pb.SolverParameter(test_iter=[1], test_interval=1, lr_policy="fixed", random_seed=1)
    param.net_param.CopyFrom(parse_text(text, pb.NetParameter))
    solver = Solver(param, ranks=Ranks(1, 2))
    assert labels(solver.net, 3) == [1, 3, 0]
    assert labels(solver.test_nets[0], 3) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["ImageData", "HDF5Data"])
def test_shuffling_takes_every_record_once_an_epoch(layers: dict[str, str], kind: str) -> None:
    order = labels(net(layers[kind]), COUNT)
    epochs = [order[:COUNT], order[COUNT : 2 * COUNT]]
    assert [sorted(epoch) for epoch in epochs] == [list(range(COUNT))] * 2
    assert epochs[0] != epochs[1]


def test_image_data_resizes_and_turns_grey() -> None:
    one = net(
        f'{IMAGES} image_data_param {{ source: "list.txt" batch_size: 2 new_height: 5 new_width: 7 '
        "is_color: false }"
    )
    grey = cv2.imread("1 a.png", cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(batch(one)[0][1, 0], cv2.resize(grey, (7, 5)))
    text = (
        f"layer {{ {IMAGES} image_data_param {{ source: 'list.txt' new_height: 5 new_width: 7 }} }}"
    )
    assert infer(parse_text(text, pb.NetParameter), pb.TRAIN).blobs["data"] == (1, 3, 5, 7)


def test_root_folder_stands_before_every_path(folder: Path) -> None:
    Path("other").mkdir()
    (folder / "0 a.png").rename(folder / "other" / "0 a.png")
    Path("one.txt").write_text("\n0 a.png 7\n")
    one = net(f'{IMAGES} image_data_param {{ source: "one.txt" root_folder: "other/" }}')
    assert labels(one, 1) == [7]


def test_hdf5_rows_come_file_after_file() -> None:
    one = net(f'{ROWS} hdf5_data_param {{ source: "files.txt" batch_size: 4 }}')
    data, label = batch(one)
    np.testing.assert_array_equal(data, pictures()[:4])
    assert label.tolist() == [0, 1, 2, 3]
    assert labels(one, 1) == [4, 0, 1, 2]


def test_memory_data_serves_arrays_around_and_pycaffe_sets_them() -> None:
    Path("net.prototxt").write_text(f"layer {{ {MEMORY} }}")
    one = caffe.Net("net.prototxt", caffe.TEST)
    with pytest.raises(LayerError, match="'data' .MemoryData.: has no arrays yet"):
        one.forward()
    data = np.random.default_rng(1).random((4, 3, 4, 4), np.float32)
    one.set_input_arrays(data, np.arange(4, dtype=np.float32))
    for first in (0, 2, 0):
        blobs = one.forward()
        np.testing.assert_array_equal(blobs["data"], data[first : first + 2])
        assert blobs["label"].tolist() == [first, first + 1]
    for bad in (data[:3], data[:, :2], data[:0]):
        with pytest.raises(LayerError, match="MemoryData.: takes"):
            one.set_input_arrays(bad, np.zeros(len(bad)))
    with pytest.raises(LayerError, match="labels of shape"):
        one.set_input_arrays(data, np.zeros(3))


def test_hdf5_output_writes_rows_with_four_axes_pass_after_pass() -> None:
    text = f"""layer {{ {ROWS} hdf5_data_param {{ source: "files.txt" batch_size: 2 }} }}
    layer {{ name: "out" type: "HDF5Output" bottom: "data" bottom: "label"
             hdf5_output_param {{ file_name: "out.h5" }} }}"""
    for passes in (2, 1):  # another run replaces the file
        one = Net(parse_text(text, pb.NetParameter), pb.TEST)
        for _ in range(passes):
            one()
        with h5py.File("out.h5") as file:
            np.testing.assert_array_equal(file["data"][()], pictures()[: 2 * passes])
            assert file["label"].shape == (2 * passes, 1, 1, 1)
            assert file["label"][()].ravel().tolist() == list(range(2 * passes))


TRAINED = """
layer { %s }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize("kind", ["Data", "ImageData", "HDF5Data", "MemoryData"])
def test_a_net_trains_and_resumes(layers: dict[str, str], kind: str) -> None:
    param = pb.SolverParameter(base_lr=1e-4, lr_policy="fixed", random_seed=5)
    param.snapshot_prefix = "run"
    param.net_param.CopyFrom(
        parse_text(TRAINED % {**layers, "MemoryData": MEMORY}[kind], pb.NetParameter)
    )

    def solver() -> Solver:
        made = Solver(param)
        first = made.net.layers[0]
        if kind == "MemoryData":
            first.set_arrays(np.random.default_rng(2).random((4, 3, 4, 4)), [0, 1, 2, 3])
        assert isinstance(first, Source)
        return made

    unbroken = solver()
    start = unbroken.net.params[0].tensor.detach().clone()
    unbroken.step(3)
    unbroken.snapshot()
    unbroken.step(2)
    resumed = solver()
    resumed.restore("run_iter_3.solverstate")
    resumed.step(2)
    end = unbroken.net.params[0].tensor.detach()
    assert not np.array_equal(start, end)
    np.testing.assert_array_equal(resumed.net.params[0].tensor.detach(), end)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (DATA + 'data_param { source: "none" batch_size: 1 }', "none: no LMDB here"),
        (DATA + 'data_param { source: "level" batch_size: 1 }', "level: a LevelDB"),
        (DATA + 'data_param { source: "png" }', "batch_size must be at least 1"),
        (DATA + 'data_param { source: "boxes" batch_size: 1 }', "record 'k' holds no picture"),
        (DATA + 'data_param { source: "short" batch_size: 1 }', "record 'k': 5 numbers for"),
        (DATA + 'data_param { source: "cut" batch_size: 1 }', "record 'k': .*cannot be decoded"),
        (IMAGES + 'image_data_param { source: "none.txt" }', "none.txt: cannot read"),
        (IMAGES + 'image_data_param { source: "bad.txt" }', "bad.txt:2: expected 'path label'"),
        (IMAGES + 'image_data_param { source: "gone.txt" }', "gone.png: cannot read"),
        (
            DATA + 'data_param { source: "raw" batch_size: 1 } transform_param { crop_size: 9 }',
            "record '00000000': crop_size 9x9 is larger",
        ),
        (ROWS + 'hdf5_data_param { source: "none.txt" batch_size: 1 }', "none.txt: cannot read"),
        (ROWS + 'hdf5_data_param { source: "gone.txt" batch_size: 1 }', "gone.png 1: no such file"),
        (ROWS + 'hdf5_data_param { source: "h5.txt" batch_size: 1 }', "cut.h5: not a complete"),
        (
            'name: "data" type: "HDF5Data" top: "mark" '
            'hdf5_data_param { source: "files.txt" batch_size: 1 }',
            "a.h5: has no dataset 'mark', only .'data', 'label'.",
        ),
        ('name: "data" type: "VideoData" top: "data"', "list them for an ImageData"),
        ('name: "data" type: "WindowData" top: "data"', "AnnotatedData"),
    ],
)
def test_what_cannot_be_read_is_said(layer: str, reason: str) -> None:
    Path("level").mkdir()
    Path("level/CURRENT").touch()
    write_database("boxes", [("k", pb.AnnotatedDatum(datum=pb.Datum(data=b"1")))])
    write_database("short", [("k", pb.Datum(data=b"12345", channels=1, height=2, width=2))])
    write_database("cut", [("k", pb.Datum(data=b"\x89PNG", encoded=True))])
    Path("bad.txt").write_text("0 a.png 0\nx.png\n")
    Path("gone.txt").write_text("gone.png 1\n")
    Path("cut.h5").write_bytes(Path("a.h5").read_bytes()[:700])
    Path("h5.txt").write_text("cut.h5\n")
    with pytest.raises(LayerError, match=f"layer 'data' .*{reason}"):
        net(layer)


def test_a_picture_that_goes_missing_ends_the_run_with_its_name(folder: Path) -> None:
    one = net(f'{IMAGES} image_data_param {{ source: "list.txt" batch_size: 1 }}')
    (folder / "3 a.png").unlink()
    with pytest.raises(UserError, match="layer 'data' .ImageData.: 3 a.png: cannot read"):
        labels(one, COUNT)
