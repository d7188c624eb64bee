"""``caffe.io.Transformer``: from images to what a net's input wants, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.errors import UserError, nearest
from scratchdet_caffe.pycaffe.images import resize_image

Array = npt.NDArray[Any]


class Transformer:
    """Prepares images for the inputs of a net; each step is off until it is set.

    `preprocess` does them in this order: resize to the input's size, transpose the axes, swap
    channels, multiply by ``raw_scale``, subtract ``mean``, multiply by ``input_scale``.

    Args:
        inputs: Shape (N, K, H, W) of each input, by blob name.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = {name: tuple(shape) for name, shape in inputs.items()}
        self.transpose: dict[str, tuple[int, ...]] = {}
        self.channel_swap: dict[str, tuple[int, ...]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, Array] = {}
        self.input_scale: dict[str, float] = {}

    def _check(self, in_: str) -> None:
        if in_ not in self.inputs:
            known = ", ".join(self.inputs)
            raise UserError(
                f"Transformer: no input '{in_}'{nearest(in_, self.inputs)}; has {known}"
            )

    def preprocess(self, in_: str, data: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return ``data``, an image (H, W, K), as the input ``in_`` wants it, (K', H', W')."""
        self._check(in_)
        out: Array = np.array(data, np.float32)
        size = self.inputs[in_][2:]
        if out.shape[:2] != size:
            out = resize_image(out, size)
        if in_ in self.transpose:
            out = out.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            out = out[self.channel_swap[in_], :, :]
        out = np.ascontiguousarray(out)
        if in_ in self.raw_scale:
            out *= self.raw_scale[in_]
        if in_ in self.mean:
            out -= self.mean[in_]
        if in_ in self.input_scale:
            out *= self.input_scale[in_]
        return out

    def deprocess(self, in_: str, data: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Undo `preprocess`, but for the resizing."""
        self._check(in_)
        out: Array = np.array(data, np.float32).squeeze()
        if in_ in self.input_scale:
            out /= self.input_scale[in_]
        if in_ in self.mean:
            out += self.mean[in_]
        if in_ in self.raw_scale:
            out /= self.raw_scale[in_]
        if in_ in self.channel_swap:
            out = out[np.argsort(self.channel_swap[in_]), :, :]
        if in_ in self.transpose:
            out = out.transpose(np.argsort(self.transpose[in_]))
        return out

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Reorder the axes; (2, 0, 1) makes (K, H, W) of (H, W, K)."""
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise ValueError(f"transpose needs {len(self.inputs[in_]) - 1} axes, not {len(order)}")
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Reorder the channels, after the transpose; (2, 1, 0) makes BGR of RGB."""
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise ValueError(f"channel_swap needs {self.inputs[in_][1]} channels, not {len(order)}")
        self.channel_swap[in_] = tuple(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Multiply the values before the mean is taken off; 255 for images in 0-1."""
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: npt.ArrayLike) -> None:
        """Subtract one value per channel, or an image of the input's size."""
        self._check(in_)
        mean = np.asarray(mean, np.float32)
        channels, *size = self.inputs[in_][1:]
        if mean.ndim == 1:
            if mean.size not in (1, channels):
                raise ValueError(f"{mean.size} mean values for {channels} channels")
            mean = mean[:, np.newaxis, np.newaxis]
        else:
            mean = mean[np.newaxis] if mean.ndim == 2 else mean
            if mean.shape not in ((channels, *size), (1, *size)):
                raise ValueError(f"mean of shape {mean.shape} for an input of {self.inputs[in_]}")
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Multiply the values after the mean was taken off."""
        self._check(in_)
        self.input_scale[in_] = scale
