"""Score a trained detector on its test set: VOC's mAP, and the one of the training log.

Runs the TEST net once over the set through the pycaffe API, of whichever engine, and writes
``results/metrics.json``, ``results/detections.json`` and ``results/comp4_det_test_*.txt``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.cli import Parser, run, text_table
from scratchdet_caffe.engines import DEVICES, ENGINES, load_engine
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import write_text
from scratchdet_caffe.metrics import (
    ELEVEN_POINT,
    summary,
    write_detection_files,
    write_results,
)
from scratchdet_caffe.scoring import detect, read_test_net
from scratchdet_caffe.snapshots import find_snapshots

EXIT_BELOW_MINIMUM = 1


def newest_weights(folder: Path, solver: pb.SolverParameter) -> Path:
    """Return the ``.caffemodel`` of the last snapshot that ``solver`` left in ``folder``.

    Raises:
        UserError: There is none.
    """
    found = find_snapshots(str(folder / Path(solver.snapshot_prefix).name), ".caffemodel")
    if not found:
        raise UserError(
            f"{folder}: no *_iter_N.caffemodel in it; train first "
            f"(python -m scratchdet_caffe.train --solver {folder / 'solver.prototxt'})"
        )
    return found[-1]


def locate(args: Any) -> tuple[Path, Path, Path, str]:
    """Return net, weights, output folder, and the ap_version that the training log uses.

    Raises:
        UserError: The arguments do not say which, or a file is missing.
    """
    if args.job is None:
        if not (args.model and args.weights):
            raise UserError("give JOB_DIR, or --model test.prototxt and --weights W.caffemodel")
        model, weights, version = args.model, args.weights, "11point"
    elif not args.job.is_dir():
        raise UserError(f"{args.job}: no such folder (gen makes the folder of a job)")
    else:
        solver = read_solver(args.job / "solver.prototxt")
        model = args.model or args.job / "test.prototxt"
        weights = args.weights or newest_weights(args.job, solver)
        version = solver.ap_version
    if not weights.is_file():
        raise UserError(f"{weights}: no such weights file")
    return model, weights, args.out or (args.job or weights.parent) / "results", version


def print_table(metrics: dict[str, Any], out: Path) -> None:
    """Print AP per class and the mean, and where the files are."""
    rules = list(metrics["map"])
    rows = [
        [name, *(str(own[key]) for key in ("objects", "difficult", "detections"))]
        + [_ap(own["ap"][rule]) for rule in rules]
        for name, own in metrics["classes"].items()
    ]
    mean = ["mean", "", "", "", *(_ap(metrics["map"][rule]) for rule in rules)]
    head = ["class", "objects", "difficult", "found", *rules]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*head)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        table.add_section()
        table.add_row(*mean, style="bold")
        Console().print(table)
    else:
        print(text_table(head, [*rows, mean]))
    print(f"{metrics['weights']}, {metrics['images']} images -> {out / 'metrics.json'}")


def _ap(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def main(argv: Sequence[str]) -> int:
    """Run the command; return 1 if the mAP is below ``--min-map``."""
    parser = Parser(
        "evaluate",
        "Score a trained detector on its test set: AP per class and mAP by VOC's 11-point and\n"
        "area rules, and as in the training log.",
        "python -m scratchdet_caffe.evaluate models/root_resnet34/voc0712/release-caffe_300",
    )
    parser.add_argument(
        "job",
        nargs="?",
        type=Path,
        metavar="JOB_DIR",
        help="folder with test.prototxt and snapshots, of which the newest is scored",
    )
    parser.add_argument("--model", type=Path, help="another test.prototxt")
    parser.add_argument("--weights", type=Path, help="another .caffemodel")
    parser.add_argument("--engine", choices=ENGINES, default="torch")
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: JOB_DIR/results")
    parser.add_argument(
        "--min-map", type=float, metavar="X", help="exit with 1 if the 11-point mAP is lower"
    )
    args = parser.parse_args(argv)
    if args.min_map is not None and not 0 <= args.min_map <= 1:  # NaN is neither
        raise UserError(f"--min-map must be a number from 0 to 1, not {args.min_map}")
    model, weights, out, version = locate(args)
    test = read_test_net(model)

    caffe = load_engine(args.engine, device=args.device, nets=[model])
    net = caffe.Net(str(model), str(weights), caffe.TEST)
    started = time.monotonic()
    results, rows = detect(net, test)
    metrics = {
        "weights": str(weights),
        "model": str(model),
        "engine": args.engine,
        "device": args.device,
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "seconds": round(time.monotonic() - started, 2),
        **summary(
            results, test.threshold, rows.result(version) if test.evaluation else None, version
        ),
    }
    write_results(out / "detections.json", results)
    found = {name: detections for name, (detections, _) in results.by_class().items()}
    write_detection_files(out, [image.name for image in results.images], found)
    write_text(out / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    print_table(metrics, out)

    reached = metrics["map"][ELEVEN_POINT] or 0.0
    if args.min_map is not None and reached < args.min_map:
        print(f"evaluate: mAP {reached:.4f} is below --min-map {args.min_map}", file=sys.stderr)
        return EXIT_BELOW_MINIMUM
    return 0


if __name__ == "__main__":
    run("evaluate", main)
