"""``python -m scratchdet_caffe.report``: the page of a job, CSV, plots and events of a log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scratchdet_caffe.cli import Parser, run
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import write_text, written_aside
from scratchdet_caffe.report.export import csv_tables
from scratchdet_caffe.report.job import read_job
from scratchdet_caffe.report.log import read_log

# matplotlib and OpenCV are imported by what needs them, so that --help answers at once.


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    if argv[:1] and argv[0] in _SUBCOMMANDS:
        return _SUBCOMMANDS[argv[0]](argv[1:])
    parser = Parser(
        "report",
        "Write one HTML page about a job: curves, AP per class, precision and recall, pictures.\n"
        "Of any Caffe log, `report log FILE` makes CSV and plots, `report events FILE` files for\n"
        "TensorBoard; `report watch RUN` shows a run on the terminal while it goes on.",
        "python -m scratchdet_caffe.report models/root_resnet18/shapes/mini_128",
    )
    parser.add_argument("job", type=Path, metavar="JOB_DIR", help="the folder of a job")
    parser.add_argument("--out", type=Path, help="the page (default: JOB_DIR/report.html)")
    parser.add_argument(
        "--pictures", type=int, default=12, metavar="N", help="how many to draw (default: 12)"
    )
    args = parser.parse_args(argv)
    from scratchdet_caffe.report.page import render_page
    from scratchdet_caffe.report.samples import some_pictures

    job = read_job(args.job)
    out = args.out or args.job / "report.html"
    write_text(out, render_page(job, some_pictures(job, args.pictures), out))
    print(f"report: {out}")
    return None


def log_main(argv: Sequence[str]) -> None:
    """Run ``report log``."""
    parser = Parser(
        "report log",
        "Make CSV tables, in the columns of Caffe's parse_log.py, and plots from a Caffe log.",
        "python -m scratchdet_caffe.report log train.log --out plots",
    )
    parser.add_argument("log", type=Path, metavar="FILE", help="any Caffe log")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="default: here")
    args = parser.parse_args(argv)
    from scratchdet_caffe.report.curves import map_curve, picture, training_curve

    log, name = read_log(args.log), args.log.name
    made = []
    for suffix, text in csv_tables(log).items():
        made.append(args.out / f"{name}.{suffix}")
        write_text(made[-1], text)
    figures = {"loss": training_curve(log)} if len(log.loss.value) else {}
    figures |= {f"test{net or ''}": map_curve(log, net=net) for net in log.test}
    for suffix, figure in figures.items():
        made.append(args.out / f"{name}.{suffix}.png")
        with written_aside(made[-1]) as stream:
            stream.write(picture(figure, "png"))
    print("\n".join(str(path) for path in made))
    return None


def watch_main(argv: Sequence[str]) -> None:
    """Run ``report watch``."""
    parser = Parser(
        "report watch",
        "Show a training run on the terminal until it ends: how far it is, loss, tests, alarms.",
        "python -m scratchdet_caffe.report watch models/root_resnet18/shapes/mini_128",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a job, or a log")
    parser.add_argument(
        "--every", type=float, default=2.0, metavar="S", help="seconds (default: 2)"
    )
    parser.add_argument("--once", action="store_true", help="show it once and end")
    args = parser.parse_args(argv)
    if args.every <= 0:
        raise UserError(f"--every must be above 0, not {args.every:g}")
    from rich.console import Console

    from scratchdet_caffe.report.watch import watch

    watch(args.run, Console(), args.every, args.once)


def events_main(argv: Sequence[str]) -> None:
    """Run ``report events``."""
    parser = Parser(
        "report events",
        "Write TensorBoard's event files from a Caffe log (train --events does while it trains).",
        "python -m scratchdet_caffe.report events train.log --out events",
    )
    parser.add_argument("log", type=Path, metavar="FILE", help="any Caffe log")
    parser.add_argument("--out", type=Path, default=Path("events"), help="default: events")
    args = parser.parse_args(argv)
    from scratchdet_caffe.report.events import EventWriter

    log, writer = read_log(args.log), EventWriter(args.out)
    print(f"{args.out}: {writer.update(log)} points")
    writer.close()


_SUBCOMMANDS = {"log": log_main, "watch": watch_main, "events": events_main}

if __name__ == "__main__":
    run("report", main)
