"""A synthetic detection set in VOC layout: five kinds of shapes on textured grounds.

Form alone tells the classes apart: colour, texture, rotation and contrast are drawn alike for
all. Sides are log-uniform, by default from 0.22 to 0.6 of the picture (before an aspect ratio
between 0.8 and 1.25); one in ten is tiny, 0.07 to 0.11, and marked difficult, as is what is mostly
hidden behind other shapes. A picture holds one to five shapes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from scratchdet_caffe.data.annotation import Object
from scratchdet_caffe.data.folders import folder_aside
from scratchdet_caffe.data.parallel import tracked
from scratchdet_caffe.data.pixels import Pixels
from scratchdet_caffe.data.voc import EDGES
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import write_text

Floats = npt.NDArray[np.float32]
CLASSES = ("circle", "ring", "square", "star", "triangle")

SMALLEST, LARGEST = 32, 4096  # pictures, pixels a side
SHORTEST, LONGEST = 4, 0.7  # sides of shapes: pixels, and share of the picture
SIDES, TINY_SIDES = (0.22, 0.6), (0.07, 0.11)
TINY_SHARE = 0.1
MOST_COVERED = 0.15  # of a shape by one drawn over it
VISIBLE = 0.5  # below this share of its pixels a shape is difficult
CONTRAST = 60  # least distance of mean grey between a shape and the ground behind it
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn.

    Attributes:
        size: Width and height of each, pixels.
        seed: Every picture is a function of (seed, its number) alone.
        sides: Shares of the picture between which the sides of shapes are drawn.
        tiny: Share of the shapes that are tiny, and difficult.

    Raises:
        UserError: A number is too small or too large.
    """

    size: int
    seed: int
    sides: tuple[float, float] = SIDES
    tiny: float = TINY_SHARE

    def __post_init__(self) -> None:
        low, high = self.sides
        if not SMALLEST <= self.size <= LARGEST:
            raise UserError(f"shapes: pictures of {SMALLEST} to {LARGEST} pixels, not {self.size}")
        if not SHORTEST / self.size <= low <= high <= LONGEST:
            raise UserError(
                f"shapes: sides of {SHORTEST / self.size:.3g} ({SHORTEST} pixels) to {LONGEST} of "
                f"the picture, the lower one first, not {low:g} to {high:g}"
            )
        if not 0 <= self.tiny <= 1:
            raise UserError(f"shapes: the share of tiny shapes is {self.tiny:g}, but is 0 to 1")


def write_shapes(folder: Path, train: int, test: int, drawing: Drawing) -> None:
    """Write the set to ``folder``: JPEGImages, Annotations, ImageSets/Main/{trainval,test}.txt.

    Args:
        folder: Written aside first; an older one is replaced.
        train: Pictures for training.
        test: Pictures for testing.
        drawing: How they are drawn.

    Raises:
        UserError: A set without pictures, or the folder cannot be written.
    """
    if min(train, test) < 1:
        raise UserError("shapes: at least one picture in each set")
    size = drawing.size
    with folder_aside(folder) as aside:
        for name in ("JPEGImages", "Annotations"):
            (aside / name).mkdir()
        stems = [f"shapes_{number:06d}" for number in range(train + test)]
        for number, stem in enumerate(tracked(stems, len(stems), "drawing shapes")):
            sequence = np.random.SeedSequence((drawing.seed, number))
            picture, objects = draw_picture(
                drawing, np.random.Generator(np.random.Philox(sequence))
            )
            jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            (aside / "JPEGImages" / f"{stem}.jpg").write_bytes(jpeg.tobytes())
            (aside / "Annotations" / f"{stem}.xml").write_text(_xml(stem, size, objects))
        sets = aside / "ImageSets" / "Main"
        write_text(sets / "trainval.txt", "".join(f"{stem}\n" for stem in stems[:train]))
        write_text(sets / "test.txt", "".join(f"{stem}\n" for stem in stems[train:]))


@dataclass
class _Shape:
    name: str
    tiny: bool
    mask: Floats  # (size, size): how much of each pixel it covers, and nothing hides
    pixels: float  # what it covered when it was drawn
    box: tuple[float, float, float, float]

    def as_object(self) -> Object:
        hidden = float(self.mask.sum()) < VISIBLE * self.pixels
        return Object(self.name, self.box, self.tiny or hidden)


def draw_picture(drawing: Drawing, rng: np.random.Generator) -> tuple[Pixels, list[Object]]:
    """Draw one picture ``(size, size, 3)`` and return it with its objects."""
    size = drawing.size
    canvas = _ground(size, rng)
    shapes: list[_Shape] = []
    for _ in range(int(rng.integers(1, 6))):
        shape = _placed(drawing, shapes, rng)
        if shape is None:
            continue
        behind = float((canvas.mean(axis=2) * shape.mask).sum()) / shape.pixels
        paint = _texture(size, _contrasting(behind, rng), rng.uniform(0, 12), rng)
        canvas += (paint - canvas) * shape.mask[..., None]
        for other in shapes:
            other.mask *= 1 - shape.mask
        shapes.append(shape)
    canvas += rng.normal(0, rng.uniform(2, 7), canvas.shape)
    picture = np.rint(canvas).clip(0, 255).astype(np.uint8)
    return picture, [shape.as_object() for shape in shapes]


def _placed(drawing: Drawing, others: list[_Shape], rng: np.random.Generator) -> _Shape | None:
    """Return a shape at a place where it does not hide too much, or None if there is none."""
    size = drawing.size
    name, tiny = CLASSES[int(rng.integers(len(CLASSES)))], rng.random() < drawing.tiny
    low, high = TINY_SIDES if tiny else drawing.sides
    side = size * math.exp(rng.uniform(math.log(low), math.log(high)))
    for _ in range(20):
        mask = _mask(name, side, size, rng)
        if all((mask * other.mask).sum() <= MOST_COVERED * other.pixels for other in others):
            rows, columns = np.nonzero(mask > 0.3)
            # VOC counts pixels from 1, and a box includes its last pixel.
            box = (columns.min() + 1, rows.min() + 1, columns.max() + 1, rows.max() + 1)
            edges = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
            return _Shape(name, tiny, mask, float(mask.sum()), edges)
    return None


def _mask(name: str, side: float, size: int, rng: np.random.Generator) -> Floats:
    """Draw the outline of a shape, stretched, turned and somewhere inside the picture."""
    stretch, angle = math.sqrt(rng.uniform(0.8, 1.25)), rng.uniform(0, 2 * math.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    outlines = [points * [stretch, 1 / stretch] @ turn * side / 2 for points in OUTLINES[name]]
    reach = np.abs(outlines[0]).max(axis=0) + 1
    centre = rng.uniform(reach, size - 1 - reach)
    mask = np.zeros((size, size), np.uint8)
    for points, value in zip(outlines, (255, 0)):  # a second outline is a hole
        fixed = np.rint((points + centre) * 16).astype(np.int32)  # 1/16 pixel: shift=4
        cv2.fillPoly(mask, [fixed], value, cv2.LINE_AA, shift=4)
    return np.asarray(mask / 255, np.float32)


def _regular(corners: int, radius: float = 1.0, inner: float | None = None) -> Floats:
    """Return a regular polygon ``(corners, 2)``, or a star that dips to ``inner``."""
    count = corners if inner is None else 2 * corners
    angles = np.arange(count) * 2 * math.pi / count
    radii = np.full(count, radius)
    if inner is not None:
        radii[1::2] = inner
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    return np.asarray(points, np.float32)


# In units of half a side. A second outline is a hole.
OUTLINES: dict[str, list[Floats]] = {
    "circle": [_regular(40)],
    "ring": [_regular(40), _regular(40, 0.55)],
    "square": [_regular(4, 1.15)],
    "star": [_regular(5, 1.1, 0.45)],
    "triangle": [_regular(3, 1.15)],
}


def _ground(size: int, rng: np.random.Generator) -> Floats:
    """Return a textured ground with a few lines that are no object."""
    grey = rng.uniform(60, 195)
    canvas = _texture(size, grey + rng.uniform(-30, 30, 3), rng.uniform(5, 15), rng)
    for _ in range(int(rng.integers(0, 3))):
        start, end = rng.integers(0, size, (2, 2)).tolist()
        cv2.line(canvas, start, end, (grey + rng.uniform(-40, 40, 3)).tolist(), 1)
    return canvas


def _texture(
    size: int, colour: npt.NDArray[np.float64], strength: float, rng: np.random.Generator
) -> Floats:
    """Return ``(size, size, 3)`` around ``colour``: clouds, stripes or checks."""
    kind, angle = int(rng.integers(3)), rng.uniform(0, math.pi)
    if kind == 0:
        grains = rng.normal(0, 0.6, (int(rng.integers(3, 14)),) * 2 + (3,)).astype(np.float32)
        field = np.asarray(cv2.resize(grains, (size, size), interpolation=cv2.INTER_CUBIC))
    else:
        y, x = np.mgrid[:size, :size] * (rng.uniform(3, 12) * 2 * math.pi / size)
        along = np.sin(x * math.cos(angle) + y * math.sin(angle))
        across = np.sin(y * math.cos(angle) - x * math.sin(angle))
        field = (along if kind == 1 else np.sign(along * across))[..., None]
    return (colour + strength * field).astype(np.float32)


def _contrasting(behind: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a random colour whose mean grey is at least CONTRAST away from ``behind``."""
    while True:
        colour = rng.uniform(15, 240, 3)
        if abs(colour.mean() - behind) >= CONTRAST:
            return colour


def _xml(stem: str, size: int, objects: list[Object]) -> str:
    parts = [
        f"<annotation>\n\t<filename>{stem}.jpg</filename>\n\t<size>\n\t\t<width>{size}</width>\n"
        f"\t\t<height>{size}</height>\n\t\t<depth>3</depth>\n\t</size>\n"
    ]
    for item in objects:
        edges = "".join(f"<{tag}>{edge:g}</{tag}>" for tag, edge in zip(EDGES, item.box))
        parts.append(
            f"\t<object>\n\t\t<name>{item.name}</name>\n"
            f"\t\t<difficult>{item.difficult:d}</difficult>\n"
            f"\t\t<bndbox>{edges}</bndbox>\n\t</object>\n"
        )
    return "".join(parts) + "</annotation>\n"
