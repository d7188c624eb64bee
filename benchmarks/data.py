"""Images per second of the AnnotatedData layer: SSD's full augmentation, and decode + warp.

    OMP_NUM_THREADS=1 python benchmarks/data.py [--shared ../shared] [--rounds 5] [--profile]

The pictures are eight 640x480 JPEGs, to 300x300 in batches of 32, as in the reference's
``golden/data/throughput.json``. Rounds of all settings take turns, so that a busy minute on the
machine hits all alike. Medians over the rounds are printed: images per second of wall clock,
and of processor time (workers included), which other programs on the machine disturb less. The
scaling from one to two is that of neighbouring rounds.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import statistics
import tempfile
import time
from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_prototxt
from scratchdet_caffe.cli import run, text_table
from scratchdet_caffe.data import Batches, Database, write_database
from scratchdet_caffe.errors import UserError

IMAGES_PER_ROUND = 640
SETTINGS = (
    {"threads": 0},
    {"threads": 1},
    {"threads": 2},
    {"workers": 1},
    {"workers": 2},
)


def photographs_only(source: Path, target: Path) -> None:
    """Copy the records of 640x480 from the LMDB ``source`` to a new one, ``target``."""
    database = Database(source)
    records = [(database.key(i), database.record(i)) for i in range(len(database))]
    write_database(target, [r for r in records if r[1].datum.width == 640])


def layer_of(prototxt: Path, source: Path, augment: bool) -> pb.LayerParameter:
    """Return the layer of ``prototxt``, reading ``source``; without augmentation if asked."""
    layer = read_prototxt(prototxt, pb.NetParameter).layer[0]
    layer.data_param.source = str(source)
    if not augment:
        del layer.annotated_data_param.batch_sampler[:]
        for field in ("distort_param", "expand_param", "emit_constraint", "mirror"):
            layer.transform_param.ClearField(field)
        del layer.transform_param.resize_param.interp_mode[1:]
    return layer


def processor_time() -> float:
    """Return the seconds of processor time of this process and of those that it has started."""
    ticks, own = 0, os.getpid()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == own:
            ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def rate(layer: pb.LayerParameter, phase: int, setting: dict[str, int]) -> tuple[float, float]:
    """Return images per second of wall clock and of processor time, over one round."""
    with Batches(layer, phase, seed=0, **setting) as batches:
        for _ in range(5):
            batches.next()
        wall, cpu, position = time.perf_counter(), processor_time(), batches.position
        while batches.position - position < IMAGES_PER_ROUND:
            batches.next()
        count = batches.position - position
        return count / (time.perf_counter() - wall), count / (processor_time() - cpu)


def scaling_of(
    rates: dict[tuple[str, str], list[tuple[float, float]]], name: str, setting: str
) -> str:
    """Return the wall-clock rate of two as a share of twice that of one in the same round."""
    if not setting.endswith("=2"):
        return ""
    one = rates[name, setting.replace("=2", "=1")]
    shares = [b[0] / a[0] / 2 for a, b in zip(one, rates[name, setting])]
    return f"{100 * statistics.median(shares):.0f} %"


def main(argv: list[str]) -> None:
    """Measure and print one row for each setting.

    Raises:
        UserError: The reference data is not there.
    """
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--shared", type=Path, default=Path("../shared"))
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--profile", action="store_true", help="where the time goes")
    options = arguments.parse_args(argv)
    golden = options.shared.resolve() / "golden/data"
    if not (golden / "throughput.json").is_file():
        raise UserError(
            f"{golden}: no pictures to measure with: they are in the folder of reference data, "
            "beside the checkout as ../shared; give --shared where it lies elsewhere"
        )
    recorded = json.loads((golden / "throughput.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "lmdb"
        photographs_only(golden / "lmdb_encoded_jpg", source)
        prototxt = golden / "draws/ssd_full.prototxt"
        cases = {
            "train_ssd_augmentation": (layer_of(prototxt, source, True), pb.TRAIN),
            "test_decode_and_warp_only": (layer_of(prototxt, source, False), pb.TEST),
        }
        rates: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for _ in range(options.rounds):
            for name, (layer, phase) in cases.items():
                for setting in SETTINGS:
                    ((word, count),) = setting.items()
                    found = rate(layer, phase, setting)
                    rates.setdefault((name, f"{word}={count}"), []).append(found)
        rows = []
        for (name, setting), found in rates.items():
            wall, cpu = (statistics.median(kind) for kind in zip(*found))
            reference = recorded[name]["images_per_second_median"]
            ratios = (f"{wall / reference:.1f}", f"{cpu / reference:.1f}")
            scaling = scaling_of(rates, name, setting)
            rows.append((f"{name}, {setting}", f"{wall:.0f}", f"{cpu:.0f}", *ratios, scaling))
        head = ["setting", "wall/s", "per core/s", "wall ratio", "per core ratio", "of twice one's"]
        print(text_table(head, rows))
        print(f"\n{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
        if options.profile:
            with Batches(cases["train_ssd_augmentation"][0], pb.TRAIN, 0, threads=0) as batches:
                profile = cProfile.Profile()
                profile.enable()
                for _ in range(20):
                    batches.next()
                profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(18)


if __name__ == "__main__":
    run("benchmarks/data.py", main)
