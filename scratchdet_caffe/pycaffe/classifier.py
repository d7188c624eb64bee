"""``caffe.Classifier``: images in, class scores out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.pycaffe.images import oversample as ten_crops
from scratchdet_caffe.pycaffe.images import resize_image
from scratchdet_caffe.pycaffe.net import Net
from scratchdet_caffe.pycaffe.transformer import Transformer

Path = str | os.PathLike[str]
Array = npt.NDArray[Any]


class ImageNet(Net):
    """A net in its test phase whose first input takes images that a Transformer prepares.

    Attributes:
        transformer: Prepares images (H, W, K); its transpose makes (K, H, W) of them.
        crop_dims: (height, width) of the input.
    """

    def __init__(
        self,
        model_file: Path,
        pretrained_file: Path,
        mean: npt.ArrayLike | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, pb.TEST, weights=pretrained_file)
        name = self.inputs[0]
        self.transformer = Transformer({name: self.blobs[name].shape})
        self.transformer.set_transpose(name, (2, 0, 1))
        if mean is not None:
            self.transformer.set_mean(name, mean)
        if input_scale is not None:
            self.transformer.set_input_scale(name, input_scale)
        if raw_scale is not None:
            self.transformer.set_raw_scale(name, raw_scale)
        if channel_swap is not None:
            self.transformer.set_channel_swap(name, channel_swap)
        self.crop_dims = self.blobs[name].shape[2:]

    def scores(self, images: Sequence[Array]) -> npt.NDArray[np.float32]:
        """Return the first output for each image (H, W, K), one row per image."""
        name = self.inputs[0]
        prepared = np.stack([self.transformer.preprocess(name, image) for image in images])
        return self.forward_all(**{name: prepared})[self.outputs[0]]


class Classifier(ImageNet):
    """Scores images by a net, on its centre crop or over ten crops.

    Args:
        model_file: The deploy net; its first input takes images, its first output is the score.
        pretrained_file: Its weights.
        image_dims: (height, width) to resize images to before cropping; the input's by default.
        mean: See `Transformer.set_mean`; likewise the others.
        input_scale: Factor after the mean.
        raw_scale: Factor before the mean.
        channel_swap: Order of channels, (2, 1, 0) for BGR.
    """

    def __init__(
        self,
        model_file: Path,
        pretrained_file: Path,
        image_dims: Sequence[int] | None = None,
        mean: npt.ArrayLike | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap)
        self.image_dims = tuple(image_dims or self.crop_dims)

    def predict(self, inputs: Sequence[Array], oversample: bool = True) -> npt.NDArray[Any]:
        """Return the scores of ``inputs``.

        Args:
            inputs: N images (H, W, K), as `io.load_image` reads them.
            oversample: Average over ten crops (corners, centre, mirrored) instead of the centre.

        Returns:
            (N, classes).
        """
        resized = [resize_image(image, self.image_dims) for image in inputs]
        if oversample:
            rows = self.scores(list(ten_crops(resized, self.crop_dims)))
            ten = rows.reshape(len(resized), 10, -1)
            return np.asarray(ten.mean(axis=1))
        (height, width), (rows_, cols_) = self.crop_dims, self.image_dims
        y, x = int((rows_ - height) / 2), int((cols_ - width) / 2)
        return self.scores([image[y : y + height, x : x + width] for image in resized])
