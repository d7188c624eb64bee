"""prepare list: the LMDBs that convert_annoset writes of the same lists."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import cv2
import pytest

from scratchdet_caffe.data import Database
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.prepare import main

JPEG = ["encoded_jpg", "encoded_native"]
RAW = ["synthetic_raw", "raw_resized"]
PNG = ["min_max_dim", "gray", "json", "txt"]


def options_of(command: str) -> list[str]:
    """Turn a recorded command of convert_annoset into ours."""
    words = [word for word in shlex.split(command)[1:] if word.startswith("--")]
    flags = dict(word[2:].split("=") if "=" in word else (word[2:], "") for word in words)
    encoded = "encoded" in flags
    options = ["--encode-type", flags.pop("encode_type", ""), "--labelmap", flags["label_map_file"]]
    options.append("--encoded" if encoded else "--no-encoded")
    for name in ("anno_type", "check_label", "encoded", "label_map_file"):
        flags.pop(name, None)
    for name, value in flags.items():
        options += [f"--{name.replace('_', '-')}", *([value] if value else [])]
    return options


@pytest.mark.parametrize("name", [*JPEG, *RAW, *PNG])
def test_a_command_of_convert_annoset_gives_the_same_records(
    name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shared / "golden/data"
    monkeypatch.chdir(folder)
    case = json.loads((folder / "records.json").read_text())[f"lmdb_{name}"]
    out, sizes = tmp_path / "lmdb", tmp_path / "sizes.txt"
    options = options_of(case["command"])
    options += ["--list", case["list"], "--out", str(out), "--name-size", str(sizes)]
    main(["list", "--root", "voc", *options])
    ours, theirs = Database(out), Database(folder / f"lmdb_{name}")
    assert [ours.key(i) for i in range(len(ours))] == [theirs.key(i) for i in range(len(theirs))]
    for index in range(len(ours)):
        one, other = ours.record(index), theirs.record(index)
        one.datum.data = other.datum.data  # test_database.py compares the pixels
        assert one == other
    known = {
        "list_all.txt": "name_size_all.txt",
        "list_synthetic.txt": "name_size_synthetic.txt",
        "list_txt.txt": "name_size_synthetic.txt",
    }
    if case["list"] in known:
        assert sizes.read_text() == (folder / known[case["list"]]).read_text()


def convert(voc: Path, lines: str, *options: str) -> Database:
    (voc / "list.txt").write_text(lines)
    (voc / "labelmap.prototxt").write_text(
        'item { name: "none_of_the_above" label: 0 } item { name: "cat" label: 1 } '
        'item { name: "dog" label: 2 }'
    )
    given = ["--list", str(voc / "list.txt"), "--labelmap", str(voc / "labelmap.prototxt")]
    main(["list", "--root", str(voc), *given, "--out", str(voc / "lmdb"), *options])
    return Database(voc / "lmdb")


def test_shuffling_is_seeded(voc: Path) -> None:
    lines = "".join(f"JPEGImages/{stem}.jpg Annotations/{stem}.xml\n" for stem in "abcdef")

    def order(*options: str) -> str:
        database = convert(voc, lines, *options)
        return "".join(Path(database.key(i)).stem for i in range(6))

    assert order() == "abcdef"
    shuffled = order("--shuffle", "--seed", "3")
    assert sorted(shuffled) == list("abcdef")
    assert shuffled == order("--shuffle", "--seed", "3") != order("--shuffle", "--seed", "4")


@pytest.mark.parametrize(
    ("line", "options", "says"),
    [
        ("JPEGImages/a.jpg", [], "list.txt:1: expected 'picture annotation'"),
        ("JPEGImages/x.jpg Annotations/a.xml", [], "x.jpg: cannot read this picture"),
        ("JPEGImages/a.jpg JPEGImages/a.jpg", [], "a.jpg: malformed XML"),
        ("JPEGImages/a.jpg list.txt", ["--label-type", "json"], "list.txt: malformed JSON"),
        ("JPEGImages/a.jpg list.txt", ["--label-type", "txt"], "list.txt:1: expected 'label xmin"),
        ("", [], "the list is empty"),
        ("JPEGImages/a.jpg x", ["--resize-width", "9"], "both resize_height and resize_width"),
        ("JPEGImages/a.jpg x", ["--encode-type", "jpgg"], "encode_type 'jpgg': known: jpg"),
        ("JPEGImages/a.jpg x", ["--min-dim", "9", "--max-dim", "5"], "must not be below min_dim"),
    ],
)
def test_wrong_lists_and_flags_are_sentences(
    line: str, options: list[str], says: str, voc: Path
) -> None:
    with pytest.raises(UserError) as caught:
        convert(voc, f"{line}\n", *options)
    assert says in str(caught.value)
    assert not (voc / "lmdb").exists()


def test_an_unknown_class_and_pictures_of_another_size(voc: Path) -> None:
    lines = "JPEGImages/a.jpg Annotations/a.xml\nJPEGImages/b.jpg Annotations/b.xml\n"
    path = voc / "Annotations/b.xml"
    path.write_text(path.read_text().replace("dog", "dig"))
    with pytest.raises(UserError, match=r"b\.xml: the class 'dig' is not in .*did you mean 'dog'"):
        convert(voc, lines)
    path.unlink()
    assert not convert(voc, lines, "--check-size").record(1).annotation_group
    cv2.imwrite(str(voc / "JPEGImages/b.jpg"), cv2.imread(str(voc / "JPEGImages/a.jpg"))[:20])
    with pytest.raises(UserError, match=r"b\.jpg: \(3, 20, 60\) .* the first is \(3, 40, 60\)"):
        convert(voc, lines, "--check-size")
