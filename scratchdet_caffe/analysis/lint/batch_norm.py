"""Rules about BatchNorm inside one net."""

from __future__ import annotations

from collections.abc import Iterator

from scratchdet_caffe.analysis.lint.rules import (
    NOTE,
    WARNING,
    Hit,
    file_rule,
    net_rule,
)
from scratchdet_caffe.analysis.lint.subject import Net
from scratchdet_caffe.analysis.read import NetFile

#: Images per pass below which a batch's own statistics are too rough.
SMALL_BATCH = 8


@file_rule(
    "bn-rates",
    WARNING,
    why="the statistics are no parameters: this Caffe ignores three such entries and refuses "
    "fewer, and others let the solver step on the running averages",
    do="write lr_mult: 0 decay_mult: 0 three times, or no param at all",
    known="BVLC/caffe#4704 and #5120; 'Cannot configure batch normalization statistics as layer "
    "parameters'",
)
def bn_rates(file: NetFile) -> Iterator[Hit]:
    """A BatchNorm whose statistics have a learning rate."""
    for layer in file.raw.layer:
        rates = [spec.lr_mult for spec in layer.param]
        # Fewer than three are refused, and told as such by the rule about shapes.
        if layer.type == "BatchNorm" and len(rates) == 3 and any(rates):
            yield Hit(
                f"lr_mult of its statistics is {', '.join(map('{:g}'.format, rates))}", layer.name
            )


@net_rule(
    "bn-frozen",
    WARNING,
    why="the running averages are used and never moved: from scratch they stay at 0, and the loss "
    "is not finite",
    do="remove use_global_stats, unless you start from weights and freeze on purpose",
    known="Caffe's batch_norm_layer.cpp",
)
def bn_frozen(net: Net) -> Iterator[Hit]:
    """A training net whose BatchNorm uses stored statistics."""
    for layer in net.of_type("BatchNorm"):
        if net.trains and layer.node.layer.batch_norm_param.use_global_stats:
            yield Hit("use_global_stats: true in a training net", layer.name)


@net_rule(
    "bn-batch-at-test",
    WARNING,
    why="what is found in a picture depends on the other pictures of its batch",
    do="remove use_global_stats: in TEST it is true by itself",
    known="Caffe's batch_norm_layer.cpp",
)
def bn_batch_at_test(net: Net) -> Iterator[Hit]:
    """A test net whose BatchNorm uses the batch's own statistics."""
    for layer in net.of_type("BatchNorm"):
        p = layer.node.layer.batch_norm_param
        if not net.trains and p.HasField("use_global_stats") and not p.use_global_stats:
            yield Hit("use_global_stats: false outside training", layer.name)


@net_rule(
    "bn-without-scale",
    NOTE,
    why="Caffe's BatchNorm has no scale and shift of its own, so what follows sees zero mean and "
    "unit variance only",
    do="put a Scale layer with bias_term: true behind it",
    known="Caffe's batch_norm_layer.hpp",
)
def bn_without_scale(net: Net) -> Iterator[Hit]:
    """A BatchNorm in training without a Scale behind it."""
    for layer in net.of_type("BatchNorm"):
        readers = {reader.type for reader in net.view.readers_of(layer.node.tops[0])}
        if net.trains and not readers & {"Scale", "Convolution", "InnerProduct"}:
            yield Hit("no Scale layer reads it", layer.name)


@net_rule(
    "bn-small-batch",
    WARNING,
    why="the statistics of so few images are rough, and iter_size and more GPUs do not help: each "
    "pass and each GPU has its own",
    do="raise batch_size (smaller input, narrower net), or synchronise BatchNorm over the GPUs",
    known="szq0214/DSOD (12 images per card: +1.2 mAP), BVLC/caffe#5927",
)
def bn_small_batch(net: Net) -> Iterator[Hit]:
    """BatchNorm in training on few images at a time."""
    learning = [
        layer
        for layer in net.of_type("BatchNorm")
        if not layer.node.layer.batch_norm_param.use_global_stats
    ]
    if net.trains and learning and net.data and net.batch and net.batch < SMALL_BATCH:
        yield Hit(f"batch_size is {net.batch}, below {SMALL_BATCH}", net.data.name)


@net_rule(
    "head-without-bn",
    NOTE,
    why="from scratch, BatchNorm on both was best (78.7 against 78.0 mAP on VOC 2007)",
    do="train from scratch with BatchNorm and Scale behind each prediction (--bn both)",
    known="the paper's Table 1; the release has it for COCO and not for VOC",
)
def head_without_bn(net: Net) -> Iterator[Hit]:
    """Predictions without BatchNorm on a backbone with it."""
    pairs = zip(net.view.layers, net.groups)
    backbone = any(layer.type == "BatchNorm" and g.part == "backbone" for layer, g in pairs)
    for head in net.heads if backbone and net.trains else ():
        layers = [net.view.layers[index] for index in head.layers]
        predicted = any(level.loc for level in head.levels)
        if predicted and not any(layer.type == "BatchNorm" for layer in layers):
            yield Hit(f"the {head.name} head has no BatchNorm, the backbone has", head.reader.name)
