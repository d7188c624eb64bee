"""Prove on a net of one's own that two engines compute the same.

Both get the same weights and the same inputs. Every layer's output, every gradient and, with
--solver, what a few steps change are compared; the first layer that differs is named.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.cli import Parser, run, text_table
from scratchdet_caffe.engines import DEVICES
from scratchdet_caffe.errors import UserError

EXIT_DIFFERENT = 1
PHASES = {"train": pb.TRAIN, "test": pb.TEST}


def _parser() -> Parser:
    parser = Parser(
        "parity",
        "Compare two engines on one net, layer by layer: forward, backward and, with --solver, a\n"
        "few steps. Exit status 1 and the name of the layer at the first difference.",
        "python -m scratchdet_caffe.parity train.prototxt w.caffemodel --engines caffe,torch",
    )
    parser.add_argument(
        "net", type=Path, metavar="NET", help="a net prototxt, with or without data"
    )
    parser.add_argument("weights", type=Path, nargs="?", help="default: as the first engine fills")
    parser.add_argument(
        "--engines", default="caffe,torch", metavar="E,E",
        help="each torch or caffe, or torch:DIR or caffe:DIR to take its package from a folder "
        "(default: caffe,torch)",
    )  # fmt: skip
    parser.add_argument("--phase", choices=PHASES, default="train", help="default: train")
    parser.add_argument("--solver", type=Path, metavar="S", help="take steps by this solver's rule")
    parser.add_argument("--steps", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument(
        "--inputs", type=Path, metavar="F", help=".npz with the input blobs' arrays"
    )
    parser.add_argument("--seed", type=int, default=1, help="of inputs that are drawn (default: 1)")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="default: cpu")
    parser.add_argument(
        "--tolerance", metavar="F,B,S",
        help="largest error of forward, backward and steps, as a share of the blob's largest value "
        "(default: 1e-4,3e-4,1e-2)",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command; return 1 if the engines differ."""
    args = _parser().parse_args(argv)
    from scratchdet_caffe.comparison.engines import Engine
    from scratchdet_caffe.comparison.measure import first_difference
    from scratchdet_caffe.comparison.run import Comparison
    from scratchdet_caffe.comparison.run import run as compare

    engines = [Engine.parse(text) for text in args.engines.split(",")]
    if len(engines) != 2:
        raise UserError(f"--engines '{args.engines}': give two, with a comma between")
    if args.solver and args.phase == "test":
        raise UserError("--solver takes steps in the train phase: leave out --phase test")
    if args.steps < 1:
        raise UserError(f"--steps must be at least 1, not {args.steps}")
    for file in filter(None, (args.weights, args.solver)):
        if not file.is_file():
            raise UserError(f"{file}: no such file")
    tolerance = _tolerance(args.tolerance)
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        what = Comparison(
            args.net, engines, PHASES[args.phase], args.weights and args.weights.resolve(),
            args.solver, args.steps, args.inputs, args.seed, args.device,
        )  # fmt: skip
        outcome = compare(what, Path(folder))
    print("\n".join((*outcome.engines, *outcome.notes, "", _table(outcome.rows))))
    found = first_difference(outcome.rows, tolerance)
    if found is None:
        print("\nno layer differs")
        return 0
    print(
        f"\nfirst layer that differs: '{found.layer}' ({found.type}), {found.when}: "
        f"{found.error.what} is off by {found.error.absolute:.3g}, "
        f"{found.error.share:.2g} of its largest value"
    )
    return EXIT_DIFFERENT


def _tolerance(text: str | None) -> Any:
    from scratchdet_caffe.comparison.measure import Tolerance

    if text is None:
        return Tolerance()
    try:
        return Tolerance(*map(float, text.split(",")))
    except (TypeError, ValueError) as error:
        raise UserError(f"--tolerance '{text}' is not up to three numbers F,B,S") from error


def _table(rows: Sequence[Any]) -> str:
    steps = max((len(row.steps) for row in rows), default=0)
    head = (
        "layer",
        "type",
        "whole net",
        "forward",
        "backward",
        *(f"step {k + 1}" for k in range(steps)),
    )
    cells = [
        (row.layer, row.type, *map(_share, (row.whole, row.forward, row.backward, *row.steps)))
        + ("-",) * (steps - len(row.steps))
        for row in rows
    ]
    return text_table(head, cells)


def _share(error: Any) -> str:
    return "-" if error is None else f"{error.share:.1e}"


if __name__ == "__main__":
    run("parity", main)
