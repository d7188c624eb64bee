"""A picture of a net: ``caffe.draw``, as Graphviz text without needing pydot."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.graph import filter_net
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import written_aside

_FILL = {"Convolution": "#FF5050", "Deconvolution": "#FF5050", "Pooling": "#FF9900"}
_FILL |= {"InnerProduct": "#CC33FF"}


def to_dot(net: pb.NetParameter, rankdir: str = "LR", phase: int | None = None) -> str:
    """Return ``net`` as Graphviz text: boxes are layers, octagons are blobs.

    Args:
        net: A net as read from prototxt.
        rankdir: Direction of flow: LR, TB, BT or RL.
        phase: Draw only the layers of this phase.
    """
    if phase is not None:
        state = pb.NetState()
        state.phase = phase  # type: ignore[assignment]
        net = filter_net(net, state)
    blobs = dict.fromkeys(net.input)
    lines = []
    for i, layer in enumerate(net.layer):
        fill = _FILL.get(layer.type, "#6495ED")
        lines.append(f'  l{i} [label={_quoted(_label(layer))}, shape=box, fillcolor="{fill}"];')
        in_place = set(layer.bottom) & set(layer.top)
        for blob in layer.bottom:
            both = ", dir=both" if blob in in_place else ""
            lines.append(f"  {_quoted(blob)} -> l{i} [label={_quoted('')}{both}];")
        lines += [f"  l{i} -> {_quoted(blob)};" for blob in layer.top if blob not in in_place]
        blobs |= dict.fromkeys((*layer.bottom, *layer.top))
    nodes = [f'  {_quoted(blob)} [shape=octagon, fillcolor="#E0E0E0"];' for blob in blobs]
    head = [f"digraph {_quoted(net.name or 'net')} {{", f"  rankdir={rankdir};"]
    return "\n".join([*head, "  node [style=filled];", *nodes, *lines, "}", ""])


def _label(layer: pb.LayerParameter) -> str:
    label = f"{layer.name}\n({layer.type})"
    if layer.type in ("Convolution", "Deconvolution"):
        conv = layer.convolution_param
        kernel = "x".join(map(str, conv.kernel_size)) or f"{conv.kernel_h}x{conv.kernel_w}"
        label += f"\n{conv.num_output} outputs, kernel {kernel}"
    elif layer.type == "Pooling":
        pool = layer.pooling_param
        label += f"\n{pb.PoolingParameter.PoolMethod.Name(pool.pool)}, kernel {pool.kernel_size}"
    elif layer.type == "InnerProduct":
        label += f"\n{layer.inner_product_param.num_output} outputs"
    return label


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def draw_net(
    caffe_net: pb.NetParameter, rankdir: str, ext: str = "png", phase: int | None = None
) -> bytes:
    """Return a picture of the net in the format ``ext``; "dot" needs no Graphviz.

    Raises:
        UserError: Graphviz's ``dot`` is not installed, or does not know the format.
    """
    text = to_dot(caffe_net, rankdir, phase).encode()
    if ext in ("dot", "gv", "raw"):
        return text
    program = shutil.which("dot")
    if program is None:
        raise UserError(
            f"draw_net: '{ext}' needs Graphviz (its program `dot`); the format 'dot' does not"
        )
    done = subprocess.run([program, f"-T{ext}"], input=text, capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"draw_net: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def draw_net_to_file(
    caffe_net: pb.NetParameter,
    filename: str | os.PathLike[str],
    rankdir: str = "LR",
    phase: int | None = None,
) -> None:
    """Draw the net into ``filename``, in the format that its ending names."""
    ext = Path(filename).suffix.removeprefix(".") or "png"
    picture = draw_net(caffe_net, rankdir, ext, phase)
    with written_aside(filename) as stream:
        stream.write(picture)
