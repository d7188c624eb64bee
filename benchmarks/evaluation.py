"""Seconds to score a COCO set and a VOC set, beside pycocotools on the same files.

    OMP_NUM_THREADS=1 python benchmarks/evaluation.py [--rounds 1] [--coco-images 5000]

COCO: 5,000 images, 80 categories, 100 detections an image. Ours is the whole of `evaluate` (reading
and checking both files, COCO's numbers, AP by VOC's rules, kinds of errors, all files written), the
peer a program that does what pycocotools' own example does: load both files, evaluate, accumulate,
summarize. VOC: 4,952 images, 20 classes, 100 detections an image, from a VOC folder and detection
files. Each run is a process of its own; rounds of both take turns. Processor time is what to
compare on a machine that does other work, too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from scratchdet_caffe.cli import run, text_table
from scratchdet_caffe.files import write_text

PEER = """
import sys
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
truth = COCO(sys.argv[1])
scorer = COCOeval(truth, truth.loadRes(sys.argv[2]), "bbox")
scorer.evaluate(); scorer.accumulate(); scorer.summarize()
"""
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
Boxes = list[tuple[int, list[float]]]  # class and x, y, width, height


def scene(rng: np.random.Generator, classes: int, found: int) -> tuple[Boxes, Boxes, list[float]]:
    """Objects and detections of a picture of 640 x 480; three detections in ten are near one."""

    def box() -> list[float]:
        width, height = np.exp(rng.uniform(np.log(8), np.log(400), 2))
        x, y = rng.uniform(0, 640 - width), rng.uniform(0, max(480 - height, 1))
        return [round(float(side), 2) for side in (x, y, width, height)]

    objects = [(int(rng.integers(classes)), box()) for _ in range(rng.poisson(7.3))]
    detections = []
    for _ in range(found):
        label, near = int(rng.integers(classes)), box()
        if objects and rng.random() < 0.3:
            label, exact = objects[int(rng.integers(len(objects)))]
            shift = rng.normal(0, 0.1, 4) * np.tile(exact[2:], 2)
            near = [round(float(side), 2) for side in np.maximum(np.add(exact, shift), 1)]
        detections.append((label, near))
    return objects, detections, rng.random(found).round(5).tolist()


def coco_files(folder: Path, images: int) -> list[Path]:
    """Write instances and results of ``images`` pictures."""
    rng = np.random.default_rng(0)
    truth: dict[str, list[dict[str, object]]] = {
        "images": [
            {"id": i, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480}
            for i in range(1, images + 1)
        ],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, 81)],
        "annotations": [],
    }
    results = []
    for image in range(1, images + 1):
        objects, detections, scores = scene(rng, 80, 100)
        for label, box in objects:
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": image,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": 0.7 * box[2] * box[3],
                    "iscrowd": int(rng.random() < 0.01),
                }
            )
        results += [
            {"image_id": image, "category_id": label + 1, "bbox": box, "score": score}
            for (label, box), score in zip(detections, scores)
        ]
    write_text(folder / "truth.json", json.dumps(truth))
    write_text(folder / "found.json", json.dumps(results))
    return [folder / "truth.json", folder / "found.json"]


def voc_files(folder: Path, images: int) -> list[Path]:
    """Write a VOC folder and detection files of ``images`` pictures."""
    rng = np.random.default_rng(1)
    names = [f"{i:06d}" for i in range(1, images + 1)]
    lines: list[list[str]] = [[] for _ in VOC_CLASSES]
    for kind in ("Annotations", "JPEGImages"):
        (folder / "VOC2007" / kind).mkdir(parents=True)
    for name in names:
        objects, detections, scores = scene(rng, 20, 100)
        things = "".join(
            f"<object><name>{VOC_CLASSES[label]}</name><difficult>{int(rng.random() < 0.15)}"
            f"</difficult><bndbox><xmin>{x + 1:.0f}</xmin><ymin>{y + 1:.0f}</ymin><xmax>{x + w:.0f}"
            f"</xmax><ymax>{y + h:.0f}</ymax></bndbox></object>"
            for label, (x, y, w, h) in objects
        )
        size = "<size><width>640</width><height>480</height><depth>3</depth></size>"
        (folder / f"VOC2007/Annotations/{name}.xml").write_text(
            f"<annotation>{size}{things}</annotation>"
        )
        for (label, (x, y, w, h)), score in zip(detections, scores):
            lines[label].append(
                f"{name} {score:g} {x + 1:.0f} {y + 1:.0f} {x + w:.0f} {y + h:.0f}\n"
            )
    write_text(folder / "VOC2007/ImageSets/Main/test.txt", "".join(f"{name}\n" for name in names))
    for cls, own in zip(VOC_CLASSES, lines):
        write_text(folder / f"found/comp4_det_test_{cls}.txt", "".join(own))
    return [folder / "VOC2007", folder / "found"]


def seconds(command: list[str]) -> tuple[float, float]:
    """Wall clock and processor time of a process."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, used


def main(argv: list[str]) -> None:
    """Measure, and print one row for each program."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rounds", type=int, default=1)
    arguments.add_argument("--coco-images", type=int, default=5000)
    arguments.add_argument("--voc-images", type=int, default=4952)
    options = arguments.parse_args(argv)
    evaluate = [sys.executable, "-m", "scratchdet_caffe.evaluate", "--detections"]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        truth, found = coco_files(folder, options.coco_images)
        voc, files = voc_files(folder, options.voc_images)
        commands = {
            "COCO: pycocotools": [sys.executable, "-c", PEER, str(truth), str(found)],
            "COCO: evaluate": [*evaluate, str(found), "--ground-truth", str(truth)],
            "VOC: evaluate": [*evaluate, str(files), "--ground-truth", str(voc), "--pictures", "0"],
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                times[name].append(seconds([*command, *_out(folder, name)]))
    medians = {name: [statistics.median(kind) for kind in zip(*own)] for name, own in times.items()}
    base = medians["COCO: pycocotools"]
    rows = [
        [name, *(f"{value:.1f}" for value in own)]
        + [f"{a / b:.2f}" if name.startswith("COCO") else "" for a, b in zip(own, base)]
        for name, own in medians.items()
    ]
    print(text_table(["", "wall, s", "processor, s", "wall ratio", "processor ratio"], rows))
    print(f"\n{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")


def _out(folder: Path, name: str) -> list[str]:
    return ["--out", str(folder / "out")] if "evaluate" in name else []


if __name__ == "__main__":
    run("benchmarks/evaluation.py", main)
