"""Rules about sources and priors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scratchdet_caffe.analysis.detector import Head, Level
from scratchdet_caffe.analysis.lint.rules import ERROR, WARNING, Hit, net_rule
from scratchdet_caffe.analysis.lint.subject import Net
from scratchdet_caffe.analysis.view import LayerView


@dataclass(frozen=True)
class LevelProblem:
    """A prediction that does not fit its priors: its layer, what is wrong, and who reads it."""

    layer: str
    what: str
    reader: str


def level_problems(net: Net) -> list[LevelProblem]:
    """Return the predictions of ``net`` whose channels or map do not fit the priors."""
    return [
        problem
        for head in net.heads
        for level in head.levels
        for problem in _problems_of(net, head, level)
    ]


def _problems_of(net: Net, head: Head, level: Level) -> Iterator[LevelProblem]:
    per_cell, prior = level.priors_per_cell, level.prior
    if per_cell is None or prior is None:
        return
    for layer, each, what in (
        (level.loc, head.box_values, "box values"),
        (level.conf, head.classes, "classes"),
    ):
        if layer is None or layer.type != "Convolution" or not each:
            continue
        channels = layer.node.layer.convolution_param.num_output
        if channels != per_cell * each:
            yield LevelProblem(
                layer.name,
                f"has {channels} outputs, but {per_cell} priors per cell of '{prior.name}' with "
                f"{each} {what} each need {per_cell * each}",
                head.reader.name,
            )
        made, boxed = net.view.shapes[layer.node.tops[0]], prior.bottoms[0]
        if made and boxed and made[2:] != boxed[2:]:
            yield LevelProblem(
                layer.name,
                f"makes a map of {_map(made)}, but '{prior.name}' has priors for {_map(boxed)}",
                head.reader.name,
            )


@net_rule(
    "prior-count",
    ERROR,
    why="the loss and the output layer stop: 'Number of priors must match number of predictions'",
    do="make loc 4 (or 4 x classes) and conf one output per class and prior, on the priors' map",
    known="Caffe's multibox_loss_layer.cpp and detection_output_layer.cpp",
)
def prior_count(net: Net) -> Iterator[Hit]:
    """Predictions that do not match the number of priors per cell, or their map."""
    for problem in level_problems(net):
        yield Hit(problem.what, problem.layer)


@net_rule(
    "prior-step",
    WARNING,
    why="centres lie step apart whatever the map: too large a step puts priors outside the "
    "picture, where they match nothing; too small a step leaves part of it without",
    do="make step the input's side divided by the map's, or leave it out; or mend the stride and "
    "padding that make the map",
    known="the authors' Caffe release: 5x5 maps against steps of 100 and 300",
)
def prior_step(net: Net) -> Iterator[Hit]:
    """A map whose size disagrees with the step of its priors."""
    for layer in net.of_type("PriorBox"):
        p, (cells, image) = layer.node.layer.prior_box_param, layer.bottoms[:2]
        if cells is None or image is None or len(cells) != 4 or len(image) != 4:
            continue
        sides = [p.img_h or p.img_size or image[2], p.img_w or p.img_size or image[3]]
        steps = [p.step_h or p.step, p.step_w or p.step]
        for count, side, step in zip(cells[2:], sides, steps):
            # Rounding at each halving may add or lose a cell.
            if step and abs(count - side / step) >= max(1, 0.15 * count):
                last = (count - 1 + p.offset) * step
                yield Hit(
                    f"step {step:g} on {side} pixels suits a map of {side / step:.3g}, but it is "
                    f"one of {count}: the last centre is at {last:g}",
                    layer.name,
                )
                break


@net_rule(
    "tap-before-sum",
    WARNING,
    why="the head sees the last branch alone, without its shortcut and not normalised",
    do="predict from the sum, or from its activation",
    known="the authors' Caffe release (sources conv4_12, conv5_6, ...)",
)
def tap_before_sum(net: Net) -> Iterator[Hit]:
    """A source inside a residual branch: read before the sum."""
    view = net.view
    for value in dict.fromkeys(
        level.source for head in net.heads for level in head.levels if level.source is not None
    ):
        maker = view.maker(value)
        for reader in view.readers_of(value):
            if maker.type == "Convolution" and _adds_shortcut(net, reader, value):
                yield Hit("is a source, and is added to its shortcut only behind it", maker.name)


def _adds_shortcut(net: Net, layer: LayerView, branch: int) -> bool:
    """Tell whether ``layer`` adds to ``branch`` something that the branch itself began with."""
    p = layer.node.layer.eltwise_param
    if layer.type != "Eltwise" or p.operation != p.SUM:
        return False
    begins = _ancestors(net, branch)
    return any(_ancestors(net, other) & begins for other in layer.node.bottoms if other != branch)


def _ancestors(net: Net, value: int) -> set[int]:
    """Return the layers that ``value`` depends on, but for those without bottoms."""
    found: set[int] = set()
    waiting = [value]
    while waiting:
        index = net.view.makers[waiting.pop()]
        if index not in found and net.view.layers[index].node.bottoms:
            found.add(index)
            waiting += net.view.layers[index].node.bottoms
    return found


def _map(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[2:]))
