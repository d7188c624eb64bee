"""VOC XML annotations, read by the rules of SSD-Caffe's ReadXMLToAnnotatedDatum.

The rules that surprise: within an object only what stands before ``bndbox`` counts (a later
``difficult`` is ignored, a later ``name`` is an error); decimals are kept; parts of an object
(VOC's person layout) are not objects.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from xml.etree import ElementTree

from scratchdet_caffe.data.annotation import Annotation, Object
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_bytes

EDGES = ("xmin", "ymin", "xmax", "ymax")


def read_annotation(path: str | os.PathLike[str]) -> Annotation:
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
    objects: list[Object] = []
    notes: list[tuple[str, str]] = []
    truncated = 0
    for number, node in enumerate(root.findall("object"), 1):
        found = _objects_of(node, f"{where}: object {number}")
        objects.extend(found)
        truncated += (node.findtext("truncated") or "").strip() == "1"
        notes.extend(_notes_of(node, found, f"object {number} ({found[0].name})"))
    size = root.find("size")
    return Annotation(
        _whole(size, "width"), _whole(size, "height"), tuple(objects), tuple(notes), truncated
    )


def _objects_of(node: ElementTree.Element, where: str) -> list[Object]:
    name, difficult = "", False
    found: list[Object] = []
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
            found.append(Object(name, (xmin, ymin, xmax, ymax), difficult))
    if not found:
        raise UserError(f"{where}{f' ({name})' if name else ''}: no <bndbox>")
    return found


def _notes_of(
    node: ElementTree.Element, found: list[Object], where: str
) -> Iterator[tuple[str, str]]:
    tags = [child.tag for child in node]
    if "difficult" in tags[tags.index("bndbox") :]:
        yield "ignored flag", f"{where}: <difficult> after <bndbox> is ignored"
    if not all(edge.is_integer() for item in found for edge in item.box):
        yield "decimals in a box", f"{where}: VOC counts whole pixels; decimals are kept"


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
