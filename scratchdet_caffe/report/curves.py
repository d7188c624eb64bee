"""Curves as matplotlib figures, and figures as pictures that a page carries in itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from scratchdet_caffe.metrics import ClassScore, Curve
from scratchdet_caffe.report.colours import CLASS_COLOURS, class_colour
from scratchdet_caffe.report.log import CaffeLog, Series

INK, PALE, ALARM = "#2f5d8a", "#b9cde0", "#b3443c"
STYLE: Any = {
    "font.size": 9,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": "#4a5560",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8ecf0",
    "xtick.color": "#6b7680",
    "ytick.color": "#6b7680",
    "legend.frameon": False,
    "svg.hashsalt": "report",  # the same curves give the same bytes
}
_MOST_POINTS = 1500  # more cannot be seen, and would make the page heavy
_MOST_CLASSES = 10  # more thin lines cannot be told apart
_MOST_NAMES = 24  # more do not fit beside the curves


def training_curve(log: CaffeLog) -> Figure:
    """Loss of single iterations (light) and smoothed, over the learning rate."""
    # A lone output of the train net is the loss of one iteration; the displayed one is a mean.
    single = next(iter(log.train.values())) if len(log.train) == 1 else log.loss
    loss = _finite(log.loss)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.2), layout="constrained")
        loss_axes, rate_axes = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        if len(loss.value):
            light = _thinned(_finite(single))
            loss_axes.plot(*light, color=PALE, linewidth=1, label="one iteration")
            smooth = Series(loss.iteration, loss.seconds, smoothed(loss.value))
            loss_axes.plot(*_thinned(smooth), color=INK, linewidth=1.6, label="smoothed")
            if _log_scale_if_wide(loss_axes, loss.value):  # say 20, not 2x10^1
                loss_axes.yaxis.set_major_formatter(LogFormatter())
                loss_axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)))
        if len(loss.value) < len(log.loss.value):
            first = int(log.loss.iteration[~np.isfinite(log.loss.value)][0])
            loss_axes.axvline(first, color=ALARM, linewidth=1, label=f"not finite from {first}")
        loss_axes.set_ylabel("training loss")
        loss_axes.legend(loc="upper right")
        rate_axes.step(*_thinned(log.rate), where="post", color=INK, linewidth=1.2)
        if not _log_scale_if_wide(rate_axes, log.rate.value, ratio=5):
            rate_axes.set_ylim(bottom=0)
        rate_axes.set_ylabel("learning rate")
        rate_axes.set_xlabel("iteration")
    return figure


def map_curve(log: CaffeLog, classes: Sequence[str] = (), net: int = 0) -> Figure:
    """Test outputs over the iterations, e.g. the mAP, with the AP of each class (thin)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 3), layout="constrained")
        axes = figure.subplots()
        aps = sorted(log.class_ap.get(net, {}).items())
        if len(aps) <= _MOST_CLASSES:
            for label, ap in aps:
                name = classes[label] if label < len(classes) else f"class {label}"
                colour = class_colour(label - 1)
                axes.plot(ap.iteration, ap.value, color=colour, linewidth=1, alpha=0.7, label=name)
        for name, output in log.test.get(net, {}).items():
            axes.plot(
                output.iteration, output.value, color=INK, linewidth=2, marker="o", markersize=3,
                label="mAP" if aps or name == "detection_eval" else name,
            )  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.set_xlabel("iteration")
        axes.set_ylabel("average precision")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def precision_recall(scores: Mapping[str, ClassScore]) -> Figure:
    """Precision over recall, a line per class that has objects; pale without names if many."""
    known = {name: own for name, own in scores.items() if own.ap_area is not None}
    many = len(known) > _MOST_NAMES
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        for name, own in known.items():
            index = list(scores).index(name)
            axes.plot(
                *_envelope(own.curve),
                color=INK if many else class_colour(index),
                alpha=0.35 if many else 1,
                linewidth=0.8 if many else 1.3,
                linestyle="-" if many or index < len(CLASS_COLOURS) else "--",
                label=f"{name}  {own.ap_area:.3f}",
            )
        axes.set_xlim(0, 1.01)
        axes.set_ylim(0, 1.03)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        if known and not many:
            axes.legend(
                loc="center left", bbox_to_anchor=(1, 0.5), title="class, area AP",
                fontsize=9 if len(known) <= _MOST_CLASSES else 7,
            )  # fmt: skip
    return figure


def _envelope(curve: Curve) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Recall and the precision that the area AP takes there; the end falls to the axis."""
    if not len(curve.recall):
        return np.zeros(1), np.zeros(1)
    best = np.maximum.accumulate(curve.precision[::-1])[::-1]
    recall = np.concatenate([[0], curve.recall, curve.recall[-1:]])
    precision = np.concatenate([best[:1], best, [0]])
    keep = _spread(len(recall))
    return recall[keep], precision[keep]


def smoothed(values: npt.NDArray[np.float64], share: float = 0.03) -> npt.NDArray[np.float64]:
    """Centred running mean over ``share`` of the values, shorter at both ends."""
    half = int(len(values) * share / 2)
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    reach = np.minimum(half, np.minimum(index, index[::-1]))
    mean: npt.NDArray[np.float64] = (total[index + reach + 1] - total[index - reach]) / (
        2 * reach + 1
    )
    return mean


def as_data_uri(figure: Figure, kind: str = "svg") -> str:
    """Return ``figure`` as a ``data:`` address, to stand in the page itself."""
    mime = "image/svg+xml" if kind == "svg" else f"image/{kind}"
    return f"data:{mime};base64,{base64.b64encode(picture(figure, kind)).decode()}"


def picture(figure: Figure, kind: str) -> bytes:
    """Return the bytes of ``figure`` as ``svg`` or ``png``."""
    stream = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
    return stream.getvalue()


def _finite(series: Series) -> Series:
    keep = np.isfinite(series.value)
    return Series(series.iteration[keep], series.seconds[keep], series.value[keep])


def _log_scale_if_wide(axes: Axes, values: npt.NDArray[np.float64], ratio: float = 8) -> bool:
    wide = len(values) > 0 and values.min() > 0 and values.max() > ratio * values.min()
    if wide:
        axes.set_yscale("log")
    return bool(wide)


def _thinned(series: Series) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    keep = _spread(len(series.value))
    return series.iteration[keep], series.value[keep]


def _spread(count: int) -> npt.NDArray[np.int64]:
    """At most `_MOST_POINTS` indices from 0 to ``count - 1``, both ends included."""
    keep = np.linspace(0, count - 1, min(count, _MOST_POINTS)).round()
    return np.asarray(keep, np.int64)
