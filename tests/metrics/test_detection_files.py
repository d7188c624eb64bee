"""comp4 files: what is written reads back, and bad lines are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import Detections, read_detection_file, write_detection_files

IMAGES = ["000012", "photo_a", "x"]

detections = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.floats(0, 1, width=32),
        st.lists(st.integers(-100_000, 100_000), min_size=4, max_size=4),
    )
)


@given(detections)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:  # type: ignore[type-arg]
    found = Detections(
        np.array([row[0] for row in rows], int),
        np.array([row[1] for row in rows], float),
        np.array([row[2] for row in rows], float).reshape(-1, 4) / 100,
    )
    folder = tmp_path_factory.mktemp("files")
    (path,) = write_detection_files(folder, IMAGES, {"cat": found})
    assert path.name == "comp4_det_test_cat.txt"
    back = read_detection_file(path, IMAGES)
    assert np.array_equal(back.image, found.image)
    assert np.array_equal(back.score.astype(np.float32), found.score.astype(np.float32))
    assert np.array_equal(back.box, found.box)


def test_lines_have_the_devkit_form(tmp_path: Path) -> None:
    found = Detections(np.array([1]), np.array([0.5]), np.array([[1.0, 2.0, 30.25, 40.0]]))
    (path,) = write_detection_files(tmp_path, IMAGES, {"cat": found})
    assert path.read_text() == "photo_a 0.5 1.00 2.00 30.25 40.00\n"


def test_files_of_ssd_caffe_are_read(shared: Path) -> None:
    folder = shared / "golden/detfiles/voc"
    stems = [line.split()[0] for line in (folder / "name_size.txt").read_text().splitlines()]
    found = read_detection_file(folder / "out/pre_thing1.txt", stems)
    lines = (folder / "out/pre_thing1.txt").read_text().splitlines()
    assert len(found.score) == len(lines)
    assert [stems[i] for i in found.image] == [line.split()[0] for line in lines]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("x 0.5 1 2 3", "a.txt:2: 5 fields"),
        ("dog 0.5 1 2 3 4", "a.txt:2: image 'dog' is not in the image set"),
        ("x high 1 2 3 4", "a.txt:2: .*'high'"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, sentence: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"x 0.5 1 2 3 4\n{line}\n")
    with pytest.raises(UserError, match=sentence):
        read_detection_file(path, IMAGES)
