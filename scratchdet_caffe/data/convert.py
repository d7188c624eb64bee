"""Pictures and VOC annotations -> AnnotatedDatum records, as convert_annoset makes them.

Its ``--encoded --encode_type=jpg`` is followed: JPEG files are stored byte for byte, other
pictures are encoded as JPEG.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.pixels import Pixels, decode
from scratchdet_caffe.data.voc import VocAnnotation
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_bytes

QUALITY = 95  # OpenCV's default for JPEG, which convert_annoset leaves alone


@dataclass(frozen=True)
class ListEntry:
    """A line of a list file: picture and annotation, relative to the root."""

    picture: str
    annotation: str

    @property
    def stem(self) -> str:
        """The picture's name without folder and extension, as in name_size files."""
        return PurePosixPath(self.picture).stem


def picture_size(path: Path) -> tuple[int, int]:
    """Decode the picture ``path`` and return its height and width, pixels.

    Raises:
        UserError: The file is missing, cut short or cannot be decoded.
    """
    data = read_bytes(path, "picture")
    if not data:
        raise UserError(f"{path}: the picture is empty")
    if not _complete(data):
        raise UserError(f"{path}: the picture is truncated: its end marker is missing")
    height, width, _ = _decoded(path, data).shape
    return height, width


def jpeg_of(path: Path) -> bytes:
    """Return the picture ``path`` as JPEG: a JPEG file byte for byte, others encoded.

    Raises:
        UserError: The file is missing or cannot be decoded.
    """
    data = read_bytes(path, "picture")
    if path.suffix.lower() in (".jpg", ".jpeg"):
        return data
    pixels = _decoded(path, data)
    encoded: bytes = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return encoded


def _decoded(path: Path, data: bytes) -> Pixels:
    pixels = decode(data, cv2.IMREAD_COLOR)
    if pixels is None:
        raise UserError(f"{path}: the picture cannot be decoded")
    return pixels


def _complete(data: bytes) -> bool:
    """Tell whether a JPEG or PNG has its end marker; other formats pass."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" in data[-64:]
    if not data.startswith(b"\xff\xd8"):
        return True
    # Headers may hold a whole thumbnail with an end marker of its own: skip them by length.
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big") if data[at + 1] != 0xFF else 1
    return data.find(b"\xff\xd9", at) > 0


def record_of(
    jpeg: bytes,
    size: tuple[int, int],
    annotation: VocAnnotation | None,
    labels: Mapping[str, int],
) -> pb.AnnotatedDatum:
    """Return the record of a picture.

    Boxes are divided by the size that the XML gives (the picture's where it gives none) in
    float32, without subtracting one and without clipping. Groups stand in the order in which
    their label first appears; instance_id counts within a group.

    Args:
        jpeg: The encoded picture.
        size: Its height and width, pixels.
        annotation: Its objects; None gives a record without groups.
        labels: The label map, ``{name: label}``; it must know every class.
    """
    record = pb.AnnotatedDatum(type=pb.AnnotatedDatum.BBOX)
    record.datum.channels = 3
    record.datum.height, record.datum.width = size
    record.datum.data, record.datum.label, record.datum.encoded = jpeg, -1, True
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
