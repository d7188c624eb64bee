"""``caffe.Detector``: a classifier over windows of images (R-CNN)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.pycaffe.classifier import Array, ImageNet, Path
from scratchdet_caffe.pycaffe.images import load_image, resize_image

Windows = Iterable[tuple[str | os.PathLike[str], npt.ArrayLike]]


class Detector(ImageNet):
    """Scores windows of images by a net.

    Args:
        model_file: The deploy net; its first input takes a window, its first output is the score.
        pretrained_file: Its weights.
        mean: See `Transformer.set_mean`; likewise the next three.
        input_scale: Factor after the mean.
        raw_scale: Factor before the mean.
        channel_swap: Order of channels, (2, 1, 0) for BGR.
        context_pad: Pixels of the input that show what surrounds the window, on each side.
    """

    def __init__(
        self,
        model_file: Path,
        pretrained_file: Path,
        mean: npt.ArrayLike | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap)
        self.context_pad = context_pad or 0
        if 2 * self.context_pad >= min(self.crop_dims):
            raise UserError(
                f"Detector: context_pad {context_pad} leaves nothing of {self.crop_dims}"
            )

    def detect_windows(self, images_windows: Windows) -> list[dict[str, Any]]:
        """Score windows of images.

        Args:
            images_windows: Pairs of an image file and its windows, (n, 4) rows of
                (ymin, xmin, ymax, xmax) in pixels.

        Returns:
            One dict per window: "window", "prediction" (classes,), "filename".
        """
        crops, found = [], []
        for filename, windows in images_windows:
            image = load_image(filename)
            for window in np.asarray(windows):
                crops.append(self.crop(image, window))
                found.append({"window": window, "filename": filename})
        if not crops:
            return []
        scores = self.scores(crops)
        return [{**where, "prediction": row} for where, row in zip(found, scores)]

    def crop(self, im: Array, window: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Cut ``window`` = (ymin, xmin, ymax, xmax) out of ``im`` and warp it to the input's size.

        With ``context_pad`` the window grows such that, after warping, that many pixels on each
        side show its surroundings; what lies outside the image shows the mean.
        """
        box = np.asarray(window, float)
        size = np.array(self.crop_dims)
        inner = size - 2 * self.context_pad
        grown = (box[2:] - box[:2]) * size / inner / 2
        centre = (box[2:] + box[:2]) / 2
        y0, x0 = np.round(centre - grown).astype(int)
        y1, x1 = np.round(centre + grown).astype(int)
        if y1 <= y0 or x1 <= x0:
            raise UserError(f"Detector: window {box.tolist()} is empty")
        # Pixels outside stand for the mean, so that they are 0 for the net.
        canvas = np.empty((y1 - y0, x1 - x0, im.shape[2]), np.float32)
        canvas[...] = self._background()
        top, left = max(y0, 0), max(x0, 0)
        part = im[top : max(y1, 0), left : max(x1, 0)]
        canvas[top - y0 : top - y0 + part.shape[0], left - x0 : left - x0 + part.shape[1]] = part
        return resize_image(canvas, self.crop_dims)

    def _background(self) -> npt.NDArray[np.float32]:
        """The image value, per channel, that the transformer turns into 0."""
        name = self.inputs[0]
        zero = np.zeros(self.blobs[name].shape[1:], np.float32)
        return np.asarray(self.transformer.deprocess(name, zero).mean(axis=(0, 1)))

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list[dict[str, Any]]:
        """Refuse: selective search ran in Matlab.

        Raises:
            UserError: Always; it says what to do instead.
        """
        raise UserError(
            "detect_selective_search needs Matlab's selective search, which is not there; "
            "give windows of your own to detect_windows"
        )
