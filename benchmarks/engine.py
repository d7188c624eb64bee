"""The engine beside hand-written PyTorch twins of the same nets (``benchmarks/twins.py``).

    python benchmarks/engine.py [--rows root_resnet18_mini ...] [--precision bf16] [--repeats 5]

Both start from the same weights and must agree on the loss in float32. Engine and twin take
turns; times are medians, and the ratio is the median over pairs of turns (engine / twin: below 1
the engine is faster), of wall clock and of processor time, which other programs disturb less.
Peak memory is what a process of its own adds while it trains, above what it held before the net
was built.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch._dynamo  # torch.optim brings it along: not memory of the twin
import twins
from torch import Tensor

from scratchdet_caffe import engine
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text, read_net
from scratchdet_caffe.engine.solver import Solver
from scratchdet_caffe.experiment import plan
from scratchdet_caffe.render import job_files

Passes = dict[str, Callable[[], object]]
PASSES = ("forward", "forward + backward", "solver step")
RATE, MOMENTUM, DECAY = 1e-4, 0.9, 5e-4


@dataclass(frozen=True)
class Row:
    """A net at a batch size, and its twin."""

    net: str
    batch: int
    size: int
    twin: Callable[[Tensor, pb.MultiBoxLossParameter], twins.Detector]


ROWS = {
    "root_resnet18_mini": Row("root_resnet18 mini", 16, 64, twins.root_resnet18_mini),
    "root_resnet34_b1": Row("root_resnet34 release-caffe", 1, 300, twins.root_resnet34_300),
    "root_resnet34_b2": Row("root_resnet34 release-caffe", 2, 300, twins.root_resnet34_300),
    "ssd300_vgg16": Row("SSD300 VGG16", 2, 300, twins.ssd300_vgg16),
}
SSD300 = "zoo/prototxt/shangzw12+ssd/models/VGGNet/VOC0712/SSD_300x300/train.prototxt"


def train_net(row: Row, shared: Path) -> pb.NetParameter:
    """Return the train net of ``row``, with Input layers for its data layer."""
    if row.net.startswith("SSD300"):
        param = read_net(shared / SSD300)
    else:
        arch, recipe = row.net.split()
        text = job_files(plan(arch, "voc0712", recipe, size=row.size))["train.prototxt"]
        param = parse_text(text, pb.NetParameter, row.net)
    shapes = {"data": (row.batch, 3, row.size, row.size), "label": (1, 1, 1, 8)}
    net = engine.load(param, phase=engine.TRAIN, inputs=shapes)
    return pb.NetParameter(name=net.name, layer=[node.layer for node in net.graph.nodes])


def batch_of(row: Row) -> tuple[Tensor, Tensor]:
    """Return noise (N, 3, H, W) and three boxes for every image (1, 1, M, 8)."""
    random = torch.Generator().manual_seed(0)
    corners = torch.rand(row.batch * 3, 4, generator=random) * 0.5
    corners[:, 2:] += corners[:, :2] + 0.1
    rows = torch.zeros(row.batch * 3, 8)
    rows[:, 0] = torch.arange(row.batch).repeat_interleave(3)
    rows[:, 1] = torch.randint(1, twins.CLASSES, (len(rows),), generator=random)
    rows[:, 3:7] = corners.clamp(max=1)
    shape = (row.batch, 3, row.size, row.size)
    return torch.randn(shape, generator=random) * 50, rows[None, None]


def engine_passes(solver: Solver, data: Tensor, label: Tensor) -> Passes:
    """What is timed of the engine."""
    solver.feed = lambda: {"data": data, "label": label}
    net = solver.net

    def forward() -> float:
        with torch.no_grad():
            return float(net.loss(net(solver.feed())))

    passes = (forward, lambda: solver._forward_backward(), lambda: solver.step(1))
    return dict(zip(PASSES, passes))


def twin_passes(
    twin: twins.Detector, data: Tensor, label: Tensor, precision: str = "float32"
) -> Passes:
    """What is timed of the twin, under autocast where ``precision`` is "bf16"."""
    biases = [p for heads in twin.heads for conv in heads for p in [conv.bias]]
    others = [p for p in twin.parameters() if not any(p is bias for bias in biases)]
    doubled = {"params": biases, "lr": 2 * RATE, "weight_decay": 0.0}
    optimiser = torch.optim.SGD(
        [{"params": others}, doubled], RATE, MOMENTUM, weight_decay=DECAY, foreach=True
    )

    def loss_now() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loc, conf = twin.predict(data)
        return twin.loss(loc.float(), conf.float(), label)

    def forward() -> float:
        with torch.no_grad():
            return float(loss_now())

    def both() -> float:
        optimiser.zero_grad()
        loss = loss_now()
        loss.backward()
        return float(loss.detach())

    def step() -> None:
        both()
        optimiser.step()

    return dict(zip(PASSES, (forward, both, step)))


def make(row: Row, side: str, shared: Path, precision: str) -> Passes:
    """Build one side alone, as its memory is measured alone."""
    param = train_net(row, shared)
    if side == "engine":
        return engine_passes(solver_of(param, precision), *batch_of(row))
    twin = row.twin(priors_of(param, row), param.layer[-1].multibox_loss_param)
    return twin_passes(twin.to(memory_format=torch.channels_last), *batch_of(row), precision)


def solver_of(param: pb.NetParameter, precision: str = "float32") -> Solver:
    """Return an SGD solver with a constant rate on the net ``param``."""
    return Solver(
        pb.SolverParameter(
            train_net_param=param,
            base_lr=RATE,
            lr_policy="fixed",
            momentum=MOMENTUM,
            weight_decay=DECAY,
            random_seed=1,
        ),
        precision=precision,
    )


def priors_of(param: pb.NetParameter, row: Row) -> Tensor:
    """Return the priors and variances of the net, (2, P, 4)."""
    data = torch.zeros(row.batch, 3, row.size, row.size)
    with torch.no_grad():
        net = engine.load(param, phase=engine.TRAIN, outputs=["mbox_priorbox"])
        return net(data=data)["mbox_priorbox"].reshape(2, -1, 4)


def make_pair(row: Row, shared: Path, precision: str) -> tuple[Passes, Passes]:
    """Build both sides with the same weights; their losses must agree in float32."""
    param = train_net(row, shared)
    solver = solver_of(param)
    twin = row.twin(priors_of(param, row), param.layer[-1].multibox_loss_param)
    twin = twin.to(memory_format=torch.channels_last)
    theirs = [p for p in twin.parameters() if p is not getattr(twin.trunk, "scale", None)]
    ours = [p for name, p in solver.net.named_parameters() if not name.startswith("conv4_3_norm.")]
    with torch.no_grad():
        for mine, other in zip(ours, theirs, strict=True):
            other.copy_(mine)
    pair = (engine_passes(solver, *batch_of(row)), twin_passes(twin, *batch_of(row)))
    losses = [float(side["forward"]()) for side in pair]  # type: ignore[arg-type]
    if abs(losses[0] - losses[1]) > 1e-4 * abs(losses[1]):
        raise SystemExit(f"{row.net}: the twin is none: losses {losses}")
    solver.net.precision = precision
    return pair[0], twin_passes(twin, *batch_of(row), precision)


def clock(run: Callable[[], object], at_least: float) -> tuple[float, float]:
    """Return seconds of wall clock and processor per call, of calls for ``at_least`` seconds."""
    wall, cpu, calls = time.perf_counter(), time.process_time(), 0
    while calls == 0 or time.perf_counter() - wall < at_least:
        run()
        calls += 1
    return (time.perf_counter() - wall) / calls, (time.process_time() - cpu) / calls


def compare(row: Row, options: argparse.Namespace) -> list[str]:
    """Return the table's lines for ``row``."""
    ours, theirs = make_pair(row, options.shared, options.precision)
    lines = []
    for name in options.passes:
        for side in (ours, theirs):
            side[name]()
        pairs = []
        for i in range(options.repeats):
            turns = [ours, theirs] if i % 2 == 0 else [theirs, ours]
            times = {id(side): clock(side[name], options.seconds) for side in turns}
            pairs.append((times[id(ours)], times[id(theirs)]))
        wall = [statistics.median(pair[side][0] for pair in pairs) * 1e3 for side in (0, 1)]
        busy = statistics.median(pair[0][1] for pair in pairs) * 1e3
        ratios = [statistics.median(a[kind] / b[kind] for a, b in pairs) for kind in (0, 1)]
        lines.append(
            f"| {row.net}, batch {row.batch} | {name} | {wall[0]:.1f} | {wall[1]:.1f} "
            f"| {busy:.1f} | {ratios[0]:.3f} | {ratios[1]:.3f} |"
        )
    return lines


def resident() -> float:
    """Return the peak resident memory of this process so far, in MiB (Linux).

    Not by getrusage, whose peak includes that of the process it was forked from.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def added_memory(row: Row, side: str, shared: Path, precision: str) -> float:
    """Return the MiB that three training steps of ``side`` add to this process."""
    before = resident()
    step = make(row, side, shared, precision)["solver step"]
    for _ in range(3):
        step()
    return resident() - before


def memory(name: str, options: argparse.Namespace) -> str:
    """Return the table's line of peak memory for the row ``name``, from two fresh processes."""
    peaks = []
    for side in ("engine", "twin"):
        command = [sys.executable, __file__, "--rows", name, "--side", side]
        command += ["--precision", options.precision, "--shared", str(options.shared)]
        command += ["--threads", str(options.threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(float(done.stdout))
    row = ROWS[name]
    return (
        f"| {row.net}, batch {row.batch} | {peaks[0]:.0f} | {peaks[1]:.0f} "
        f"| {peaks[0] / peaks[1]:.3f} |"
    )


def main() -> None:
    """Measure and print two Markdown tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    arguments.add_argument("--passes", nargs="+", choices=PASSES, default=PASSES)
    arguments.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--repeats", type=int, default=5, help="pairs of turns")
    arguments.add_argument("--seconds", type=float, default=0.2, help="least length of a turn")
    arguments.add_argument("--shared", type=Path, default=Path("../shared"))
    arguments.add_argument("--no-memory", action="store_true", help="only times")
    arguments.add_argument("--side", choices=("engine", "twin"), help=argparse.SUPPRESS)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    if options.side:
        row = ROWS[options.rows[0]]
        print(added_memory(row, options.side, options.shared, options.precision))
        return
    if not (options.shared / SSD300).is_file() and "ssd300_vgg16" in options.rows:
        print(f"ssd300_vgg16 is left out: {options.shared / SSD300} is not there\n")
        options.rows.remove("ssd300_vgg16")
    print("| net | pass | engine, ms | twin, ms | engine, processor ms | ratio, wall | ", end="")
    print("ratio, processor |\n|---|---|---|---|---|---|---|")
    for name in options.rows:
        print("\n".join(compare(ROWS[name], options)), flush=True)
    if not options.no_memory:
        print("\n| net | engine adds, MiB | twin adds, MiB | ratio |\n|---|---|---|---|")
        for name in options.rows:
            print(memory(name, options), flush=True)
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"\n{options.precision}, {options.threads} threads, {machine}")


if __name__ == "__main__":
    main()
