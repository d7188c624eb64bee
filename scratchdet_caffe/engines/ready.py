"""``python -m scratchdet_caffe.engines.ready SOLVER``: what to know before ``caffe train`` starts.

Ends with a sentence where the installed SSD-Caffe lacks what the solver's nets need; prints the
newest complete snapshot, or nothing where there is none.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.cli import run
from scratchdet_caffe.engines import describe, load_engine, net_files
from scratchdet_caffe.snapshots import newest_complete


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m scratchdet_caffe.engines.ready")
    parser.add_argument("solver", type=Path)
    solver = read_solver(parser.parse_args(argv).solver)
    caffe = load_engine("caffe", nets=net_files(solver))
    print(f"engine: {describe(caffe)}", file=sys.stderr)
    state, passed_over = newest_complete(solver.snapshot_prefix)
    for reason in passed_over:
        print(f"passed over: {reason}", file=sys.stderr)
    if state:
        print(state)
    return 0


if __name__ == "__main__":
    run("ready", main)
