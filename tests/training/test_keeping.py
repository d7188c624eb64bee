"""Which snapshots stay, whether there is room for them, and what a full disk leaves."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scratchdet_caffe import train
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.snapshots import find_snapshots, newest_complete
from scratchdet_caffe.training import Observer, Run
from scratchdet_caffe.training.keeping import Keeper, check_space, snapshot_bytes


def names(folder: Path = Path()) -> list[str]:
    return sorted(path.name for path in folder.glob("*snap*"))


def test_the_newest_stay(make: Any) -> None:
    solver, param = make(snapshot=2, max_iter=11)
    Run(solver, param, [Keeper(2)]).go()
    assert [path.name for path in find_snapshots("snap")] == [
        "snap_iter_10.solverstate", "snap_iter_11.solverstate",
    ]  # fmt: skip
    assert names() == sorted(
        f"snap_iter_{n}.{end}"
        for n in (10, 11)
        for end in ("caffemodel", "solverstate", "state.json")
    )


def test_a_newest_one_that_is_damaged_costs_no_older_one(make: Any) -> None:
    class Damage(Observer):
        def before_iteration(self, run: Run) -> None:
            if run.iteration == 4:
                Path("snap_iter_4.caffemodel").write_bytes(b"")

    solver, param = make(snapshot=2, max_iter=5, snapshot_after_train="false")
    Run(solver, param, [Damage(), Keeper(1)]).go()
    assert newest_complete("snap")[0] == Path("snap_iter_2.solverstate")


def test_what_will_be_written_must_fit(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    solver, param = make(snapshot=2, max_iter=11)
    size = snapshot_bytes(solver, param)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=3.5 * size))
    with pytest.raises(UserError, match=r"the 6 snapshots of this run take .* kB, but .* are free"):
        check_space(solver, param, None)
    check_space(solver, param, 2)
    solver.step(6)
    check_space(solver, param, None)


def test_a_run_that_finds_no_room_leaves_the_earlier_one_as_it_was(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    solver, _ = make(snapshot=5)
    solver.step(5)
    Path("train.log").write_text("what the earlier run said\n")
    before = names()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match="are free there: make room"):
        train.main(["--solver", "solver.prototxt"])
    assert [name for name in names() if not name.endswith(".lock")] == before
    assert Path("train.log").read_text() == "what the earlier run said\n"


def test_the_estimate_is_no_less_than_the_files(make: Any) -> None:
    solver, param = make(type='"Adam"', momentum2=0.99, snapshot_diff="true")
    solver.snapshot()
    files = sum(path.stat().st_size for path in Path().glob("snap_iter_0*"))
    assert files <= snapshot_bytes(solver, param) <= files + 110_000


def test_a_full_disk_ends_the_run_and_leaves_the_last_snapshot(make: Any) -> None:
    """The limit on a file's size fails writes as a full disk does."""
    solver, param = make(snapshot=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Full(Observer):
        def before_iteration(self, run: Run) -> None:
            if run.iteration == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))

    try:
        with pytest.raises(UserError, match=r"cannot write it: .*at iteration 4; the newest snap"):
            Run(solver, param, [Full()]).go()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names() == [f"snap_iter_2.{e}" for e in ("caffemodel", "solverstate", "state.json")]
    assert newest_complete("snap")[0] == Path("snap_iter_2.solverstate")


class FailsAt:
    """A function of ``os`` that finds the disk full at its n-th call."""

    def __init__(self, failing: int, real: Any) -> None:
        self.failing, self.real, self.calls = failing, real, 0

    def __call__(self, *arguments: Any) -> None:
        self.calls += 1
        if self.calls == self.failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.real(*arguments)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_at_any_step_leaves_the_last_snapshot(
    make: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    solver, _ = make()
    for failing in range(1, 12):
        solver.step(1)
        solver.snapshot()
        whole = solver.iter
        solver.step(1)
        fails = FailsAt(failing, getattr(os, step))
        with monkeypatch.context() as patched:
            patched.setattr(os, step, fails)
            try:
                solver.snapshot()
                whole = solver.iter
            except UserError as error:
                assert "No space left on device" in str(error)
        state, _ = newest_complete("snap")
        assert state is not None and state.name == f"snap_iter_{whole}.solverstate"
        assert not list(Path().glob(".snap*"))
    assert fails.calls < failing  # the last round went through


def test_memory_that_is_not_there_is_told(make: Any) -> None:
    solver, param = make(snapshot=2)

    class Greedy(Observer):
        def gradients_ready(self, run: Run) -> None:
            if run.iteration == 3:
                run.solver._solver.net.params[0].tensor.new_empty(1 << 50)

    with pytest.raises(UserError, match="out of memory in training .*at iteration 3; the newest"):
        Run(solver, param, [Greedy()]).go()
