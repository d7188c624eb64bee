"""The options of `gen` for nets that are there already, and what they do."""

from __future__ import annotations

import argparse
import sys

from scratchdet_caffe.analysis.diff import compare
from scratchdet_caffe.analysis.diff_text import comparisons_json, comparisons_text
from scratchdet_caffe.analysis.draw import draw
from scratchdet_caffe.analysis.lint import Severity, lint
from scratchdet_caffe.analysis.lint_text import findings_json, findings_text
from scratchdet_caffe.analysis.read import read_net_file
from scratchdet_caffe.analysis.summary import summarise
from scratchdet_caffe.analysis.summary_text import summary_json, summary_text
from scratchdet_caffe.analysis.view import NetView, view_net
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.shapes import Shape
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import write_text


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the tools for any prototxt to the command's options."""
    tools = parser.add_argument_group("tools for any prototxt, of any age")
    one = tools.add_mutually_exclusive_group()
    one.add_argument(
        "--summary",
        metavar="NET",
        help="print layers, shapes, parameters, FLOPs, receptive fields and strides",
    )
    one.add_argument(
        "--diff",
        nargs=2,
        metavar=("LEFT", "RIGHT"),
        help="compare two nets, solvers or job folders by meaning; status 1 if they differ",
    )
    one.add_argument(
        "--lint",
        nargs="+",
        metavar="PATH",
        help="say what would bite in training: nets, solvers or job folders (on --gpus); "
        "status 1 on errors",
    )
    one.add_argument(
        "--draw",
        nargs=2,
        metavar=("NET", "OUT.svg"),
        help="draw stages, sources and heads, with shapes; blocks that repeat are drawn once",
    )
    tools.add_argument(
        "--ignore",
        metavar="WORD",
        action="append",
        default=[],
        help="--diff: a field (source) or kind (renamed, blob, order) that does not count; "
        "--lint: a rule to leave out; may be repeated",
    )
    tools.add_argument("--strict", action="store_true", help="--lint: status 1 on warnings, too")
    tools.add_argument("--phase", choices=("TRAIN", "TEST"), help="the net of this phase")
    tools.add_argument(
        "--stage", action="append", default=[], help="a stage of NetState rules; may be repeated"
    )
    tools.add_argument(
        "--input",
        metavar="BLOB=N,C,H,W",
        action="append",
        default=[],
        help="shape of an input that the net does not tell, or another one; may be repeated",
    )
    tools.add_argument("--json", action="store_true", help="print JSON instead of text")


def run_tool(args: argparse.Namespace) -> int | None:
    """Run the tool that ``args`` ask for and return its exit status; None if they ask for none."""
    if args.summary:
        summary = summarise(_view(args, args.summary))
        print(summary_json(summary) if args.json else summary_text(summary))
        return 0
    if args.diff:
        left, right = args.diff
        comparisons = compare(left, right, args.ignore)
        print(comparisons_json(comparisons) if args.json else comparisons_text(comparisons))
        return int(any(comparison.differences for comparison in comparisons))
    if args.lint:
        return _lint(args)
    if args.draw:
        net, picture = args.draw
        if not picture.endswith(".svg"):
            raise UserError(f"--draw: '{picture}' must end in .svg, the format it is drawn in")
        write_text(picture, draw(_view(args, net)))
        print(f"wrote {picture}")
        return 0
    return None


def _lint(args: argparse.Namespace) -> int:
    gpus = len(args.gpus.split(",")) if args.gpus else None
    found = {path: lint(path, args.ignore, gpus, _phase(args)) for path in args.lint}
    if args.json:
        print(findings_json(found))
    else:
        print("\n\n".join(findings_text(*item) for item in found.items()))
    worst = max((f.severity for findings in found.values() for f in findings), default=-1)
    return int(worst >= (Severity.WARNING if args.strict else Severity.ERROR))


def _view(args: argparse.Namespace, path: str) -> NetView:
    file = read_net_file(path)
    if file.dialect:
        note = f"note: {file.dialect}; fields that are not known here are left out"
        print(note, file=sys.stderr)
    return view_net(file.net, file.path, _phase(args), args.stage, dict(map(_input, args.input)))


def _phase(args: argparse.Namespace) -> int | None:
    return pb.Phase.Value(args.phase) if args.phase else None


def _input(text: str) -> tuple[str, Shape]:
    """Read ``data=1,3,300,300``."""
    blob, _, dims = text.rpartition("=")
    sizes = dims.replace("x", ",").split(",")
    if not blob or not all(size.strip().isdigit() and int(size) for size in sizes):
        raise UserError(f"--input '{text}': must be BLOB=SIZES, e.g. data=1,3,300,300")
    return blob, tuple(map(int, sizes))
