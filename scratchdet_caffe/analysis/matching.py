"""Which layer of one net is which layer of another, whatever they are called."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from scratchdet_caffe.analysis.fields import canonical_layer, differing_fields
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.graph import state_meets

#: Who makes a bottom, in any phase: (layer, top) indices.
Makers = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Wiring:
    """All layers of a net, of every phase, and who makes what they read."""

    layers: Sequence[pb.LayerParameter]

    @cached_property
    def canonical(self) -> list[pb.LayerParameter]:
        """The layers without their wiring, in canonical form."""
        return [canonical_layer(layer) for layer in self.layers]

    @cached_property
    def makers(self) -> list[list[Makers]]:
        """Per layer and bottom, who makes it; empty where nobody does."""
        found: list[list[set[tuple[int, int]]]] = [
            [set() for _ in layer.bottom] for layer in self.layers
        ]
        for phase in (pb.TRAIN, pb.TEST):
            last: dict[str, tuple[int, int]] = {}
            for i, layer in enumerate(self.layers):
                if not _is_in(layer, phase):
                    continue
                for k, blob in enumerate(layer.bottom):
                    if blob in last:
                        found[i][k].add(last[blob])
                last.update((blob, (i, k)) for k, blob in enumerate(layer.top))
        return [[frozenset(makers) for makers in bottoms] for bottoms in found]

    @cached_property
    def _read(self) -> list[set[int]]:
        return [{i for makers in bottoms for i, _ in makers} for bottoms in self.makers]

    @cached_property
    def _readers(self) -> list[set[int]]:
        return [
            {i for i, read in enumerate(self._read) if k in read} for k in range(len(self._read))
        ]

    def neighbours(self, down: bool) -> list[set[int]]:
        """Return, per layer, the layers that read it (down) or that it reads."""
        return self._readers if down else self._read


def _is_in(layer: pb.LayerParameter, phase: int) -> bool:
    """Tell whether ``layer`` may be there in ``phase``, in some stage or level."""

    def meets(rule: pb.NetStateRule) -> bool:
        own = pb.NetStateRule()
        if rule.HasField("phase"):
            own.phase = rule.phase
        state = pb.NetState()
        state.phase = phase  # type: ignore[assignment]
        return state_meets(own, state)

    if layer.include:
        return any(meets(rule) for rule in layer.include)
    return not any(meets(rule) and not rule.stage for rule in layer.exclude)


class Matching:
    """Pairs of layers of two nets: ``right_of[i]`` is the partner of the left layer ``i``.

    Layers match by name, where the name is somebody's choice; then by wiring, from the inputs
    on and from the outputs back; then by the partners nearest to them, and at last by their
    place in the file.
    """

    def __init__(self, left: Wiring, right: Wiring) -> None:
        self.left, self.right = left, right
        self.right_of: dict[int, int] = {}
        self.left_of: dict[int, int] = {}
        self._by_name()
        self._by_wiring()
        self._by_surroundings()
        self._by_wiring()
        self._by_place()

    def _pair(self, i: int, j: int) -> None:
        self.right_of[i], self.left_of[j] = j, i

    def _free(self) -> tuple[list[int], list[int]]:
        return (
            [i for i in range(len(self.left.layers)) if i not in self.right_of],
            [j for j in range(len(self.right.layers)) if j not in self.left_of],
        )

    def _by_name(self) -> None:
        """Pair equal names; of layers for several phases, those with the same rules first."""
        for same_rules in (True, False):
            by_name: dict[tuple[str, str], list[int]] = {}
            for j in self._free()[1]:
                layer = self.right.layers[j]
                by_name.setdefault((layer.name, _rules(layer) if same_rules else ""), []).append(j)
            for i in self._free()[0]:
                layer = self.left.layers[i]
                key = (layer.name, _rules(layer) if same_rules else "")
                if by_name.get(key) and not _is_automatic(layer):
                    self._pair(i, by_name[key].pop(0))

    def _by_wiring(self) -> None:
        """Pair layers of one type that read, or are read by, partners."""
        before = -1
        while before != len(self.right_of):
            before = len(self.right_of)
            readers: dict[object, list[int]] = {}
            for j in self._free()[1]:
                readers.setdefault(_role(self.right, j, self.right.makers[j]), []).append(j)
            for i in self._free()[0]:
                makers = [self.partners(makers) for makers in self.left.makers[i]]
                if candidates := readers.get(_role(self.left, i, makers)):
                    best = min(candidates, key=lambda j: self._unlikeness(i, j))
                    candidates.remove(best)
                    self._pair(i, best)
            if before == len(self.right_of):
                self._pair_makers()

    def partners(self, makers: Makers) -> Makers:
        """Return the partners, on the right, of makers on the left; -1 for one without."""
        return frozenset((self.right_of.get(i, -1), top) for i, top in makers)

    def _unlikeness(self, i: int, j: int) -> tuple[bool, bool, int, int]:
        a, b = self.left.layers[i], self.right.layers[j]
        fields = differing_fields(self.left.canonical[i], self.right.canonical[j])
        return a.name != b.name, list(a.top) != list(b.top), sum(1 for _ in fields), j

    def _pair_makers(self) -> None:
        """Pair the makers of what partners read at the same bottom, if of one type."""
        for i, j in list(self.right_of.items()):
            for left, right in zip(self.left.makers[i], self.right.makers[j]):
                if len(left) == len(right) == 1:
                    ((a, _),), ((b, _),) = left, right
                    same_type = self.left.layers[a].type == self.right.layers[b].type
                    if same_type and a not in self.right_of and b not in self.left_of:
                        self._pair(a, b)

    def _by_surroundings(self) -> None:
        """Pair layers of one type whose nearest partners, down or up the net, are partners."""
        for down in (True, False):
            near: dict[object, list[int]] = {}
            for j in self._free()[1]:
                found = _nearest(self.right, j, self.left_of, down)
                near.setdefault((self.right.layers[j].type, found), []).append(j)
            for i in self._free()[0]:
                found = _nearest(self.left, i, self.right_of, down)
                partners = frozenset(self.right_of[k] for k in found)
                if partners and (same := near.get((self.left.layers[i].type, partners))):
                    self._pair(i, same.pop(0))

    def _by_place(self) -> None:
        """Pair what is left between the same partners and equal in all fields, in order."""
        left = _gaps(len(self.left.layers), dict(self.right_of))
        right = _gaps(len(self.right.layers), {j: j for j in self.left_of})
        for gap in left.keys() & right.keys():
            matcher = difflib.SequenceMatcher(
                a=_contents(self.left, left[gap]),
                b=_contents(self.right, right[gap]),
                autojunk=False,
            )
            for block in matcher.get_matching_blocks():
                for k in range(block.size):
                    self._pair(left[gap][block.a + k], right[gap][block.b + k])


def _nearest(wiring: Wiring, k: int, partners: dict[int, int], down: bool) -> frozenset[int]:
    """Return the nearest layers with a partner that read ``k`` (down) or that it reads."""
    found, seen, waiting = set(), {k}, [k]
    while waiting:
        for other in wiring.neighbours(down)[waiting.pop()]:
            if other in partners:
                found.add(other)
            elif other not in seen:
                seen.add(other)
                waiting.append(other)
    return frozenset(found)


def _contents(wiring: Wiring, layers: Sequence[int]) -> list[bytes]:
    return [wiring.canonical[k].SerializeToString(deterministic=True) for k in layers]


def _gaps(count: int, anchors: dict[int, int]) -> dict[int, list[int]]:
    """Return the layers without a partner by the anchor before them (-1 at the start)."""
    found: dict[int, list[int]] = {}
    before = -1
    for k in range(count):
        if k in anchors:
            before = anchors[k]
        else:
            found.setdefault(before, []).append(k)
    return found


def _role(wiring: Wiring, k: int, makers: Sequence[Makers]) -> object:
    """Return what two layers share that do the same at the same place."""
    layer = wiring.layers[k]
    known = all(maker and all(i >= 0 for i, _ in maker) for maker in makers)
    # A layer that reads what has no partner shares its place with none.
    return (layer.type, tuple(makers), _rules(layer) if not makers else "") if known else object()


def _rules(layer: pb.LayerParameter) -> str:
    return str([*layer.include, "/", *layer.exclude])


def _is_automatic(layer: pb.LayerParameter) -> bool:
    """Tell whether the name is NetSpec's own: the type and a running number."""
    return re.fullmatch(rf"{re.escape(layer.type)}\d+", layer.name) is not None
