"""Images per second of the AnnotatedData layer: SSD's full augmentation, and decode + warp.

    OMP_NUM_THREADS=1 python benchmarks/data.py [--shared ../shared] [--rounds 5] [--profile]

The pictures are eight 640x480 JPEGs, to 300x300 in batches of 32, as in the reference's
``golden/data/throughput.json``. Rounds of all settings take turns, so that a busy minute on the
machine hits all alike. Medians over the rounds are printed: images per second of wall clock,
and of processor time, which other programs on the machine disturb less.
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
THREADS = (0, 1, 2)


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


def rate(layer: pb.LayerParameter, phase: int, threads: int) -> tuple[float, float]:
    """Return images per second of wall clock and of processor time, over one round."""
    with Batches(layer, phase, seed=0, threads=threads) as batches:
        for _ in range(5):
            batches.next()
        wall, cpu, position = time.perf_counter(), time.process_time(), batches.position
        while batches.position - position < IMAGES_PER_ROUND:
            batches.next()
        count = batches.position - position
        return count / (time.perf_counter() - wall), count / (time.process_time() - cpu)


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
        rates: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for _ in range(options.rounds):
            for name, (layer, phase) in cases.items():
                for threads in THREADS:
                    rates.setdefault((name, threads), []).append(rate(layer, phase, threads))
        rows = []
        for (name, threads), found in rates.items():
            wall, cpu = (statistics.median(kind) for kind in zip(*found))
            reference = recorded[name]["images_per_second_median"]
            ratio = f"{cpu / reference:.1f}"
            rows.append((f"{name}, threads={threads}", f"{wall:.0f}", f"{cpu:.0f}", ratio))
        head = ["setting", "wall/s", "per core/s", "per core / recorded reference"]
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
