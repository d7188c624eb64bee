"""VOC XML annotations, read by the rules of SSD-Caffe's ReadXMLToAnnotatedDatum.

The rules that surprise: within an object only what stands before ``bndbox`` counts (a later
``difficult`` is ignored, a later ``name`` is an error); decimals are kept; parts of an object
(VOC's person layout) are not objects.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from scratchdet_caffe.errors import UserError, nearest
from scratchdet_caffe.files import read_bytes

EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocObject:
    """One object: class name, ``(xmin, ymin, xmax, ymax)`` in pixels as written, difficult."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool

    @property
    def degenerate(self) -> bool:
        """A box without area: it is kept in the database and dropped by the transform."""
        return self.box[0] == self.box[2] or self.box[1] == self.box[3]


@dataclass(frozen=True)
class VocAnnotation:
    """One XML file; width and height are None where the file gives none (or zero)."""

    width: int | None
    height: int | None
    objects: tuple[VocObject, ...]


def read_annotation(path: str | os.PathLike[str]) -> VocAnnotation:
    """Read the VOC annotation ``path``.

    Raises:
        UserError: The file is missing, no XML, or an object in it is incomplete.
    """
    where = os.fspath(path)
    try:
        root = ElementTree.fromstring(read_bytes(path, "annotation"))
    except ElementTree.ParseError as error:
        raise UserError(f"{where}: malformed XML: {error}") from error
    if root.tag != "annotation":
        raise UserError(f"{where}: no VOC annotation: its root is <{root.tag}>, not <annotation>")
    objects: list[VocObject] = []
    for number, node in enumerate(root.findall("object"), 1):
        objects.extend(_objects_of(node, f"{where}: object {number}"))
    size = root.find("size")
    return VocAnnotation(_whole(size, "width"), _whole(size, "height"), tuple(objects))


def _objects_of(node: ElementTree.Element, where: str) -> list[VocObject]:
    name, difficult = "", False
    found: list[VocObject] = []
    for child in node:
        if child.tag == "name":
            if found:
                raise UserError(f"{where}: <name> must come before <bndbox>")
            name = (child.text or "").strip()
        elif child.tag == "difficult":
            difficult = (child.text or "").strip() == "1"
        elif child.tag == "bndbox":
            if not name:
                raise UserError(f"{where}: no <name> before its <bndbox>")
            xmin, ymin, xmax, ymax = (_number(child, edge, f"{where} ({name})") for edge in EDGES)
            found.append(VocObject(name, (xmin, ymin, xmax, ymax), difficult))
    if not found:
        raise UserError(f"{where}{f' ({name})' if name else ''}: no <bndbox>")
    return found


def _number(node: ElementTree.Element, tag: str, where: str) -> float:
    text = (node.findtext(tag) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        found = f"'{text}'" if text else "missing"
        raise UserError(f"{where}: <{tag}> is {found}, not a number")
    return value


def _whole(size: ElementTree.Element | None, tag: str) -> int | None:
    text = (size.findtext(tag) or "").strip() if size is not None else ""
    return int(text) if text.isdecimal() and int(text) > 0 else None


def problems_of(
    annotation: VocAnnotation,
    picture: tuple[int, int],
    labels: Mapping[str, int],
    unknown: str = "the class is not in the label map",
) -> list[str]:
    """Return what is wrong with ``annotation``, one phrase per fault; empty when sound.

    Args:
        annotation: What the XML says.
        picture: Height and width of the picture itself, pixels.
        labels: The label map, ``{name: label}``.
        unknown: What to say of a class that is not in it.
    """
    height, width = picture
    said = (annotation.height or height, annotation.width or width)
    faults = []
    if said != picture:
        faults.append(
            f"the XML says {said[1]}x{said[0]} pixels but the picture has {width}x{height}"
        )
    for number, item in enumerate(annotation.objects, 1):
        xmin, ymin, xmax, ymax = item.box
        where = f"object {number} ({item.name})"
        if item.name not in labels:
            hint = nearest(item.name, labels)
            faults.append(f"{where}: {unknown}{hint}")
        if xmax < xmin:
            faults.append(f"{where}: xmax {xmax:g} < xmin {xmin:g}")
        if ymax < ymin:
            faults.append(f"{where}: ymax {ymax:g} < ymin {ymin:g}")
        if xmin < 0 or ymin < 0 or xmax > said[1] or ymax > said[0]:
            box = ", ".join(f"{edge:g}" for edge in item.box)
            faults.append(f"{where}: box ({box}) leaves the {said[1]}x{said[0]} picture")
    return faults
