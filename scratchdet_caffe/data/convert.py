"""Pictures and annotations -> AnnotatedDatum records, as convert_annoset makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.annotation import Annotation
from scratchdet_caffe.data.pixels import Pixels, as_pixels, decode
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_bytes

FORMATS = ("jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp")


@dataclass(frozen=True)
class Encoding:
    """How pictures are stored: convert_annoset's flags of the same names.

    Attributes:
        encoded: As a picture file, or as raw bytes (C, H, W).
        encode_type: Files of this type are kept byte for byte, others encoded to it, with
            OpenCV's default quality; empty encodes every picture to its own type.
        gray: One channel; a file that is kept as it is may have colour all the same.
        resize_height: Pixels; 0 keeps the picture's size.
        resize_width: Pixels; 0 keeps the picture's size.
        min_dim: Enlarge until the shorter side has this many pixels.
        max_dim: Shrink until the longer side has this many pixels.
    """

    encoded: bool = True
    encode_type: str = "jpg"
    gray: bool = False
    resize_height: int = 0
    resize_width: int = 0
    min_dim: int = 0
    max_dim: int = 0

    def __post_init__(self) -> None:
        if self.encode_type and self.encode_type not in FORMATS:
            raise UserError(f"encode_type '{self.encode_type}': known: {', '.join(FORMATS)}")
        if min(self.resize_height, self.resize_width, self.min_dim, self.max_dim) < 0:
            raise UserError("resize_height, resize_width, min_dim and max_dim must not be negative")
        if bool(self.resize_height) != bool(self.resize_width):
            raise UserError("give both resize_height and resize_width, or neither")
        if self.min_dim and 0 < self.max_dim < self.min_dim:
            raise UserError(f"max_dim {self.max_dim} must not be below min_dim {self.min_dim}")

    @property
    def resizes(self) -> bool:
        """Whether pictures may change their size."""
        return bool(self.resize_height or self.min_dim or self.max_dim)


AS_JPEG = Encoding()


@dataclass(frozen=True)
class ListEntry:
    """A line of a list file: picture and annotation, relative to the root."""

    picture: str
    annotation: str

    @property
    def stem(self) -> str:
        """The picture's name without folder and extension, as in name_size files."""
        return PurePosixPath(self.picture).stem


def stored(
    path: Path, encoding: Encoding = AS_JPEG, size: tuple[int, int] | None = None
) -> tuple[pb.Datum, tuple[int, int]]:
    """Return the picture ``path`` as a Datum, and the file's own height and width.

    Args:
        path: The picture.
        encoding: How to store it.
        size: Height and width where they are known: a file that is kept byte for byte is then
            not decoded.

    Raises:
        UserError: The file is missing or cannot be decoded.
    """
    data = read_bytes(path, "picture")
    suffix = path.suffix.lower().lstrip(".")
    kept = encoding.encoded and not encoding.resizes and _is_type(suffix, encoding.encode_type)
    if kept and size:
        datum = pb.Datum(channels=1 if encoding.gray else 3, height=size[0], width=size[1])
        datum.data, datum.label, datum.encoded = data, -1, True
        return datum, size
    pixels = decode(data, cv2.IMREAD_GRAYSCALE if encoding.gray else cv2.IMREAD_COLOR)
    if pixels is None:
        raise UserError(f"{path}: the picture cannot be decoded")
    size = (pixels.shape[0], pixels.shape[1])
    pixels = _resized(pixels, encoding)
    height, width, channels = pixels.shape
    datum = pb.Datum(channels=channels, height=height, width=width, label=-1)
    datum.encoded = encoding.encoded
    if kept:
        datum.data = data
    elif encoding.encoded:
        datum.data = cv2.imencode(f".{encoding.encode_type or suffix}", pixels)[1].tobytes()
    else:
        datum.data = np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()
    return datum, size


def _is_type(suffix: str, wanted: str) -> bool:
    return suffix == wanted or (wanted == "jpg" and suffix == "jpeg")


def _resized(pixels: Pixels, encoding: Encoding) -> Pixels:
    height, width = pixels.shape[:2]
    if encoding.min_dim or encoding.max_dim:
        scale = np.float32(1)
        if min(height, width) < encoding.min_dim:
            scale = np.float32(encoding.min_dim) / np.float32(min(height, width))
        if encoding.max_dim and int(scale * np.float32(max(height, width))) > encoding.max_dim:
            scale = np.float32(encoding.max_dim) / np.float32(max(height, width))
        if scale == 1:
            return pixels
        resized = cv2.resize(pixels, None, fx=float(scale), fy=float(scale))
    elif encoding.resize_height:
        resized = cv2.resize(pixels, (encoding.resize_width, encoding.resize_height))
    else:
        return pixels
    return as_pixels(resized)


def record_of(
    datum: pb.Datum,
    size: tuple[int, int],
    annotation: Annotation | None,
    labels: Mapping[str, int],
) -> pb.AnnotatedDatum:
    """Return the record of a picture.

    Boxes are divided by the size that the annotation gives (the picture's where it gives none)
    in float32, without subtracting one and without clipping. Groups stand in the order in which
    their label first appears; instance_id counts within a group.

    Args:
        datum: The picture, as `stored` gives it.
        size: Height and width of the picture's file, pixels.
        annotation: Its objects; None gives a record without groups.
        labels: The label map, ``{name: label}``; it must know every class.
    """
    record = pb.AnnotatedDatum(type=pb.AnnotatedDatum.BBOX, datum=datum)
    if annotation is None:
        return record
    width = np.float32(annotation.width or size[1])
    height = np.float32(annotation.height or size[0])
    groups: dict[int, pb.AnnotationGroup] = {}
    for item in annotation.objects:
        label = labels[item.name]
        if label not in groups:
            groups[label] = record.annotation_group.add(group_label=label)
        added = groups[label].annotation.add(instance_id=len(groups[label].annotation))
        xmin, ymin, xmax, ymax = (np.float32(edge) for edge in item.box)
        added.bbox.xmin, added.bbox.ymin = float(xmin / width), float(ymin / height)
        added.bbox.xmax, added.bbox.ymax = float(xmax / width), float(ymax / height)
        added.bbox.difficult = item.difficult
    return record
