"""Shapes of InnerProduct, Embed, Bias and Parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes.normalization import operand
from scratchdet_caffe.engine.shapes.registry import Shape, Spec, arity, axis_of, check, rule


@rule("InnerProduct")
def inner_product(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """InnerProduct: the axes from ``axis`` on become one of ``num_output``."""
    p = layer.inner_product_param
    arity(layer, bottoms, 1)
    check(layer, p.num_output > 0, "num_output must be at least 1")
    axis = axis_of(layer, p.axis, bottoms[0])
    inputs = math.prod(bottoms[0][axis:])
    weight = (inputs, p.num_output) if p.transpose else (p.num_output, inputs)
    top = (*bottoms[0][:axis], p.num_output)
    return Spec(
        tops=(top,),
        params=(weight, (p.num_output,)) if p.bias_term else (weight,),
        fillers=(p.weight_filler, p.bias_filler) if p.bias_term else (p.weight_filler,),
        flops=math.prod(top) * (2 * inputs + (1 if p.bias_term else 0)),
    )


@rule("Embed")
def embed(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Embed: a vector of ``num_output`` for each index."""
    p = layer.embed_param
    arity(layer, bottoms, 1)
    check(layer, p.num_output > 0, "num_output must be at least 1")
    check(layer, p.input_dim > 0, "input_dim must be at least 1")
    weight = (p.input_dim, p.num_output)
    return Spec(
        tops=((*bottoms[0], p.num_output),),
        params=(weight, (p.num_output,)) if p.bias_term else (weight,),
        fillers=(p.weight_filler, p.bias_filler) if p.bias_term else (p.weight_filler,),
        flops=math.prod(bottoms[0]) * p.num_output if p.bias_term else 0,
    )


@rule("Bias")
def bias(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Bias: add a blob (a parameter, or the second bottom) along ``axis``."""
    p = layer.bias_param
    term = operand(layer, bottoms, p.axis, p.num_axes)
    learned = len(bottoms) == 1
    return Spec(
        tops=(bottoms[0],),
        params=(term,) if learned else (),
        fillers=(p.filler,) if learned else (),
        flops=math.prod(bottoms[0]),
    )


@rule("Parameter")
def parameter(layer: pb.LayerParameter, bottoms: Sequence[Shape]) -> Spec:
    """Parameter: a learned blob as a top; it starts at 0."""
    arity(layer, bottoms, 0)
    shape = tuple(layer.parameter_param.shape.dim)
    check(layer, all(dim >= 0 for dim in shape), "a dim must not be negative")
    return Spec(tops=(shape,), params=(shape,), fillers=(None,))
