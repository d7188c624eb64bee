"""A detector: pictures in, boxes out, by one look or by many."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import write_prototxt
from scratchdet_caffe.data.pixels import Pixels
from scratchdet_caffe.data.transform import Transformer
from scratchdet_caffe.scoring.deploy import DeployNet
from scratchdet_caffe.scoring.merging import soft_suppress, vote
from scratchdet_caffe.scoring.truth import finite
from scratchdet_caffe.scoring.views import View, Views

Floats = npt.NDArray[np.float64]
NOTHING = np.empty((0, 6))
COCO_COUNTS = 100
"""Detections of a class in a picture that COCO looks at: soft voting need not leave more."""


class Detector:
    """A net that runs on pictures, through the pycaffe API of either engine.

    Args:
        caffe: A module with pycaffe's API.
        deploy: The net.
        weights: Its ``.caffemodel``.
        merge: Makes one set of a picture's detections of a class: ``(D, 5)`` to ``(K, 5)``,
            score and box in pixels; None if the net's own are final.
        keep: How many detections of a picture are kept, the best; None for all.
        views: The views to look at; None for one look.
    """

    def __init__(
        self,
        caffe: Any,
        deploy: DeployNet,
        weights: Path,
        merge: Callable[[Floats], Floats] | None = None,
        keep: int | None = None,
        views: Views | None = None,
    ) -> None:
        self.deploy, self.merge, self.keep, self.views = deploy, merge, keep, views
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder, "deploy.prototxt")
            write_prototxt(model, deploy.net)
            self._net = caffe.Net(str(model), str(weights), caffe.TEST)
        self._transformers: dict[tuple[int, int], Transformer] = {}

    def __call__(self, pictures: Sequence[Pixels]) -> list[Floats]:
        """Return what is in each picture: ``(K, 6)`` label, score, and box in pixels.

        Boxes are as the net gives them, scaled to the picture: 1-based with both ends inside
        where it was trained on VOC, from 0 where on COCO; to 1/100 pixel.
        """
        found: list[list[Floats]] = [[] for _ in pictures]
        for view, numbers in self._looks(pictures):
            for mirrored in (False, True) if self.views else (False,):
                rows = self._look([pictures[i] for i in numbers], view, mirrored)
                for i, own in zip(numbers, rows):
                    found[i].append(own)
        return [self._merged(np.concatenate([NOTHING, *own])) for own in found]

    def _looks(self, pictures: Sequence[Pixels]) -> list[tuple[View, list[int]]]:
        """Each view, and which pictures are to be looked at so."""
        if self.views is None:
            return [(View(*self.deploy.size), list(range(len(pictures))))]
        looks: dict[View, list[int]] = {}
        for i, pixels in enumerate(pictures):
            for view in self.views.of(*pixels.shape[:2]):
                looks.setdefault(view, []).append(i)
        return list(looks.items())

    def _look(self, pictures: Sequence[Pixels], view: View, mirrored: bool) -> list[Floats]:
        net, deploy = self._net, self.deploy
        batch = np.stack([self._input(pixels, view) for pixels in pictures])
        blob = net.blobs[deploy.data]
        if tuple(blob.data.shape) != batch.shape:
            blob.reshape(*batch.shape)
            net.reshape()
        blob.data[...] = batch[..., ::-1] if mirrored else batch
        net.forward()
        rows = np.array(net.blobs[deploy.detections].data, np.float64).reshape(-1, 7)
        if mirrored:
            rows[:, [3, 5]] = 1 - rows[:, [5, 3]]
        found = []
        for item, pixels in enumerate(pictures):
            own = rows[(rows[:, 0] == item) & (rows[:, 1] >= 0)][:, 1:]
            size = np.tile(pixels.shape[1::-1], 2)
            own[:, 2:] = finite(own[:, 2:] * size)
            if self.views:  # a box that is mostly outside is not small
                own = own[view.keeps(own[:, 2:])]
                own[:, 2:] = own[:, 2:].clip(0, size)
            found.append(own)
        return found

    def _input(self, pixels: Pixels, view: View) -> npt.NDArray[np.float32]:
        """The picture as the net wants it, ``(C, H, W)``."""
        size = view.height, view.width
        if size not in self._transformers:
            layer = pb.LayerParameter.FromString(self.deploy.layer.SerializeToString())
            resize = layer.transform_param.resize_param
            resize.height, resize.width = size
            layer.transform_param.force_color = layer.transform_param.force_gray = False
            self._transformers[size] = Transformer(layer, pb.TEST)
        gray = self.deploy.shape[0] == 1
        record = pb.AnnotatedDatum(datum=_raw(pixels, gray))
        return self._transformers[size](record, np.random.default_rng(0))[0]

    def _merged(self, rows: Floats) -> Floats:
        """The detections of a picture, those of each class made one set; by class and score."""
        if self.merge:
            parts = [NOTHING]
            for label in np.unique(rows[:, 0]):
                own = self.merge(rows[rows[:, 0] == label][:, 1:])
                parts.append(np.column_stack([np.full(len(own), label), own]))
            rows = np.concatenate(parts)
        if self.keep is not None and len(rows) > self.keep:
            best = np.argsort(-rows[:, 1], kind="stable")[: self.keep]
            rows = rows[np.sort(best)]
        rows[:, 2:] = rows[:, 2:].round(2)
        return rows


def _raw(pixels: Pixels, gray: bool) -> pb.Datum:
    """Decoded pixels as a Datum, of one channel or three."""
    import cv2

    if gray and pixels.shape[2] == 3:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)[..., None]
    elif not gray and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    height, width, channels = pixels.shape
    data = np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()
    return pb.Datum(channels=channels, height=height, width=width, data=data)


def voting(soft: float | None) -> Callable[[Floats], Floats]:
    """Return box voting: VOC's, or with a score COCO's soft one, see `vote`."""
    if soft is None:
        return vote
    return lambda detections: vote(detections, soft)[:COCO_COUNTS]


def softly(kind: str, least: float) -> Callable[[Floats], Floats]:
    """Return soft suppression, see `soft_suppress`."""
    return lambda detections: soft_suppress(detections, kind, least)
