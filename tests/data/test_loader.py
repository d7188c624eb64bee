"""Batches: order, wrapping, determinism, resume, and errors that name the record."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text, write_binary
from scratchdet_caffe.data import Batches, Database, write_database
from scratchdet_caffe.data.annotation import Annotation, Object
from scratchdet_caffe.data.convert import record_of
from scratchdet_caffe.errors import UserError

AUGMENT = """
transform_param {
  mean_value: 104 mean_value: 117 mean_value: 123 force_color: true mirror: true
  distort_param { brightness_prob: 0.5 brightness_delta: 32 hue_prob: 0.5 hue_delta: 18 }
  expand_param { prob: 0.5 max_expand_ratio: 3 }
  resize_param { width: 32 height: 24 interp_mode: LINEAR interp_mode: AREA interp_mode: CUBIC }
  emit_constraint { emit_type: CENTER }
}
annotated_data_param {
  batch_sampler { max_sample: 1 max_trials: 1 }
  batch_sampler {
    sampler { min_scale: 0.3 max_scale: 1 min_aspect_ratio: 0.5 max_aspect_ratio: 2 }
    sample_constraint { min_jaccard_overlap: 0.5 } max_sample: 1 max_trials: 50
  }
}
"""
PLAIN = "transform_param { force_color: true resize_param { width: 32 height: 24 } }"


def picture(number: int, size: tuple[int, int] = (40, 60), boxes: int = 2) -> pb.AnnotatedDatum:
    rng = np.random.default_rng(number)
    pixels = cv2.resize(rng.integers(0, 256, (5, 5, 3), np.uint8), size[::-1])
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    objects = tuple(Object("a", (2.0, 3.0, 20.0 + i, 30.0), bool(i)) for i in range(boxes))
    datum = pb.Datum(channels=3, height=size[0], width=size[1], data=jpeg, label=-1, encoded=True)
    return record_of(datum, size, Annotation(60, 40, objects), {"a": 1})


def layer(source: Path, settings: str = AUGMENT, batch: int = 4) -> pb.LayerParameter:
    text = f'name: "data" type: "AnnotatedData" {settings} data_param {{ batch_size: {batch} }}'
    made = parse_text(text, pb.LayerParameter)
    made.data_param.source = str(source)
    return made


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "lmdb"
    write_database(path, [(f"{i:08d}_{i}.jpg", picture(i, boxes=i % 3)) for i in range(10)])
    return path


def take(batches: Batches, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    with batches:
        return [batches.next() for _ in range(count)]


def assert_equal(first: list, second: list) -> None:
    for (data, label), (other_data, other_label) in zip(first, second, strict=True):
        np.testing.assert_array_equal(data, other_data)
        np.testing.assert_array_equal(label, other_label)


@pytest.mark.parametrize("how", [{"threads": 1}, {"threads": 4}, {"workers": 1}, {"workers": 4}])
def test_threads_and_workers_change_no_bit(how: dict[str, int], source: Path) -> None:
    unthreaded = take(Batches(layer(source), pb.TRAIN, seed=3, threads=0), 6)
    assert_equal(unthreaded, take(Batches(layer(source), pb.TRAIN, 3, **how), 6))
    # Resumed in the middle of an epoch.
    assert_equal(unthreaded[4:], take(Batches(layer(source), pb.TRAIN, 3, 16, **how), 2))


def test_a_resume_in_the_middle_of_an_epoch_changes_no_bit(source: Path) -> None:
    unbroken = take(Batches(layer(source), pb.TRAIN, seed=3), 6)
    first = Batches(layer(source), pb.TRAIN, seed=3)
    begun = [first.next() for _ in range(4)]
    assert first.position == 16  # of what was handed out, not of what is made ahead
    first.close()
    rest = take(Batches(layer(source), pb.TRAIN, seed=3, position=16), 2)
    assert_equal(unbroken, begun + rest)


def test_seeking_equals_starting_there(source: Path) -> None:
    batches = Batches(layer(source), pb.TRAIN, seed=3)
    batches.next()
    batches.seek(7)
    assert_equal(take(batches, 2), take(Batches(layer(source), pb.TRAIN, 3, position=7), 2))


@pytest.mark.parametrize("how", [{"threads": 2}, {"workers": 2}])
def test_batches_in_hand_are_never_written_again(how: dict[str, int], source: Path) -> None:
    expected = [data.copy() for data, _ in take(Batches(layer(source), pb.TRAIN, 3), 12)]
    with Batches(layer(source), pb.TRAIN, 3, **how) as batches:
        held = [batches.next()[0][:, :1] for _ in range(6)]  # a view alone is enough
        for _ in range(6):
            batches.next()
    for view, data in zip(held, expected):
        np.testing.assert_array_equal(view, data[:, :1])


def shards(source: Path, world: int, batch: int, position: int, steps: int) -> list:
    """Batches of every process, as one list of batches a step."""
    made = [
        take(Batches(layer(source, batch=batch), pb.TRAIN, 3, position, shard=(rank, world)), steps)
        for rank in range(world)
    ]
    return list(zip(*made))


@pytest.mark.parametrize("position", [0, 12, 7])  # 7: a run of 7 processes was stopped after a step
def test_processes_share_the_records_without_overlap(source: Path, position: int) -> None:
    whole = take(Batches(layer(source, batch=12), pb.TRAIN, 3, position), 3)
    for (data, label), step in zip(whole, shards(source, 3, 4, position, 3)):
        for rank, (part, part_label) in enumerate(step):
            mine = range((rank - position) % 3, 12, 3)
            np.testing.assert_array_equal(part, data[mine])
            wanted = [row for row in label[0, 0].tolist() if row[0] in mine]
            rows = [row for row in part_label[0, 0].tolist() if row[0] >= 0]
            assert [[mine[int(row[0])], *row[1:]] for row in rows] == wanted


def test_another_number_of_processes_goes_on_at_the_next_record(source: Path) -> None:
    one = take(Batches(layer(source, batch=12), pb.TRAIN, 3, position=12), 1)[0][0]
    with Batches(layer(source, batch=4), pb.TRAIN, 3, shard=(1, 3)) as batches:
        batches.next()
        assert batches.position == 12  # of all three
    (step,) = shards(source, 2, 6, 12, 1)
    for rank, (data, _label) in enumerate(step):
        np.testing.assert_array_equal(data, one[rank::2])


def test_a_rank_outside_the_world_is_a_sentence(source: Path) -> None:
    with pytest.raises(UserError, match="data shard 2 of 2"):
        Batches(layer(source), pb.TRAIN, 0, shard=(2, 2))


def test_seed_and_epoch_change_the_augmentation(source: Path) -> None:
    def first(seed: int, position: int) -> np.ndarray:
        return take(Batches(layer(source), pb.TRAIN, seed, position), 1)[0][0]

    assert not np.array_equal(first(0, 0), first(1, 0))
    assert not np.array_equal(first(0, 0), first(0, 10))  # the same records, an epoch later


def test_records_come_in_order_and_around_again(source: Path) -> None:
    with Batches(layer(source, PLAIN, batch=3), pb.TRAIN, seed=0) as batches:
        assert batches.data_shape == (3, 3, 24, 32)
        assert batches.records == 10
        seen = np.concatenate([batches.next()[0] for _ in range(4)])
    np.testing.assert_array_equal(seen[10:], seen[:2])
    # 0..2 boxes a record: items 0, 1, 2 of the first batch have 0, 1 and 2 rows.
    label = take(Batches(layer(source, PLAIN, batch=3), pb.TRAIN, 0), 1)[0][1]
    assert label.shape == (1, 1, 3, 8)
    assert label[0, 0, :, 0].tolist() == [1, 2, 2]
    assert label[0, 0, :, 1].tolist() == [1, 1, 1]
    assert label[0, 0, :, 2].tolist() == [0, 0, 1]
    assert label[0, 0, :, 7].tolist() == [0, 0, 1]
    np.testing.assert_allclose(label[0, 0, 2, 3:7], [2 / 60, 3 / 40, 21 / 60, 30 / 40], atol=1e-6)


@pytest.mark.parametrize("how", [{"threads": 0}, {"workers": 1}])
def test_records_without_a_type_of_annotation_have_one_label_each(
    how: dict[str, int], tmp_path: Path
) -> None:
    records = [(f"0000000{i}_a.jpg", picture(i, boxes=0)) for i in range(3)]
    for i, (_, record) in enumerate(records):
        record.ClearField("type")  # as convert_annoset --anno_type=classification leaves it
        record.datum.label = 10 + i
    write_database(tmp_path / "db", records)
    batches = Batches(layer(tmp_path / "db", PLAIN, 2), pb.TEST, 0, **how)
    assert batches.label_shape == (2, 1, 1, 1)
    labels = [label for _, label in take(batches, 2)]
    assert [label.shape for label in labels] == [(2, 1, 1, 1)] * 2
    assert np.concatenate(labels).ravel().tolist() == [10, 11, 12, 10]
    typed = layer(tmp_path / "db", PLAIN, 2)
    typed.annotated_data_param.anno_type = pb.AnnotatedDatum.BBOX
    assert take(Batches(typed, pb.TEST, 0, **how), 1)[0][1].tolist() == [[[[-1.0] * 8]]]


def test_one_row_of_minus_one_only_if_the_whole_batch_has_no_box(tmp_path: Path) -> None:
    write_database(tmp_path / "db", [("00000000_a.jpg", picture(0, boxes=0))])
    data, label = take(Batches(layer(tmp_path / "db", PLAIN), pb.TEST, 0), 1)[0]
    assert data.shape == (4, 3, 24, 32)
    assert label.tolist() == [[[[-1.0] * 8]]]


HOW = [{"threads": 0}, {"threads": 2}, {"workers": 2}]


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of six records, whose third and fourth hold no pictures."""
    path = tmp_path_factory.mktemp("spoilt") / "db"
    records = [(f"{i:08d}_{i}.jpg", picture(i)) for i in range(6)]
    for _, record in records[2:4]:
        record.datum.data = b"no picture"
    write_database(path, records)
    return path


@pytest.mark.parametrize("how", HOW)
def test_a_bad_record_surfaces_with_its_key(how: dict[str, int], spoilt: Path) -> None:
    with Batches(layer(spoilt, batch=2), pb.TRAIN, 0, **how) as batches:
        batches.next()  # the batch before is good
        for _ in range(2):  # and who asks again is told again
            with pytest.raises(UserError, match=r"db: record '00000002_2\.jpg': .* be decoded"):
                batches.next()
        assert batches.position == 2
        batches.seek(4)
        assert batches.next()[0].shape == (2, 3, 24, 32)


@pytest.mark.parametrize("how", HOW)
def test_bad_records_can_be_skipped_and_counted(
    how: dict[str, int], spoilt: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Batches(layer(spoilt, PLAIN, 2), pb.TRAIN, 0, on_bad="skip", **how) as batches:
        first, second, third = (batches.next() for _ in range(3))
        np.testing.assert_array_equal(second[0][0], second[0][1])
        np.testing.assert_array_equal(second[0][0], third[0][0])  # the next good one
        assert second[1][0, 0, :, 0].tolist() == [0, 0, 1, 1]
        assert batches.skipped == 3  # 2 and 3, and 3 again in the place of 2
        [batches.next() for _ in range(3)]
        assert batches.skipped == 6
        np.testing.assert_array_equal(batches.next()[0], first[0])
    said = [line for line in caplog.messages if "Skipped" in line]
    assert said == [  # once each
        f"Skipped {spoilt}: record '0000000{i}_{i}.jpg': the picture cannot be decoded"
        for i in (2, 3)
    ]


def test_skipping_changes_no_bit_between_threads_workers_and_resumes(spoilt: Path) -> None:
    asked = layer(spoilt, batch=2)
    one = take(Batches(asked, pb.TRAIN, 3, threads=0, on_bad="skip"), 6)
    for how in HOW[1:]:
        assert_equal(one, take(Batches(asked, pb.TRAIN, 3, on_bad="skip", **how), 6))
        assert_equal(one[1:], take(Batches(asked, pb.TRAIN, 3, 2, on_bad="skip", **how), 5))


def test_where_nothing_is_good_skipping_ends(tmp_path: Path) -> None:
    bad = picture(1)
    bad.datum.data = b"no picture"
    write_database(tmp_path / "db", [(f"0000000{i}_x.jpg", bad) for i in range(3)])
    with (
        Batches(layer(tmp_path / "db"), pb.TRAIN, 0, on_bad="skip") as batches,
        pytest.raises(UserError, match="3 bad records in a row, the last: .*00000002_x"),
    ):
        batches.next()
    with pytest.raises(UserError, match="on_bad is 'stop' or 'skip', not 'ignore'"):
        Batches(layer(tmp_path / "db"), pb.TRAIN, 0, on_bad="ignore")


def test_pictures_of_another_size_need_a_resize(tmp_path: Path) -> None:
    records = [("00000000_a.jpg", picture(0)), ("00000001_b.jpg", picture(1, (50, 70)))]
    write_database(tmp_path / "db", records)
    settings = "transform_param { force_color: true }"
    with (
        Batches(layer(tmp_path / "db", settings, 2), pb.TRAIN, 0) as batches,
        pytest.raises(UserError, match=r"'00000001_b\.jpg': .*began with \(3, 40, 60\)"),
    ):
        batches.next()
    shapes = [data.shape for data, _ in take(Batches(layer(tmp_path / "db", settings, 1), 0, 0), 2)]
    assert shapes == [(1, 3, 40, 60), (1, 3, 50, 70)]


WRONG = {
    "batch_size: 0": ("", "batch_size"),
    "both forces": ("transform_param { force_color: true force_gray: true }", "not both"),
    "mean twice": ('transform_param { mean_value: 1 mean_file: "m" }', "mean_file or mean_value"),
    "salt without a value": (
        "transform_param { noise_param { saltpepper: true } }",
        "needs a saltpepper_param with a value",
    ),
    "no size": ("transform_param { resize_param { width: 3 } }", "height and a width"),
    "shrinking": ("transform_param { expand_param { max_expand_ratio: 0.5 } }", "at least 1"),
    "fit small": (
        "transform_param { resize_param { width: 9 height: 9 resize_mode: FIT_SMALL_SIZE } }",
        "batch_size: 1",
    ),
}


@pytest.mark.parametrize(("settings", "says"), WRONG.values(), ids=WRONG)
def test_wrong_settings_are_sentences(settings: str, says: str, source: Path) -> None:
    with pytest.raises(UserError, match=says):
        Batches(layer(source, settings, batch=4 if settings else 0), pb.TRAIN, 0)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("transform_param { crop_size: 100 }", "larger than the picture"),
        ("transform_param { mean_value: 1 mean_value: 2 }", "2 mean_value for a picture of 3"),
        ("transform_param { force_gray: true distort_param { } }", "force_color: true"),
    ],
)
def test_settings_that_do_not_fit_the_picture(settings: str, says: str, source: Path) -> None:
    with (
        Batches(layer(source, settings), pb.TRAIN, 0) as batches,
        pytest.raises(UserError, match=f"record '00000000_0.jpg': .*{says}"),
    ):
        batches.next()


def test_mean_file_random_crop_and_mirror(source: Path, tmp_path: Path) -> None:
    mean = np.random.default_rng(0).uniform(0, 255, (3, 40, 60)).astype(np.float32)
    blob = pb.BlobProto(num=1, channels=3, height=40, width=60, data=mean.ravel().tolist())
    write_binary(tmp_path / "mean.binaryproto", blob)
    settings = (
        f'transform_param {{ mean_file: "{tmp_path}/mean.binaryproto" scale: 0.5 crop_size: 30 '
        "mirror: true force_color: true }"
    )
    database = Database(source)
    pixels = [
        cv2.imdecode(np.frombuffer(database.record(i).datum.data, np.uint8), 1) for i in range(4)
    ]
    places = set()
    for data, _ in take(Batches(layer(source, settings), pb.TRAIN, 7), 1):
        for item, found in enumerate(data):
            full = (pixels[item].transpose(2, 0, 1) - mean) * np.float32(0.5)
            match = [
                (top, left, flip)
                for top in range(11)
                for left in range(31)
                for flip in (1, -1)
                if np.allclose(full[:, top : top + 30, left : left + 30][..., ::flip], found)
            ]
            assert len(match) == 1
            places.add(match[0])
    assert len(places) > 1


def test_data_needs_no_torch() -> None:
    code = "import sys, scratchdet_caffe.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
