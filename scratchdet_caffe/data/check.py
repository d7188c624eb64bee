"""What is wrong, or odd, with a picture and its annotation."""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
from PIL import Image, UnidentifiedImageError

from scratchdet_caffe.data.annotation import Annotation, Object
from scratchdet_caffe.data.pixels import decode
from scratchdet_caffe.errors import UserError, nearest
from scratchdet_caffe.files import read_bytes

UNKNOWN = "the class is not in the label map"
_EXIF_ORIENTATION = 274
_HEADER = threading.Lock()


@dataclass(frozen=True)
class Finding:
    """One thing found: a fault stops `prepare`, the others are worth knowing.

    Attributes:
        kind: One of a few words, to count by.
        text: A phrase that says what and where in the file.
        fault: Whether the picture cannot be used as it is.
    """

    kind: str
    text: str
    fault: bool = True


@dataclass(frozen=True)
class Facts:
    """What the picture's file alone tells.

    Attributes:
        size: Height and width as decoded, pixels; (0, 0) where it cannot be decoded.
        digest: Of the file's bytes, to find the same picture under two names.
        findings: What is wrong or odd with it.
    """

    size: tuple[int, int]
    digest: str
    findings: tuple[Finding, ...]


def picture_facts(path: Path) -> Facts:
    """Read and decode the picture ``path``; nothing is raised, faults are findings."""

    def fault(kind: str, text: str) -> Facts:
        return Facts((0, 0), digest, (Finding(kind, text),))

    digest = ""
    try:
        data = read_bytes(path, "picture")
    except UserError as error:
        return fault("missing picture", str(error).removeprefix(f"{path}: "))
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    if not data:
        return fault("empty picture", "the picture is empty")
    if not _complete(data):
        return fault("truncated picture", "the picture is truncated: its end marker is missing")
    pixels = decode(data, cv2.IMREAD_COLOR)
    if pixels is None:
        return fault("undecodable picture", "the picture cannot be decoded")
    return Facts((pixels.shape[0], pixels.shape[1]), digest, tuple(_oddities(data)))


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


def _oddities(data: bytes) -> Iterator[Finding]:
    """Yield what the header says that surprises in training."""
    try:
        # The filters are the whole process's: one thread at a time.
        with _HEADER, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes and headers that OpenCV has accepted
            with Image.open(io.BytesIO(data)) as header:
                mode, turned = header.mode, 1
                if header.format != "PNG":  # whose EXIF comes after all the pixels
                    turned = header.getexif().get(_EXIF_ORIENTATION, 1)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return  # OpenCV reads formats that this library does not
    if mode in ("L", "LA", "1"):
        yield Finding("grey picture", "grey: nets need force_color: true to read it", False)
    if mode == "CMYK":
        yield Finding("CMYK picture", "CMYK: colours may come out differently elsewhere", False)
    if mode.startswith(("I", "F")):
        yield Finding("16-bit picture", f"more than 8 bits a channel ({mode}): cut to 8", False)
    if mode in ("RGBA", "LA", "PA"):
        yield Finding("picture with alpha", "its transparency is dropped", False)
    if turned in range(2, 9):
        text = f"EXIF orientation {turned}: it is turned when read; check its boxes"
        yield Finding("EXIF rotation", text, False)


def annotation_findings(
    annotation: Annotation,
    picture: tuple[int, int],
    labels: Mapping[str, int],
    unknown: str = UNKNOWN,
    slack: float = 0.0,
) -> list[Finding]:
    """Return what is wrong or odd with ``annotation``.

    Args:
        annotation: What the file says.
        picture: Height and width of the picture itself, pixels.
        labels: The label map, ``{name: label}``.
        unknown: What to say of a class that is not in it.
        slack: How many pixels a box may reach beyond the picture without being a fault.
    """
    height, width = picture
    said = (annotation.height or height, annotation.width or width)
    found = []
    if said != picture:
        text = (
            f"the annotation says {said[1]}x{said[0]} pixels but the picture has {width}x{height}"
        )
        found.append(Finding("size differs", text))
    for number, item in enumerate(annotation.objects, 1):
        where = f"object {number} ({item.name})"
        if item.name not in labels:
            text = f"{where}: {unknown}{nearest(item.name, labels)}"
            found.append(Finding("unknown class", text))
        found.extend(_box_findings(item, where, said, slack))
    found.extend(Finding(kind, text, False) for kind, text in annotation.notes)
    return found


def _box_findings(
    item: Object, where: str, size: tuple[int, int], slack: float
) -> Iterator[Finding]:
    xmin, ymin, xmax, ymax = item.box
    if xmax < xmin:
        yield Finding("inverted box", f"{where}: xmax {xmax:g} < xmin {xmin:g}")
    if ymax < ymin:
        yield Finding("inverted box", f"{where}: ymax {ymax:g} < ymin {ymin:g}")
    if item.degenerate:
        yield Finding("box without area", f"{where}: a side is 0: transforms drop it", False)
    beyond = max(-xmin, -ymin, xmax - size[1], ymax - size[0])
    if beyond > 0:
        box = ", ".join(f"{edge:g}" for edge in item.box)
        text = f"{where}: box ({box}) leaves the {size[1]}x{size[0]} picture"
        yield Finding("box outside", text, beyond > slack)
