"""A Caffe log as CSV, in the columns of upstream's parse_log.py."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from scratchdet_caffe.report.log import CaffeLog, Series


def csv_tables(log: CaffeLog) -> dict[str, str]:
    """Return the CSV text of each table by its suffix: ``train``, ``test``, ``test1``, ...

    Columns are NumIters, Seconds, LearningRate, then the outputs; after upstream's columns come
    TrainingLoss (the displayed mean) or ``class1``, ``class2``, ... (AP). What the log does not
    say at an iteration is left empty.
    """
    tables = {"train": _table(log, {**log.train, "TrainingLoss": log.loss})}
    for net, outputs in log.test.items():
        classes = {f"class{k}": ap for k, ap in sorted(log.class_ap.get(net, {}).items())}
        tables[f"test{net or ''}"] = _table(log, {**outputs, **classes})
    return tables


def _table(log: CaffeLog, columns: Mapping[str, Series]) -> str:
    seconds: dict[int, float] = {}
    values: list[dict[int, float]] = []
    for series in columns.values():
        iterations = series.iteration.tolist()
        seconds |= zip(iterations, series.seconds.tolist())
        values.append(dict(zip(iterations, series.value.tolist())))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["NumIters", "Seconds", "LearningRate", *columns])
    for iteration in sorted(seconds):
        cells = [column.get(iteration, "") for column in values]
        writer.writerow([iteration, seconds[iteration], rate_at(log, iteration), *cells])
    return text.getvalue()


def rate_at(log: CaffeLog, iteration: int) -> float | str:
    """The learning rate displayed last at ``iteration`` or, before the first, the first one."""
    if not len(log.rate.value):
        return ""
    index = int(log.rate.iteration.searchsorted(iteration, "right")) - 1
    return float(log.rate.value[max(index, 0)])
