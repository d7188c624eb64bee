"""Kill a small training many times at random moments, and see what is left each time.

    OMP_NUM_THREADS=1 python benchmarks/survival.py --kills 200

Half of the kills come after a random time, half while a snapshot is being written. After each,
every file under a final name must be whole, and the newest snapshot no older than before; then
the same command goes on. In the end weights and solver state must equal those of a run that nobody
disturbed, bit for bit. Exit status 1 if anything is amiss.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch  # noqa: F401  imported once, before the processes are forked

import scratchdet_caffe.pycaffe  # noqa: F401
from scratchdet_caffe import train
from scratchdet_caffe.caffeproto import read_model, read_state
from scratchdet_caffe.snapshots import newest_complete, numbered_snapshots

NET = """
name: "survivor"
layer { name: "rows" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param { source: "list.txt" batch_size: 4 shuffle: true } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 16 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "wide" type: "InnerProduct" bottom: "conv" top: "wide"
  inner_product_param { num_output: 400 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "wide" top: "wide" }
layer { name: "ip" type: "InnerProduct" bottom: "wide" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
KEEP, EVERY = 3, 4


@dataclass
class Kill:
    """One kill: where the training stood, what was being written, and what it went on from."""

    newest: int
    writing: bool


def make_job(folder: Path, iterations: int) -> None:
    """Write a job of ``iterations`` iterations into ``folder``."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    with h5py.File(folder / "rows.h5", "w") as file:
        file["data"] = numbers.normal(size=(37, 2, 10, 10)).astype(np.float32)
        file["label"] = numbers.integers(0, 3, 37).astype(np.float32)
    (folder / "list.txt").write_text("rows.h5\n")
    (folder / "net.prototxt").write_text(NET)
    (folder / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 display: 0 '
        f'snapshot: {EVERY} max_iter: {iterations} snapshot_prefix: "out/snap" random_seed: 4'
    )


def start(folder: Path) -> int:
    """Start the training in a process of its own; return its number."""
    if pid := os.fork():
        return pid
    os.chdir(folder)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    status = 1
    try:
        status = train.main(["--solver", "solver.prototxt", "--resume", "--keep", str(KEEP)])
    finally:
        os._exit(status)


def kill_soon(pid: int, out: Path, rng: random.Random, longest: float) -> bool:
    """Kill process ``pid`` at a random moment; return whether it was still there to be killed."""
    deadline = time.monotonic() + rng.uniform(0, longest)
    in_writing, writings, writing = rng.random() < 0.5, rng.randint(2, 4), False
    while writings if in_writing else time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        before, writing = writing, bool(list(out.glob(".snap_iter_*.part")))
        writings -= writing and not before
        time.sleep(0.0005)
    time.sleep(rng.uniform(0, longest / 200))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def check(out: Path, before: int) -> Kill:
    """Check what a kill has left.

    Raises:
        SystemExit: A file under a final name is not whole, or snapshots are lost.
    """
    for suffix in (".solverstate", ".caffemodel"):
        for _, file in numbered_snapshots(str(out / "snap"), suffix):
            whole = read_state(file).history if suffix == ".solverstate" else read_model(file).layer
            if not whole:
                raise SystemExit(f"{file}: not whole")
    state, passed_over = newest_complete(str(out / "snap"))
    if passed_over:
        raise SystemExit(f"damaged: {passed_over}")
    newest = read_state(state).iter if state else 0
    if newest < before:
        raise SystemExit(f"the newest snapshot was {before}, and is now {newest}")
    return Kill(newest, bool(list(out.glob(".snap_iter_*.part"))))


def same(ours: Path, theirs: Path) -> bool:
    """Whether weights and state of two snapshots are equal, bit for bit."""
    model, other = (read_model(p.with_suffix(".caffemodel")) for p in (ours, theirs))
    states = [read_state(path) for path in (ours, theirs)]
    return model == other and states[0].history == states[1].history


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--iterations", type=int, help="default: ten for each kill")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, iterations = random.Random(args.seed), args.iterations or 10 * args.kills
    with tempfile.TemporaryDirectory() as name:
        whole, hurt = Path(name, "whole"), Path(name, "hurt")
        for folder in (whole, hurt):
            make_job(folder, iterations)
        began = time.monotonic()
        os.waitpid(start(whole), 0)
        unbroken = time.monotonic() - began
        kills: list[Kill] = []
        longest = 25 * unbroken / iterations  # about as long as 25 iterations take
        began = time.monotonic()
        while len(kills) < args.kills:
            if not kill_soon(start(hurt), hurt / "out", rng, longest):
                break
            kills.append(check(hurt / "out", kills[-1].newest if kills else 0))
        _, status = os.waitpid(start(hurt), 0)
        if status or "Traceback" in (hurt / "said").read_text():
            raise SystemExit((hurt / "said").read_text()[-2000:])
        last = f"out/snap_iter_{iterations}.solverstate"
        if not same(whole / last, hurt / last):
            raise SystemExit("weights or state differ from the unbroken run's")
        left = [path.name for path in (hurt / "out").iterdir() if path.name.endswith(".part")]
        if left:
            raise SystemExit(f"left over: {left}")
        resumed = (hurt / "said").read_text().count("Resuming from")
        print(f"| kills | {len(kills)} |")
        print(f"| of them while a snapshot was being written | {sum(k.writing for k in kills)} |")
        print(f"| starts that went on from a snapshot | {resumed} |")
        print(f"| iterations | {iterations}, a snapshot every {EVERY}, the newest {KEEP} kept |")
        print("| files that were not whole, snapshots lost, files left over | 0 |")
        print("| final weights and solver state | equal to the unbroken run's, bit for bit |")
        print(
            f"| seconds unbroken, and in pieces | {unbroken:.0f}, {time.monotonic() - began:.0f} |"
        )
        if len(kills) < args.kills:
            raise SystemExit(f"the run ended after {len(kills)} kills: give more --iterations")


if __name__ == "__main__":
    sys.exit(main())
