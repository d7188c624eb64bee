"""Which classes are taken for alike when errors are told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.errors import UserError, nearest

Groups = Sequence[Sequence[str]]


def _split(text: str) -> list[list[str]]:
    """Groups from lines of names with commas between."""
    return [[name.strip() for name in line.split(",")] for line in text.strip().splitlines()]


VOC = _split("""
    aeroplane, bicycle, boat, bus, car, motorbike, train
    bird, cat, cow, dog, horse, person, sheep
    chair, diningtable, sofa
    aeroplane, bird
    bottle
    pottedplant
    tvmonitor
""")
"""The sets of Hoiem et al. (2012): vehicles, animals and people, furniture, what flies."""

COCO = _split("""
    person
    bicycle, car, motorcycle, airplane, bus, train, truck, boat
    traffic light, fire hydrant, stop sign, parking meter, bench
    bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe
    backpack, umbrella, handbag, tie, suitcase
    frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, \
        surfboard, tennis racket
    bottle, wine glass, cup, fork, knife, spoon, bowl
    banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake
    chair, couch, potted plant, bed, dining table, toilet
    tv, laptop, mouse, remote, keyboard, cell phone
    microwave, oven, toaster, sink, refrigerator
    book, clock, vase, scissors, teddy bear, hair drier, toothbrush
""")
"""COCO's supercategories."""


def known_groups(classes: Iterable[str]) -> Groups:
    """Return VOC's or COCO's groups if all ``classes`` are theirs, else none."""
    names = set(classes)
    for groups in (VOC, COCO):
        if names <= {name for group in groups for name in group}:
            return groups
    return []


def parse_groups(text: str, classes: Sequence[str]) -> Groups:
    """Read groups as a user gives them, ``a,b;c,d,e``.

    Raises:
        UserError: A name is no class.
    """
    groups = _split(text.replace(";", "\n"))
    for name in (name for group in groups for name in group):
        if name not in classes:
            raise UserError(f"similar classes: '{name}' is no class{nearest(name, classes)}")
    return groups


def similarity(classes: Sequence[str], groups: Groups) -> npt.NDArray[np.bool_]:
    """Return which of C classes are alike, ``(C, C)``; none is like itself."""
    alike = [
        [a != b and any(a in group and b in group for group in groups) for b in classes]
        for a in classes
    ]
    return np.array(alike, np.bool_).reshape(len(classes), len(classes))
