"""What a run tells its observers, and how it ends."""

from __future__ import annotations

import itertools
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.snapshots import newest_complete
from scratchdet_caffe.training import Diverged, Observer, Run


class Diary(Observer):
    """Notes every moment; may send a signal at one of them."""

    def __init__(self, kill: tuple[str, int, int] | None = None) -> None:
        self.moments: list[tuple[str, int]] = []
        self.kill = kill

    def note(self, moment: str, run: Run) -> None:
        self.moments.append((moment, run.iteration))
        if self.kill and self.kill[:2] == (moment, run.iteration):
            os.kill(os.getpid(), self.kill[2])

    def at_start(self, run: Run) -> None:
        self.note("start", run)
        assert run.status is None and math.isnan(run.loss)

    def before_iteration(self, run: Run) -> None:
        self.note("before", run)

    def gradients_ready(self, run: Run) -> None:
        self.note("gradients", run)
        assert math.isfinite(run.loss)

    def after_test(self, run: Run) -> None:
        self.note("test", run)
        assert run.last_test is not None
        assert run.last_test.iteration == run.iteration
        assert set(run.last_test.outputs) == {"acc", "loss"}

    def at_end(self, run: Run) -> None:
        self.note("end", run)


def test_observers_are_told_in_the_order_of_an_iteration(make: Any) -> None:
    diary = Diary()
    assert Run(*make(max_iter=5, test_interval=3), [diary]).go() == 0
    iterations = [[("before", i), ("gradients", i)] for i in range(5)]
    tests = {0: [("test", 0)], 3: [("test", 3)]}
    expected = [m for i, pair in enumerate(iterations) for m in (*tests.get(i, ()), *pair)]
    assert diary.moments == [("start", 0), *expected, ("end", 5)]


def test_the_last_test_is_told_of_before_the_end(make: Any) -> None:
    diary = Diary()
    Run(*make(max_iter=4), [diary]).go()
    assert diary.moments[-2:] == [("test", 4), ("end", 4)]


def test_an_observer_sees_each_gradient_and_may_change_it(make: Any) -> None:
    solver, param = make(max_iter=3, momentum=0)
    seen = []

    class Doubling(Observer):
        def gradients_ready(self, run: Run) -> None:
            weights = run.solver.net.params["ip"][0]
            seen.append((weights.data.copy(), weights.diff.copy()))
            weights.diff[...] *= 2

    Run(solver, param, [Doubling()]).go()
    seen.append((solver.net.params["ip"][0].data.copy(), None))
    for (before, gradient), (after, _) in itertools.pairwise(seen):
        assert gradient.any()
        np.testing.assert_allclose(after, before - 0.1 * 2 * gradient, rtol=1e-5, atol=1e-7)


def test_a_signal_stops_a_test_between_its_batches(make: Any) -> None:
    solver, param = make(test_iter=1000, test_interval=4)
    batches = []

    def count() -> None:
        batches.append(1)
        if len(batches) == 1005:  # the fifth batch of the second test
            os.kill(os.getpid(), signal.SIGTERM)

    solver.test_nets[0].before_each_pass(count)
    diary = Diary()
    assert Run(solver, param, [diary]).go() == 128 + signal.SIGTERM
    assert len(batches) < 1010
    assert Path("snap_iter_4.solverstate").is_file()
    assert diary.moments[-1] == ("end", 4)


def test_a_stop_right_after_a_snapshot_does_not_write_it_again(
    make: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    solver, param = make(snapshot=3)
    assert Run(solver, param, [Diary(("gradients", 5, signal.SIGINT))]).go() == 128 + signal.SIGINT
    assert capsys.readouterr().err == "train: SIGINT: stopping\n"
    assert Path("snap_iter_6.solverstate").is_file()


def test_a_signal_while_a_snapshot_is_written_lets_it_be_finished(
    make: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    solver, param = make(snapshot=3)
    replace, moved = os.replace, []

    def move(*arguments: Any) -> None:
        moved.append(arguments)
        if len(moved) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        replace(*arguments)

    monkeypatch.setattr(os, "replace", move)
    assert Run(solver, param).go() == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "train: SIGTERM: stopping\n"
    assert newest_complete("snap") == (Path("snap_iter_3.solverstate"), [])
    assert not list(Path().glob("snap_iter_[!3]*"))


def test_hangup_writes_a_snapshot_and_goes_on(make: Any) -> None:
    assert Run(*make(), [Diary(("gradients", 4, signal.SIGHUP))]).go() == 0
    assert Path("snap_iter_5.solverstate").is_file()
    assert Path("snap_iter_10.solverstate").is_file()


def test_handlers_are_as_before_afterwards(make: Any) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    Run(*make(max_iter=1)).go()
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize("patient", [False, True])
def test_a_second_signal_ends_the_process_at_once_unless_patient(patient: bool) -> None:
    program = f"""
import os, signal, numpy as np
from scratchdet_caffe.training.signals import Signals
with Signals(patient={patient}):
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        np.sort(np.random.default_rng(0).random(4_000_000))  # holds up Python's own handlers
raise SystemExit(7)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == (7 if patient else 130), done.stderr
    assert ("SIGINT again" in done.stderr) == (not patient)


@pytest.mark.parametrize(
    ("error", "status"), [(Diverged("lost"), 3), (UserError("no"), None), (ValueError(), None)]
)
def test_an_observer_that_raises_ends_the_run_and_all_hear_of_it(
    make: Any, error: Exception, status: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    class Raising(Observer):
        def gradients_ready(self, run: Run) -> None:
            if run.iteration == 2:
                raise error

    diary = Diary()
    run = Run(*make(), [Raising(), diary])
    if status is None:
        with pytest.raises(type(error)):
            run.go()
    else:
        assert run.go() == status
        assert "train: lost" in capsys.readouterr().err
    assert run.status == status
    assert diary.moments[-1] == ("end", 2)
