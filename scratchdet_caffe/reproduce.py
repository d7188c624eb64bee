"""Run the paper's tables and figures, and put our numbers beside the paper's."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scratchdet_caffe.cli import Parser, run
from scratchdet_caffe.engines import DEVICES, ENGINES
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.paper_files import load_table, table_names
from scratchdet_caffe.experiment.paper_tables import SCALES

# The room imports numpy and more: --help does without.
if TYPE_CHECKING:
    from scratchdet_caffe.study.session import Session

ABOUT = """\
Train and score the rows of one of the paper's tables, each with every seed, and put what they
come to beside what the paper says. `reproduce list` shows all rows, with where the paper's
numbers stand and how sure they are. A study that was stopped or killed goes on where it was."""
EXAMPLE = """\
python -m scratchdet_caffe.reproduce list
  python -m scratchdet_caffe.reproduce table1 --scale mini --seeds 1 2 3
  python -m scratchdet_caffe.reproduce table1 --data VOCdevkit --device cuda --rows 'scratch-*'
  python -m scratchdet_caffe.reproduce table1 --dry-run"""


def main(argv: list[str]) -> int:
    """Run the command with ``argv``; return 1 if a cell failed, 128 + n after signal n."""
    args = _parser().parse_args(argv)
    if args.table == "list":
        from scratchdet_caffe.study.listing import listing

        print(listing([load_table(name) for name in table_names()]))
        return 0
    session = _session(args)
    if args.dry_run:
        from scratchdet_caffe.study.listing import dry_run

        print(dry_run(session, args.tflops))
        return 0
    return _run(session, args.as_is)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("reproduce", ABOUT, EXAMPLE)
    parser.add_argument(
        "table",
        help=f"list, {', '.join(table_names())}, or a TOML file with a table of one's own",
    )
    parser.add_argument("--scale", choices=SCALES, default="full", help="default: full")
    parser.add_argument(
        "--rows", nargs="+", default=[], metavar="ROW", help="names or patterns (default: all)"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], metavar="N", help="default: 1")
    parser.add_argument("--data", type=Path, metavar="DIR", help="VOCdevkit or COCO folder")
    parser.add_argument(
        "--pretrained",
        action="append",
        default=[],
        metavar="BACKBONE=FILE",
        help="weights of a pretrained row, e.g. vgg16=VGG_ILSVRC_16_layers_fc_reduced.caffemodel",
    )
    parser.add_argument("--out", default="runs", help="folder over all studies (default: runs)")
    parser.add_argument("--engine", choices=ENGINES, default="torch", help="default: torch")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="default: cpu")
    parser.add_argument(
        "--jobs", type=int, help="cells at a time (default: a core each on a CPU, 1 on a GPU)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads of each (default: cores / jobs)")
    parser.add_argument(
        "--max-iter", type=int, help="iterations, with the schedule shortened alike"
    )
    parser.add_argument("--batch", type=int, help="pictures at once; the passes follow")
    parser.add_settings("override any field of the recipes; the result says so and gets no verdict")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="render every cell's prototxts, say what it would cost, train nothing",
    )
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="write the table of the cells that have ended, run none",
    )
    parser.add_argument(
        "--tflops", type=float, metavar="X", help="speed that --dry-run assumes, 1e12 FLOPs/s"
    )
    return parser


def _session(args: argparse.Namespace) -> Session:
    from scratchdet_caffe.study.cells import Wish
    from scratchdet_caffe.study.datasets import Datasets
    from scratchdet_caffe.study.session import Session

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for flag in ("jobs", "threads", "batch", "max_iter"):
        if (number := getattr(args, flag)) is not None and number < 1:
            raise UserError(f"--{flag.replace('_', '-')} must be at least 1, not {number}")
    jobs = args.jobs or (1 if args.device == "cuda" else cores or 1)
    if args.tflops is not None and not args.tflops > 0:
        raise UserError(f"--tflops must be above 0, not {args.tflops:g}")
    seeds = tuple(dict.fromkeys(args.seeds))
    if min(seeds) < 0:
        raise UserError("--seeds: a seed is 0 or more")
    pretrained = {}
    for given in args.pretrained:
        backbone, equals, file = given.partition("=")
        if not (backbone and equals and file):
            raise UserError(f"--pretrained {given}: write it as BACKBONE=FILE")
        pretrained[backbone] = file
    wish = Wish(
        table=load_table(args.table),
        scale=args.scale,
        out=args.out,
        rows=tuple(args.rows),
        seeds=seeds,
        max_iter=args.max_iter,
        batch=args.batch,
        settings=tuple(args.settings),
        pretrained=pretrained,
        engine=args.engine,
        device=args.device,
    )
    threads = args.threads or max(1, (cores or 1) // jobs)
    return Session(wish, Datasets(args.out, wish.table.datasets, args.data), jobs, threads)


def _run(session: Session, as_is: bool) -> int:
    from scratchdet_caffe.report.samples import some_pictures
    from scratchdet_caffe.report.study_page import write_study
    from scratchdet_caffe.report.study_text import as_text, write_texts
    from scratchdet_caffe.study.processes import Stopped

    folder = session.wish.folder
    try:
        table, failed = (session.as_it_is(), []) if as_is else session.run()
    except Stopped:
        number = session.processes.stopped or signal.SIGTERM
        print(
            f"reproduce: {number.name}: stopped; the same command goes on from here",
            file=sys.stderr,
        )
        return 128 + number
    write_texts(folder, table)
    write_study(folder, table, some_pictures)
    print(as_text(table))
    print(f"\nwrote {folder}/: table.json, table.md, table.csv, table.html")
    for sentence in failed:
        print(f"reproduce: failed: {sentence}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    run("reproduce", main)
