"""Caffe's log: the head of its lines, and the text of the lines that tools read.

The engine writes these lines through `GlogFormatter`; the report reads them back. A line is

    I0131 12:34:56.789012 12345 solver.py:243] Iteration 10, loss = 9.17451

severity, month and day, time, thread, source, text. The texts below are Caffe's own, digit for
digit (six significant, as a C++ stream prints), so that upstream's parse_log tools read them.
"""

from __future__ import annotations

import logging
import time

STARTING = "Starting Optimization"
DONE = "Optimization Done."
STOPPED_EARLY = "Optimization stopped early."

_SEVERITY = {"DEBUG": "I", "INFO": "I", "WARNING": "W", "ERROR": "E", "CRITICAL": "F"}


class GlogFormatter(logging.Formatter):
    """Put glog's head ``Lmmdd hh:mm:ss.uuuuuu tid file:line] `` in front of each message."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        severity = _SEVERITY.get(record.levelname, "I")
        clock = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
        micros = int(record.created % 1 * 1e6)
        # glog prints the kernel's thread number; the process number is the main thread's.
        where = f"{record.process or 0:5d} {record.filename}:{record.lineno}"
        return f"{severity}{clock}.{micros:06d} {where}] {record.message}"


def number(value: float) -> str:
    """Return ``value`` as a C++ stream prints it: six significant digits, ``nan``, ``inf``."""
    return format(float(value), ".6g")


def solving(net: str) -> str:
    """First line of a run; elapsed seconds count from its time."""
    return f"Solving {net}"


def learning_rate_policy(policy: str) -> str:
    """The line after `solving`."""
    return f"Learning Rate Policy: {policy}"


def iteration_loss(iteration: int, loss: float) -> str:
    """The loss, averaged over the last ``average_loss`` iterations."""
    return f"Iteration {iteration}, loss = {number(loss)}"


def train_output(index: int, name: str, value: float, weight: float = 0.0) -> str:
    """One number of an output blob of the train net; see `_output`."""
    return _output("Train", index, name, value, weight)


def data_wait(layer: str, waited: float, seconds: float, skipped: int) -> str:
    """How long the net has waited for a data layer in the last ``seconds``; not in Caffe's logs.

    Upstream's parse_log tools look for none of its words. ``skipped`` counts since the start.
    """
    share = 100 * waited / seconds if seconds else 0.0
    text = f"Data layer '{layer}': waited {waited:.2f} s of {seconds:.2f} s ({share:.1f} %)"
    return f"{text}, {skipped} bad records skipped so far" if skipped else text


def test_output(index: int, name: str, value: float, weight: float = 0.0) -> str:
    """One number of an output blob of a test net, e.g. the mAP of ``detection_eval``."""
    return _output("Test", index, name, value, weight)


def _output(phase: str, index: int, name: str, value: float, weight: float) -> str:
    """``index`` runs over the numbers of all outputs; a loss (``weight`` not 0) shows both."""
    text = f"    {phase} net output #{index}: {name} = {number(value)}"
    if weight:
        text += f" (* {number(weight)} = {number(weight * value)} loss)"
    return text


def learning_rate(iteration: int, rate: float) -> str:
    """The rate of the coming update."""
    return f"Iteration {iteration}, lr = {number(rate)}"


def multistep(iteration: int, step: int) -> str:
    """Printed when ``multistep`` reaches its ``step``-th value."""
    return f"MultiStep Status: Iteration {iteration}, step = {step}"


def testing(iteration: int, net: int = 0) -> str:
    """Printed before test net number ``net`` runs."""
    return f"Iteration {iteration}, Testing net (#{net})"


def test_loss(loss: float) -> str:
    """The mean loss of a test net, with ``test_compute_loss``; before its outputs."""
    return f"Test loss: {number(loss)}"


def class_ap(label: int, ap: float) -> str:
    """One class, with ``show_per_class_result``."""
    return f"class{label}: {number(ap)}"


def missing_detections(label: int) -> str:
    """Warning for a class that has ground truth or a row, but no detection: it counts as 0."""
    return f"Missing true_pos for label: {label}"


def snapshot_model(path: str) -> str:
    """Printed before the weights are written; ``.h5`` names the other format."""
    return f"Snapshotting to {_file_kind(path)} {path}"


def snapshot_state(path: str) -> str:
    """Printed before the solver's state is written."""
    return f"Snapshotting solver state to {_file_kind(path)} {path}"


def _file_kind(path: str) -> str:
    return "HDF5 file" if path.endswith(".h5") else "binary proto file"


def resuming(path: str) -> str:
    """``caffe train --snapshot``."""
    return f"Resuming from {path}"


def finetuning(path: str) -> str:
    """``caffe train --weights``."""
    return f"Finetuning from {path}"


def restoring(path: str) -> str:
    """``Solver.solve(path)``."""
    return f"Restoring previous solver status from {path}"


def ignoring_layer(name: str) -> str:
    """A layer of the weights file that the net does not have."""
    return f"Ignoring source layer {name}"
