"""Find objects in pictures with a trained net: annotated pictures, JSON, CSV and VOC's lines."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scratchdet_caffe.cli import Parser, print_table, run, tracked
from scratchdet_caffe.engines import DEVICES, ENGINES, load_engine
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.metrics import ImageResult, Results, write_detection_files
from scratchdet_caffe.report.detected import write_lists, write_picture
from scratchdet_caffe.scoring import (
    LISTS,
    SOFT,
    DeployNet,
    Detector,
    make_detector,
    net_of,
    plan_views,
    read_deploy_net,
)
from scratchdet_caffe.scoring.truth import NOTHING, read_picture

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
EXIT_SOME_UNREADABLE = 1
SAMPLE = 32  # pictures by whose size the limits of multi-scale views are set


def parser() -> Parser:
    """Return the parser of the command's options."""
    made = Parser(
        "detect",
        "Find objects in pictures with a trained net. The folder --out gets the pictures with\n"
        "boxes, detected.json, detected.csv and comp4_det_test_<class>.txt.",
        "python -m scratchdet_caffe.detect photos --job models/root_resnet18/mine/mini_160",
    )
    made.add_argument(
        "pictures",
        nargs="+",
        type=Path,
        metavar="PICTURE",
        help="picture files, or folders of them",
    )
    net = made.add_argument_group("the net")
    net.add_argument("--job", type=Path, metavar="JOB_DIR", help="folder of a job, after training")
    net.add_argument("--model", type=Path, help="a test or deploy prototxt")
    net.add_argument("--weights", type=Path, help="a .caffemodel")
    net.add_argument("--labelmap", type=Path, help="names of the classes (default: the net's)")
    net.add_argument("--engine", choices=ENGINES, default="torch")
    net.add_argument("--device", choices=DEVICES, default="cpu")
    net.add_argument("--batch", type=int, default=1, metavar="N", help="pictures per forward (1)")
    how = made.add_argument_group("detecting")
    how.add_argument(
        "--min-score", type=float, default=0.5, metavar="X", help="of what is kept (default: 0.5)"
    )
    how.add_argument(
        "--multi-scale",
        nargs="?",
        const="auto",
        choices=("auto", *map(str, LISTS)),
        default="",
        help="look at each picture in many sizes, as evaluate does",
    )
    how.add_argument(
        "--voting", choices=("voc", "coco"), default="voc", help="how looks are merged"
    )
    how.add_argument(
        "--soft-nms",
        nargs="?",
        const="linear",
        choices=SOFT,
        default="",
        help="soft suppression instead of the net's own",
    )
    how.add_argument("--out", type=Path, default=Path("detected"), metavar="DIR")
    how.add_argument("--no-pictures", action="store_true", help="write the lists alone")
    return made


def pictures_in(paths: Iterable[Path]) -> list[tuple[Path, str]]:
    """Return the picture files at ``paths``, each with a name of its own for the output.

    Raises:
        UserError: A path does not exist, or there is no picture at all.
    """
    found: list[tuple[Path, Path]] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(f for f in path.rglob("*") if f.suffix.lower() in EXTENSIONS)
            found += [(file, file.relative_to(path).with_suffix("")) for file in inside]
        elif path.is_file():
            found.append((path, Path(path.stem)))
        else:
            raise UserError(f"{path}: no such picture or folder")
    if not found:
        kinds = ", ".join(sorted(EXTENSIONS))
        raise UserError(f"no pictures in {', '.join(map(str, paths))}: looked for {kinds}")
    seen: Counter[str] = Counter()
    named = []
    for file, short in found:
        name = "_".join("_".join(short.parts).split())  # names part by spaces in VOC's lines
        seen[name] += 1
        named.append((file, name if seen[name] == 1 else f"{name}_{seen[name]}"))
    return named


def classes_of(deploy: DeployNet, label_map: Path | None) -> tuple[str, ...]:
    """Return the names by label, the background first: of the label map, or else numbers.

    Raises:
        UserError: The label map cannot be read, or has another number of classes than the net.
    """
    numbered = (f"class{label}" for label in range(1, deploy.output.num_classes))
    return deploy.classes(label_map) or ("background", *numbered)


def open_detector(args: Any, deploy: DeployNet, model: Path, weights: Path) -> Detector:
    """Return the detector that ``args`` ask for."""
    views = None
    if args.multi_scale:
        if args.soft_nms:
            raise UserError("--multi-scale merges by box voting: give no --soft-nms with it")
        sizes = _some_sizes([file for file, _ in args.files])
        coco = args.voting == "coco"
        views = plan_views(deploy.size, sizes, deploy.takes, coco, args.multi_scale)
    caffe = load_engine(args.engine, device=args.device, nets=[model])
    return make_detector(caffe, deploy, weights, views, args.voting == "coco", args.soft_nms)


def _some_sizes(files: Sequence[Path]) -> list[tuple[int, int]]:
    """Width and height of some of the pictures, evenly over all."""
    sizes = []
    for i in np.unique(np.linspace(0, len(files) - 1, min(SAMPLE, len(files))).round()):
        try:
            height, width = read_picture(files[int(i)]).shape[:2]
        except UserError:
            continue  # said when its turn comes
        sizes.append((width, height))
    return sizes


def main(argv: Sequence[str]) -> int:
    """Run the command; return 1 if some pictures could not be read."""
    args = parser().parse_args(argv)
    if not 0 <= args.min_score <= 1:
        raise UserError(f"--min-score must be a number from 0 to 1, not {args.min_score}")
    if args.batch < 1:
        raise UserError(f"--batch must be at least 1, not {args.batch}")
    args.files = pictures_in(args.pictures)
    model, weights, _ = net_of(args.job, args.model, args.weights)
    deploy = read_deploy_net(model, nms=args.soft_nms not in ("linear", "gaussian"))
    results = Results(classes_of(deploy, args.labelmap))
    detector = open_detector(args, deploy, model, weights)
    read: list[Path] = []
    for start in tracked(range(0, len(args.files), args.batch), "detecting"):
        batch = []
        for file, name in args.files[start : start + args.batch]:
            try:
                batch.append((file, name, read_picture(file)))
            except UserError as error:
                print(f"detect: left out: {error}", file=sys.stderr)
        found = detector([own[2] for own in batch]) if batch else []
        for (file, name, pixels), rows in zip(batch, found):
            height, width = pixels.shape[:2]
            rows = rows[rows[:, 1] >= args.min_score]
            rows[:, 2:] = rows[:, 2:].clip(0, [width, height] * 2)
            results.images.append(ImageResult(name, width, height, rows, NOTHING))
            read.append(file)
            if not args.no_pictures:
                path = args.out / "pictures" / f"{name}.jpg"
                write_picture(path, pixels, results, len(read) - 1)
    write_lists(args.out, results, read)
    names = [image.name for image in results.images]
    by_class = {name: own for name, (own, _) in results.by_class().items()}
    write_detection_files(args.out, names, by_class)
    _report(results, args.out)
    return EXIT_SOME_UNREADABLE if len(read) < len(args.files) else 0


def _report(results: Results, out: Path) -> None:
    rows = [
        [name, len(own.score), len(np.unique(own.image))]
        for name, (own, _) in results.by_class().items()
    ]
    print_table(["class", "found", "in pictures"], rows)
    print(f"{len(results.images)} pictures -> {out}: detected.json, detected.csv, pictures/")


if __name__ == "__main__":
    run("detect", main)
