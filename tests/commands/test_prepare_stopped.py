"""prepare killed, on a full disk, or started twice: nothing lost, nothing half written."""

from __future__ import annotations

import fcntl
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scratchdet_caffe.data import Database, build
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.datasets import find_dataset
from scratchdet_caffe.prepare import main

PICTURES = 1200  # more than one commit of the database
FINAL = {"labelmap.prototxt", "trainval.txt", "test.txt", "trainval_lmdb", "test_lmdb"}


def snapshot(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def made(make_voc: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    stems = [f"{number:06d}" for number in range(PICTURES)]
    return make_voc(tmp_path_factory.mktemp("made") / "large", stems[:1100], stems[1100:])


@pytest.fixture
def large(made: Path, tmp_path: Path) -> Path:
    """A set of `PICTURES` pictures, for tests that leave it as it is."""
    (tmp_path / "large").symlink_to(made)
    return tmp_path / "large"


def prepare(root: Path, name: str = "out", *options: str) -> Path:
    main(["voc", "--root", str(root), "--out", str(root.parent / name), *options])
    return root.parent / name


def start(words: list[str], out: Path, **more: Any) -> subprocess.Popen[str]:
    """Start ``prepare`` with ``words``, a subcommand and what it reads."""
    return subprocess.Popen(
        [sys.executable, "-m", "scratchdet_caffe.prepare", *words, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def complete(words: list[str], out: Path) -> dict[str, bytes]:
    with start(words, out) as run:
        run.communicate()
    assert run.returncode == 0
    return snapshot(out)


def kill_when(words: list[str], out: Path, reached: Callable[[], bool]) -> bool:
    """Start prepare and kill it when ``reached``; tell whether it was still at work."""
    with start(words, out) as run:
        while run.poll() is None and not reached():
            time.sleep(0.001)
        run.kill()
        run.communicate()
    return run.returncode == -signal.SIGKILL


def after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def test_killed_anywhere_it_goes_on_and_ends_the_same(large: Path) -> None:
    undisturbed = snapshot(prepare(large, "undisturbed"))
    words, out = ["voc", "--root", str(large)], large.parent / "out"
    for piece in ("pictures.jsonl", "trainval_lmdb/data.mdb", "test_lmdb/data.mdb"):
        assert kill_when(words, out, (out / ".prepare" / piece).exists)
        assert not FINAL & set(os.listdir(out))
    assert complete(words, out) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("source", ["voc", "shapes"])
def test_killed_at_ten_random_moments_it_ends_the_same(source: str, large: Path) -> None:
    words = {
        "voc": ["voc", "--root", str(large)],
        "shapes": ["shapes", "--train", "100", "--test", "20"],
    }[source]
    out, began = large.parent / "out", time.monotonic()
    undisturbed = complete(words, large.parent / "undisturbed")
    lasted = time.monotonic() - began
    killed, moments = 0, random.Random(1)
    while killed < 10:
        killed += kill_when(words, out, after(moments.uniform(0, lasted)))
    assert complete(words, out) == undisturbed


def test_what_was_done_before_a_stop_is_not_done_again(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = snapshot(prepare(large, "undisturbed"))
    stored, made = build.stored, []

    def counting(path: Path, *more: Any) -> Any:
        made.append(path)
        if len(made) == 1080:
            raise KeyboardInterrupt
        return stored(path, *more)

    monkeypatch.setattr(build, "stored", counting)
    with pytest.raises(KeyboardInterrupt):
        prepare(large)
    made.clear()
    monkeypatch.setattr("scratchdet_caffe.data.workspace.picture_facts", None)  # none read again
    out = prepare(large)
    assert len(made) == PICTURES - 1000
    assert snapshot(out) == undisturbed


def test_a_changed_file_or_another_order_is_not_mixed_with_the_old(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = Path(shutil.copytree(made, tmp_path / "large"))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "finish", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(large)  # all of it lies ready
    monkeypatch.undo()
    xml = large / "Annotations/000000.xml"
    xml.write_text(xml.read_text().replace("dog", "cat"))
    out = prepare(large)
    database = Database(out / "trainval_lmdb")
    place = next(i for i in range(1100) if "000000.jpg" in database.key(i))
    assert len(database.record(place).annotation_group) == 1
    assert snapshot(prepare(large, "out", "--seed", "3")) == snapshot(
        prepare(large, "other", "--seed", "3")
    )


def test_the_old_dataset_lives_until_the_new_one_is_ready(
    voc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = prepare(voc)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "stored", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(voc, "out", "--classes", "dog,cat")
    assert find_dataset(str(out)).classes == ("background", "cat", "dog")
    monkeypatch.undo()
    # Stopped while pieces are moved to their names, a mixture passes for no dataset.
    monkeypatch.setattr("scratchdet_caffe.data.workspace.move_folder", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(voc, "out", "--classes", "dog,cat")
    with pytest.raises(UserError, match=r"lacks labelmap\.prototxt"):
        find_dataset(str(out))
    monkeypatch.undo()
    prepare(voc, "out", "--classes", "dog,cat")
    assert find_dataset(str(out)).classes == ("background", "dog", "cat")
    assert ".prepare" not in os.listdir(out)


@pytest.fixture(params=["small disk", "file size limit"])
def little_room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What to start prepare with so that its files find no room in ``tmp_path / "out"``."""
    if request.param == "file size limit":
        size = 200_000
        yield {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}
        return
    out = tmp_path / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(out)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk to fill")
    try:
        yield {}
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_a_full_disk_is_a_sentence_and_no_file(large: Path, little_room: dict[str, Any]) -> None:
    out = large.parent / "out"
    run = start(["voc", "--root", str(large)], out, **little_room)
    _, errors = run.communicate()
    assert run.returncode == 2
    assert len(errors.splitlines()) == 1, errors
    assert "cannot write" in errors
    assert "No space left on device" in errors or "File too large" in errors
    assert os.listdir(out) == [".prepare"]


def test_two_at_once_are_a_sentence(voc: Path) -> None:
    folder = voc.parent / "out/.prepare"
    folder.mkdir(parents=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another prepare is writing this dataset"):
            prepare(voc)
    prepare(voc)
