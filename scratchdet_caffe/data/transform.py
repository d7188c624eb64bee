"""AnnotatedData's transform: a record in, network input and label rows out.

The order is the reference's: distort, expand, crop by a batch sampler, resize, noise, crop_size,
mirror, mean, scale. The work is ordered otherwise: where to look is decided first, so that
only pixels that survive are distorted and no canvas is filled. Between the steps the
reference encodes the picture as JPEG again; here it stays as it is.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.boxes import WHOLE, Boxes, emitted, mirrored, project
from scratchdet_caffe.data.distort import distort, draw_distortion
from scratchdet_caffe.data.noise import add_noise, check_noise
from scratchdet_caffe.data.pixels import Pixels, pixels_of, read_mean
from scratchdet_caffe.data.resize import (
    draw_interpolation,
    extrapolate_boxes,
    resize_boxes,
    resize_picture,
    scaled_size,
)
from scratchdet_caffe.data.sampler import check_samplers, sample_window
from scratchdet_caffe.data.view import Patch, View, resized, seen
from scratchdet_caffe.errors import UserError

Floats = npt.NDArray[np.float32]
LABEL_COLUMNS = 8  # item, label, instance, xmin, ymin, xmax, ymax, difficult
BOX = slice(3, 7)


def rows_of(record: pb.AnnotatedDatum) -> Floats:
    """Return the label rows ``(K, 8)`` of a record, in the order of its groups; item is 0."""
    rows = [
        (0, group.group_label, item.instance_id, b.xmin, b.ymin, b.xmax, b.ymax, b.difficult)
        for group in record.annotation_group
        for item in group.annotation
        for b in (item.bbox,)
    ]
    return np.array(rows, np.float32).reshape(-1, LABEL_COLUMNS)


class Transformer:
    """The transform of one AnnotatedData layer; it keeps no state between records.

    Args:
        layer: Its ``transform_param`` and ``annotated_data_param.batch_sampler`` count.
        phase: ``pb.TRAIN`` or ``pb.TEST``: crop_size is random in the one, central in the other.

    Raises:
        UserError: Settings that contradict each other or are not supported.
    """

    def __init__(self, layer: pb.LayerParameter, phase: int) -> None:
        self.param = param = layer.transform_param
        self.samplers = list(layer.annotated_data_param.batch_sampler)
        self.train = phase == pb.TRAIN
        self.crop = (param.crop_h or param.crop_size, param.crop_w or param.crop_size)
        self._check(layer.name)
        self.mean_picture = read_mean(param.mean_file) if param.mean_file else None

    def _check(self, name: str) -> None:
        param, where = self.param, f"layer '{name}': transform_param"
        check_samplers(self.samplers)
        if param.force_color and param.force_gray:
            raise UserError(f"{where}: set force_color or force_gray, not both")
        if param.mean_file and param.mean_value:
            raise UserError(f"{where}: set mean_file or mean_value, not both")
        check_noise(param.noise_param)
        resize = param.resize_param
        if param.HasField("resize_param") and not (resize.height and resize.width):
            raise UserError(f"{where}: resize_param needs a height and a width above 0")
        if bool(self.crop[0]) != bool(self.crop[1]):
            raise UserError(f"{where}: crop_h and crop_w must both be above 0")
        if param.HasField("expand_param"):
            if param.expand_param.max_expand_ratio < 1:
                raise UserError(f"{where}: expand_param.max_expand_ratio must be at least 1")
            if param.mean_file:
                raise UserError(
                    f"{where}: expand_param fills with mean_value; a mean_file cannot be enlarged"
                )

    @property
    def fixed_shape(self) -> tuple[int, int, int] | None:
        """The shape (C, H, W) of every picture, None where it depends on the record."""
        size = self._fixed_size
        if size is None or not (self.param.force_color or self.param.force_gray):
            return None
        return (3 if self.param.force_color else 1, *size)

    @property
    def _fixed_size(self) -> tuple[int, int] | None:
        resize = self.param.resize_param
        if self.crop[0]:
            return self.crop
        if not self.param.HasField("resize_param") or resize.resize_mode == resize.FIT_SMALL_SIZE:
            return None
        return resize.height, resize.width

    def shape_of(self, record: pb.AnnotatedDatum) -> tuple[int, int, int]:
        """Return the shape (C, H, W) in which ``record`` comes out, without transforming it."""
        if self.fixed_shape:
            return self.fixed_shape
        param = self.param
        height, width, channels = pixels_of(record.datum, param.force_color, param.force_gray).shape
        if self._fixed_size:
            return (channels, *self._fixed_size)
        if param.HasField("resize_param"):
            width, height = scaled_size(param.resize_param, (width, height))
        return (channels, height, width)

    def __call__(
        self, record: pb.AnnotatedDatum, rng: np.random.Generator, out: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Transform one record.

        Args:
            record: Picture and boxes.
            rng: Source of every random choice.
            out: Where to write the picture ``(C, H, W)``; a new array by default.

        Returns:
            The picture ``(C, H, W)``, channels in BGR order, and the label rows ``(K, 8)``:
            item (0), label, instance_id, xmin, ymin, xmax, ymax (normalised), difficult.

        Raises:
            UserError: The picture cannot be decoded or does not fit the settings or ``out``.
        """
        param = self.param
        pixels = pixels_of(record.datum, param.force_color, param.force_gray)
        rows = rows_of(record)
        view = View(0, 0, pixels.shape[1], pixels.shape[0])
        if param.HasField("expand_param"):
            view, rows = self._expanded(view, rows, rng)
        if self.samplers:
            window = sample_window(self.samplers, rows[:, BOX], rng)
            if window is not None:
                view, rows = self._cropped(view, rows, window)
        patch = seen(pixels, view, self._fill(pixels.shape[2]))
        if param.HasField("distort_param"):
            patch = self._distorted(patch, rng)
        if param.HasField("resize_param"):
            interpolation = draw_interpolation(param.resize_param, rng)
            picture = resize_picture(patch, param.resize_param, interpolation)
            rows = rows.copy()
            rows[:, BOX] = resize_boxes(rows[:, BOX], param.resize_param, patch.view)
        else:
            picture = resized(patch, patch.view, cv2.INTER_NEAREST)
        if param.HasField("noise_param"):
            picture = add_noise(picture, param.noise_param, rng)
        top, left, height, width = self._placed(picture, rng)
        rows, window = self._framed(rows, picture, (top, left, height, width))
        flip = param.mirror and bool(rng.integers(2))
        if flip:
            rows[:, BOX] = mirrored(rows[:, BOX])
        if param.HasField("resize_param"):
            rows[:, BOX] = extrapolate_boxes(rows[:, BOX], param.resize_param, patch.view, window)
        picture = picture[top : top + height, left : left + width]
        return self._normalised(picture, (top, left), flip, out), rows

    def _expanded(self, view: View, rows: Floats, rng: np.random.Generator) -> tuple[View, Floats]:
        param = self.param.expand_param
        chance, ratio, across, down = rng.random(4)
        if chance > param.prob or abs(param.max_expand_ratio - 1) < 1e-2:
            return view, rows
        ratio = 1 + (param.max_expand_ratio - 1) * ratio
        width, height = int(view.width * ratio), int(view.height * ratio)
        left, top = int((width - view.width) * across), int((height - view.height) * down)
        size = np.array([view.width, view.height], np.float32)
        corners = np.array([[-left, -top], [width - left, height - top]], np.float32)
        window = (corners / size).reshape(4)
        return View(-left, -top, width, height), self._projected(rows, window)

    def _cropped(self, view: View, rows: Floats, window: Boxes) -> tuple[View, Floats]:
        # Pixels are cut off to whole ones, boxes are projected into the window as drawn.
        edges = window * np.array([view.width, view.height] * 2, np.float32)
        left, top = int(edges[0]), int(edges[1])
        width, height = max(int(edges[2] - edges[0]), 1), max(int(edges[3] - edges[1]), 1)
        left, top = min(left, view.width - width), min(top, view.height - height)
        inner = View(view.left + left, view.top + top, width, height)
        return inner, self._projected(rows, window)

    def _projected(self, rows: Floats, window: Boxes) -> Floats:
        keep, inside = project(rows[:, BOX], window)
        if self.param.HasField("emit_constraint"):
            keep &= emitted(rows[:, BOX], window, self.param.emit_constraint)
        rows = rows.copy()
        rows[:, BOX] = inside
        return rows[keep]

    def _distorted(self, patch: Patch, rng: np.random.Generator) -> Patch:
        distortion = draw_distortion(self.param.distort_param, rng)
        if not patch.pixels.size:
            return patch
        if patch.pixels.shape[2] != 3:
            raise UserError("distort_param needs colour: set force_color: true in transform_param")
        return patch._replace(pixels=distort(patch.pixels, distortion))

    def _means(self, channels: int) -> Floats:
        values = np.array(self.param.mean_value, np.float32)
        if len(values) not in (0, 1, channels):
            raise UserError(
                f"{len(values)} mean_value for a picture of {channels} channels: give one value, "
                f"or one for each channel (force_color makes pictures have 3)"
            )
        return np.broadcast_to(values if len(values) else np.float32(0), (channels,))

    def _fill(self, channels: int) -> Pixels:
        return np.rint(self._means(channels)).clip(0, 255).astype(np.uint8)

    def _placed(self, picture: Pixels, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Return top, left, height and width of what crop_size takes of ``picture``."""
        height, width = picture.shape[:2]
        if not self.crop[0]:
            return 0, 0, height, width
        spare = (height - self.crop[0], width - self.crop[1])
        if min(spare) < 0:
            raise UserError(
                f"crop_size {self.crop[0]}x{self.crop[1]} is larger than the picture, "
                f"{height}x{width} (height x width)"
            )
        if self.train:
            return int(rng.integers(spare[0] + 1)), int(rng.integers(spare[1] + 1)), *self.crop
        return spare[0] // 2, spare[1] // 2, *self.crop

    def _framed(
        self, rows: Floats, picture: Pixels, frame: tuple[int, int, int, int]
    ) -> tuple[Floats, Boxes]:
        top, left, height, width = frame
        size = np.array([picture.shape[1], picture.shape[0]], np.float32)
        corners = np.array([[left, top], [left + width, top + height]], np.float32)
        window = (corners / size).reshape(4) if self.crop[0] else WHOLE
        return self._projected(rows, window), window

    def _normalised(
        self, picture: Pixels, place: tuple[int, int], flip: bool, out: Floats | None
    ) -> Floats:
        height, width, channels = picture.shape
        shape = (channels, height, width)
        if out is None:
            out = np.empty(shape, np.float32)
        elif out.shape != shape:
            raise UserError(
                f"the picture comes out as {shape} (C, H, W) but its batch began with {out.shape}: "
                "set force_color: true and a resize_param, or batch_size: 1"
            )
        means: Floats = self._means(channels)[:, None, None]
        if self.mean_picture is not None:
            top, left = place
            means = self.mean_picture[:, top : top + height, left : left + width]
            if means.shape != shape:
                raise UserError(
                    f"{self.param.mean_file}: the mean is {self.mean_picture.shape} (C, H, W), "
                    f"which does not cover a picture of {shape}"
                )
        if flip:
            picture = np.atleast_3d(cv2.flip(picture, 1))
            means = means[..., ::-1]
        for plane, mean, target in zip(cv2.split(picture), means, out):
            np.subtract(plane, mean, out=target)
        if self.param.scale != 1:
            out *= np.float32(self.param.scale)
        return out
