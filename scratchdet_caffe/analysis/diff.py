"""What differs between two nets or two solvers, by meaning and not by text."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scratchdet_caffe.analysis.fields import differing_fields
from scratchdet_caffe.analysis.matching import Matching, Wiring
from scratchdet_caffe.analysis.read import NetFile, SolverFile, read_prototxt_of_any_kind
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.errors import UserError

#: The files of a job that two job folders are compared by.
JOB_FILES = ("train.prototxt", "test.prototxt", "deploy.prototxt", "solver.prototxt")
KINDS = ("missing", "added", "renamed", "blob", "type", "field", "bottom", "order")


@dataclass(frozen=True)
class Difference:
    """One difference.

    Attributes:
        kind: One of `KINDS`: a layer (or file) missing on the right or added there, a layer or
            a blob renamed, its type, a field, what it reads, or its place in the file.
        layer: The layer, by its left name where it has one; empty for a net's or solver's own.
        type: The layer's type.
        field: Path of the field; for a bottom its index, for a blob its left name.
        left: What is on the left.
        right: What is on the right.
    """

    kind: str
    layer: str = ""
    type: str = ""
    field: str = ""
    left: str = ""
    right: str = ""

    def is_named(self, words: Collection[str]) -> bool:
        """Tell whether one of ``words`` means it: its kind, its field, or the field's last part."""
        own = {self.kind, self.field, self.field.rpartition(".")[2]}
        return not own.isdisjoint(words)


@dataclass(frozen=True)
class Comparison:
    """Two files and what differs; ``layers`` is how many layers have a partner."""

    left: str
    right: str
    layers: int
    differences: tuple[Difference, ...]


def compare(left: str | Path, right: str | Path, ignored: Collection[str] = ()) -> list[Comparison]:
    """Compare two nets, two solvers, or two job folders file by file.

    Args:
        left: A prototxt or a folder.
        right: One of the same kind.
        ignored: Kinds of differences and fields that do not count, e.g. ``renamed``, ``source``.

    Raises:
        UserError: A file is missing or wrong, or the two are not of one kind.
    """
    left, right = Path(left), Path(right)
    if left.is_dir() != right.is_dir():
        raise UserError(f"{left} and {right}: one is a folder, the other is not")
    if not left.is_dir():
        return [_compare_files(left, right, ignored)]
    names = [name for name in JOB_FILES if any((side / name).exists() for side in (left, right))]
    if not names:
        raise UserError(f"{left} and {right}: no {', '.join(JOB_FILES)} in these folders")
    return [_compare_in_folders(left / name, right / name, ignored) for name in names]


def _compare_in_folders(left: Path, right: Path, ignored: Collection[str]) -> Comparison:
    if left.exists() and right.exists():
        return _compare_files(left, right, ignored)
    kind = "missing" if left.exists() else "added"
    found = (Difference(kind),) if kind not in ignored else ()
    return Comparison(str(left), str(right), 0, found)


def _compare_files(left: Path, right: Path, ignored: Collection[str]) -> Comparison:
    a, b = read_prototxt_of_any_kind(left), read_prototxt_of_any_kind(right)
    pairs = 0
    if isinstance(a, SolverFile) and isinstance(b, SolverFile):
        found = list(compare_solvers(a.solver, b.solver))
    elif isinstance(a, NetFile) and isinstance(b, NetFile):
        for file in (a, b):
            if file.dialect:
                raise UserError(f"{file.dialect}; a field that is not known cannot be compared")
        pairs, found = compare_nets(a.net, b.net)
    else:
        raise UserError(f"{left} and {right}: one is a net, the other a solver")
    kept = tuple(difference for difference in found if not difference.is_named(ignored))
    return Comparison(a.path, b.path, pairs, kept)


def compare_solvers(left: pb.SolverParameter, right: pb.SolverParameter) -> Iterator[Difference]:
    """Yield the fields in which two solvers differ."""
    for field in differing_fields(left, right):
        yield Difference("field", field=field.path, left=field.left, right=field.right)


def compare_nets(left: pb.NetParameter, right: pb.NetParameter) -> tuple[int, list[Difference]]:
    """Compare two nets in the present format.

    Returns:
        How many layers have a partner, and the differences: those of the nets themselves, then
        of the layers in their order on the left, then layers without a partner, blobs, order.
    """
    matching = Matching(Wiring(left.layer), Wiring(right.layer))
    found = list(_own_fields(left, right))
    for i in sorted(matching.right_of):
        found += _differing_layers(matching, i, matching.right_of[i])
    for kind, wiring, partners in (
        ("missing", matching.left, matching.right_of),
        ("added", matching.right, matching.left_of),
    ):
        for k, layer in enumerate(wiring.layers):
            if k not in partners:
                found.append(Difference(kind, layer.name, layer.type))
    found += _renamed_blobs(matching)
    found += _moved(matching)
    return len(matching.right_of), found


def _own_fields(left: pb.NetParameter, right: pb.NetParameter) -> Iterator[Difference]:
    for field in differing_fields(_without_layers(left), _without_layers(right)):
        yield Difference("field", field=field.path, left=field.left, right=field.right)


def _without_layers(net: pb.NetParameter) -> pb.NetParameter:
    own = pb.NetParameter()
    own.CopyFrom(net)
    own.ClearField("layer")
    return own


def _differing_layers(matching: Matching, i: int, j: int) -> Iterator[Difference]:
    a, b = matching.left.layers[i], matching.right.layers[j]
    name, kind = a.name, a.type
    if a.name != b.name:
        yield Difference("renamed", name, kind, left=a.name, right=b.name)
    if a.type != b.type:
        yield Difference("type", name, kind, left=a.type, right=b.type)
    for field in differing_fields(matching.left.canonical[i], matching.right.canonical[j]):
        if field.path != "type":
            yield Difference("field", name, kind, field.path, field.left, field.right)
    left, right = matching.left.makers[i], matching.right.makers[j]
    for k in range(max(len(left), len(right))):
        sides = [_bottom_text(matching.left, i, k), _bottom_text(matching.right, j, k)]
        same = k < min(len(left), len(right)) and matching.partners(left[k]) == right[k]
        if not same and sides[0] != sides[1]:
            yield Difference("bottom", name, kind, str(k), *sides)
    if len(a.top) != len(b.top):
        yield Difference("field", name, kind, "top", str(list(a.top)), str(list(b.top)))


def _bottom_text(wiring: Wiring, i: int, k: int) -> str:
    """Return the blob of a bottom, with its maker where an in-place layer makes it."""
    layer = wiring.layers[i]
    if k >= len(layer.bottom):
        return "(none)"
    blob, makers = layer.bottom[k], wiring.makers[i][k]
    names = sorted({wiring.layers[maker].name for maker, _ in makers}) or ["nobody"]
    return blob if names == [blob] else f"{blob} (of {', '.join(names)})"


def _renamed_blobs(matching: Matching) -> Iterator[Difference]:
    """Yield the pairs of blob names that partners make, other than equal ones, once each.

    A blob that has its layer's name on both sides is renamed with it, and not told again.
    """
    told = set()
    for i, j in sorted(matching.right_of.items()):
        a, b = matching.left.layers[i], matching.right.layers[j]
        for names in zip(a.top, b.top):
            if names[0] != names[1] and names != (a.name, b.name) and names not in told:
                told.add(names)
                yield Difference("blob", a.name, a.type, names[0], *names)


def _moved(matching: Matching) -> Iterator[Difference]:
    """Yield the layers outside the longest run of partners that stand in the same order."""
    order = [(i, matching.right_of[i]) for i in sorted(matching.right_of)]
    keep = _longest_rise([j for _, j in order])
    for place, (i, j) in enumerate(order):
        if place not in keep:
            layer = matching.left.layers[i]
            before = [matching.left.layers[i - 1].name if i else "the start"]
            before.append(matching.right.layers[j - 1].name if j else "the start")
            yield Difference(
                "order",
                layer.name,
                layer.type,
                left=f"behind {before[0]}",
                right=f"behind {before[1]}",
            )


def _longest_rise(values: Sequence[int]) -> set[int]:
    """Return the places of a longest rising subsequence of ``values``."""
    ends: list[int] = []  # smallest last value of a rise of each length, and its place
    places: list[int] = []
    before: list[int] = []
    for place, value in enumerate(values):
        length = bisect.bisect_left(ends, value)
        ends[length : length + 1] = [value]
        places[length : length + 1] = [place]
        before.append(places[length - 1] if length else -1)
    kept: set[int] = set()
    place = places[-1] if places else -1
    while place >= 0:
        kept.add(place)
        place = before[place]
    return kept
