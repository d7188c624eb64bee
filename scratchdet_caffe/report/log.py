"""Read any Caffe log, ours or upstream's, into arrays.

    log = read_log("train.log")
    log.loss.iteration, log.loss.value, log.test[0]["detection_eval"].value

Numbers may be ``nan`` or ``inf``; a last line that was cut short is left out; text between the
lines (prototxts, a scheduler's preamble, stack traces) is skipped. When a run was resumed into
the same file, what it did again replaces what the run before had done.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_bytes


@dataclass(frozen=True)
class Series:
    """One number over the iterations, ``(T,)`` each.

    Attributes:
        iteration: Rising.
        seconds: Time since ``Solving``, without the pauses between resumed runs.
        value: The number, NaN and infinity included.
    """

    iteration: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]


@dataclass(frozen=True)
class CaffeLog:
    """What a Caffe log says.

    Attributes:
        net: Name of the train net.
        loss: Training loss as displayed: the mean over ``average_loss`` iterations.
        rate: Learning rate.
        train: Outputs of the train net by name (``name_2`` for the number at index 2 of a
            name that has several).
        test: By number of the test net, its outputs by name.
        class_ap: By number of the test net, AP by label.
        snapshots: ``.caffemodel`` files by iteration.
        seconds: Length of all runs together.
        runs: How often ``Solving`` was said.
        done: The last run ended with "Optimization Done.".
        stopped: A signal stopped it before its end.
        alarms: Warnings and errors of the last run, the newest last.
        fatal: Text of the check that stopped the process, or None.
    """

    net: str
    loss: Series
    rate: Series
    train: dict[str, Series]
    test: dict[int, dict[str, Series]]
    class_ap: dict[int, dict[int, Series]]
    snapshots: dict[int, str]
    seconds: float
    runs: int
    done: bool
    stopped: bool
    alarms: tuple[str, ...]
    fatal: str | None


@dataclass
class TestScores:
    """What one pass of a test net scored.

    Attributes:
        iteration: After how many updates.
        net: Number of the test net.
        outputs: By name, e.g. ``detection_eval``, the mAP.
        class_ap: By label, where the log shows it.
    """

    iteration: int
    net: int
    outputs: dict[str, float] = field(default_factory=dict)
    class_ap: dict[int, float] = field(default_factory=dict)


def read_log(path: str | os.PathLike[str]) -> CaffeLog:
    """Read the Caffe log at ``path``.

    Raises:
        UserError: The file cannot be read, or holds no line of a solver.
    """
    text = read_bytes(path, "log").decode("utf-8", "replace")
    year = datetime.fromtimestamp(Path(path).stat().st_mtime).year
    log = parse_log(text, year)
    if not log.runs and not len(log.loss.value) and not log.test and log.fatal is None:
        raise UserError(f"{path}: no line of a Caffe solver in it; give the log of a training")
    return log


def parse_log(text: str, year: int = 2000) -> CaffeLog:
    """Parse the text of a Caffe log; ``year`` is that of its first line (glog leaves it out)."""
    reader = LogReader(year)
    # A last line without its end may be cut in the middle of a number.
    for line in text[: text.rfind("\n") + 1].splitlines():
        reader.read_line(line)
    return reader.log()


# The last head in a line: a killed run leaves half a line, and the next run's goes on there.
_HEAD = re.compile(
    r".*(?P<severity>[IWEF])(?P<date>\d{8}|\d{4}) (?P<clock>\d\d:\d\d:\d\d\.\d{6})"
    r" +\d+ [^\s:\]]+:\d+\] (?P<text>.*)"
)
_NUMBER = r"(?P<value>[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf))"
_ITERATION = r"Iteration (?P<iteration>\d+)(?: \([^)]*\))?, "  # later Caffes put the speed here
_OUTPUT = r" net output #(?P<index>\d+): (?P<name>.+?) = "

_MOST_ALARMS = 20
_Points = dict[int, tuple[float, float]]  # iteration -> seconds, value


class LogReader:
    """Reads a log line by line; `parse_log` is what to use on a whole one.

    Args:
        year: That of the first line.
    """

    def __init__(self, year: int = 2000) -> None:
        self.year, self.month = year, 0
        self.net = ""
        self.points: dict[tuple[str | int, ...], _Points] = {("loss",): {}, ("lr",): {}}
        self.snapshots: dict[int, str] = {}
        self.runs, self.done, self.stopped, self.fatal = 0, False, False, ""
        self.alarms: list[str] = []
        self.now: datetime | None = None
        self.start: datetime | None = None  # of this run
        self.before = 0.0  # seconds of the runs before this one
        self.seconds = 0.0
        self.iteration = 0
        self.test_net = 0
        self.resumed = False
        self.per_class: set[int] = set()  # test nets whose classes are printed
        self.tests: list[TestScores] = []
        self.rules: list[tuple[re.Pattern[str], Callable[[re.Match[str]], None]]] = [
            (re.compile(pattern, re.IGNORECASE), rule)
            for pattern, rule in (
                (_ITERATION + "loss = " + _NUMBER, self.on_loss),
                (_ITERATION + "lr = " + _NUMBER, self.on_rate),
                (_ITERATION + r"Testing net \(#(?P<net>\d+)\)", self.on_testing),
                (" *Train" + _OUTPUT + _NUMBER, self.on_train_output),
                (" *Test" + _OUTPUT + _NUMBER, self.on_test_output),
                (r"class(?P<label>\d+): " + _NUMBER, self.on_class),
                (r"Missing true_pos for label: (?P<label>\d+)", self.on_nothing_found),
                (r"Snapshotting to .*? file (?P<path>.*_iter_(?P<iteration>\d+).*)", self.on_model),
                (r"Solving (?P<net>.*)", self.on_solving),
                (r"Optimization Done\.", self.on_done),
                (r"Optimization stopped early\.", self.on_stopped),
            )
        ]

    def read_line(self, line: str) -> None:
        """Take one line; what is none of a log is passed over."""
        if "] " in line and (found := _HEAD.match(line)):
            self._read(found)

    def take_tests(self) -> list[TestScores]:
        """Return the passes of test nets since the last call; one that was cut short is none."""
        taken, self.tests = self.tests, []
        return [scores for scores in taken if scores.outputs]

    def _read(self, head: re.Match[str]) -> None:
        self.now = self.time_of(head["date"], head["clock"])
        self.start = self.start or self.now
        if head["severity"] == "F":
            self.fatal = head["text"].strip()
        matches = ((pattern.match(head["text"]), rule) for pattern, rule in self.rules)
        found, rule = next((pair for pair in matches if pair[0]), (None, None))
        if found and rule:
            rule(found)
        # A warning that a rule knows, of a class without detections say, is no alarm.
        if head["severity"] == "E" or (head["severity"] == "W" and not found):
            self.alarms = [*self.alarms[-_MOST_ALARMS + 1 :], head["text"].strip()]

    def tick(self) -> None:
        if self.now and self.start:
            self.seconds = self.before + (self.now - self.start).total_seconds()

    def time_of(self, date: str, clock: str) -> datetime | None:
        """Time of a line; a month that goes down begins a new year."""
        if len(date) == 4:
            month = int(date[:2])
            self.year += month < self.month
            self.month = month
            date = f"{self.year}{date}"
        try:
            return datetime.strptime(f"{date} {clock}", "%Y%m%d %H:%M:%S.%f")
        except ValueError:  # e.g. 29 February read with the wrong year
            return self.now

    def at(self, iteration: str) -> None:
        """Enter an iteration; the first one of a resumed run takes back what came later."""
        self.tick()
        self.iteration = int(iteration)
        if self.resumed:
            for key, points in self.points.items():
                self.points[key] = {i: p for i, p in points.items() if i < self.iteration}
            self.snapshots = {i: f for i, f in self.snapshots.items() if i <= self.iteration}
            self.resumed = False

    def put(self, value: str, *key: str | int) -> None:
        points = self.points.setdefault(key, {})
        points[self.iteration] = (self.seconds, float(value))

    def on_solving(self, found: re.Match[str]) -> None:
        self.before, self.start = (self.seconds if self.runs else 0.0), self.now
        self.net, self.resumed, self.done, self.fatal = found["net"].strip(), True, False, ""
        self.runs += 1
        self.stopped, self.alarms = False, []

    def on_loss(self, found: re.Match[str]) -> None:
        self.at(found["iteration"])
        self.put(found["value"], "loss")

    def on_rate(self, found: re.Match[str]) -> None:
        self.at(found["iteration"])
        self.put(found["value"], "lr")

    def on_testing(self, found: re.Match[str]) -> None:
        self.at(found["iteration"])
        self.test_net = int(found["net"])
        self.tests.append(TestScores(self.iteration, self.test_net))

    def on_train_output(self, found: re.Match[str]) -> None:
        self.put(found["value"], "train", self.unique(found, "train"))

    def on_test_output(self, found: re.Match[str]) -> None:
        name = self.unique(found, "test", self.test_net)
        self.put(found["value"], "test", self.test_net, name)
        if self.tests:
            self.tests[-1].outputs[name] = float(found["value"])

    def unique(self, found: re.Match[str], *key: str | int) -> str:
        """Name of an output; the second number of a name at one iteration gets its index."""
        taken = self.iteration in self.points.get((*key, found["name"]), {})
        return f"{found['name']}_{found['index']}" if taken else found["name"]

    def on_class(self, found: re.Match[str]) -> None:
        self.per_class.add(self.test_net)
        self.put_class(found["label"], found["value"])

    def on_nothing_found(self, found: re.Match[str]) -> None:
        self.put_class(found["label"], "0")  # as in Caffe's mean

    def put_class(self, label: str, value: str) -> None:
        self.put(value, "class", self.test_net, int(label))
        if self.tests:
            self.tests[-1].class_ap[int(label)] = float(value)

    def on_model(self, found: re.Match[str]) -> None:
        self.snapshots[int(found["iteration"])] = found["path"].strip()

    def on_done(self, found: re.Match[str]) -> None:
        self.tick()
        self.done = True

    def on_stopped(self, found: re.Match[str]) -> None:
        self.tick()
        self.stopped = True

    def log(self) -> CaffeLog:
        """Return everything read."""
        train: dict[str, Series] = {}
        test: dict[int, dict[str, Series]] = {}
        class_ap: dict[int, dict[int, Series]] = {}
        for key, points in self.points.items():
            match key:
                case "train", str(name) if points:
                    train[name] = _series(points)
                case "test", int(net), str(name) if points:
                    test.setdefault(net, {})[name] = _series(points)
                # Caffe warns of classes without detections even where it prints no class.
                case "class", int(net), int(label) if points and net in self.per_class:
                    class_ap.setdefault(net, {})[label] = _series(points)
        return CaffeLog(
            net=self.net,
            loss=_series(self.points["loss",]),
            rate=_series(self.points["lr",]),
            train=train,
            test=test,
            class_ap=class_ap,
            snapshots=self.snapshots,
            seconds=self.seconds,
            runs=self.runs,
            done=self.done and not self.stopped,
            stopped=self.stopped,
            alarms=tuple(self.alarms),
            fatal=self.fatal or None,
        )


def _series(points: _Points) -> Series:
    order = sorted(points)
    seconds, value = (np.array([points[i][k] for i in order], np.float64) for k in (0, 1))
    return Series(np.array(order, np.int64), seconds, value)
