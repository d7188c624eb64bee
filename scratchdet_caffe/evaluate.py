"""Score a detector: a trained net on its test set, or files of detections.

A net runs through the pycaffe API, of whichever engine. ``results/`` gets ``metrics.json``,
``detections.json`` and the files that VOC's and COCO's tools take.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.cli import Parser, progress, run
from scratchdet_caffe.engines import DEVICES, ENGINES, load_engine
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import write_text
from scratchdet_caffe.metrics import (
    BOUNDS,
    ELEVEN_POINT,
    check_bounds,
    coco_summary,
    diagnose,
    errors_summary,
    parse_groups,
    summary,
    write_coco_results,
    write_detection_files,
    write_results,
)
from scratchdet_caffe.metrics.detection_files import PREFIX
from scratchdet_caffe.report.errors import write_errors
from scratchdet_caffe.report.scores import print_classes, print_coco, print_errors
from scratchdet_caffe.scoring import (
    EvaluatedNet,
    Scored,
    detect,
    open_test_net,
    read_found,
    read_ground_truth,
    read_test_net,
)
from scratchdet_caffe.snapshots import find_snapshots

EXIT_BELOW_MINIMUM = 1


def parser() -> Parser:
    """Return the parser of the command's options."""
    made = Parser(
        "evaluate",
        "Score a trained detector on its test set, or files of detections against a ground truth:\n"
        "AP per class and mAP by VOC's 11-point and area rules, and as in the training log.",
        "python -m scratchdet_caffe.evaluate models/root_resnet34/voc0712/release-caffe_300\n"
        "  python -m scratchdet_caffe.evaluate --detections results --ground-truth VOCdevkit",
    )
    net = made.add_argument_group("a net")
    net.add_argument(
        "job",
        nargs="?",
        type=Path,
        metavar="JOB_DIR",
        help="folder with test.prototxt and snapshots, of which the newest is scored",
    )
    net.add_argument("--model", type=Path, help="another test.prototxt")
    net.add_argument("--weights", type=Path, help="another .caffemodel")
    net.add_argument("--engine", choices=ENGINES, default="torch")
    net.add_argument("--device", choices=DEVICES, default="cpu")
    net.add_argument(
        "--batch", type=int, metavar="N", help="images per forward (default: the prototxt's)"
    )
    files = made.add_argument_group("files")
    files.add_argument(
        "--detections",
        type=Path,
        metavar="PATH",
        help="folder of comp4_det_test_<class>.txt, COCO's results JSON, ILSVRC's lines (.txt), "
        "or the detections.json of an earlier run",
    )
    files.add_argument(
        "--ground-truth",
        type=Path,
        metavar="PATH",
        help="folder that prepare made, VOC folder, or COCO's instances JSON",
    )
    files.add_argument("--image-set", default="test", help="of a VOC folder (default: test)")
    files.add_argument("--classes", help="of a VOC folder: a,b,c (default: those it names)")
    files.add_argument("--pictures-from", type=Path, metavar="DIR", help="pictures of COCO's JSON")
    how = made.add_argument_group("scoring")
    how.add_argument("--coco", action="store_true", help="COCO's numbers, too; a COCO set has them")
    how.add_argument(
        "--sizes",
        type=_sizes,
        metavar="M,L",
        help="sides in pixels from which on objects are medium and large (default: 32,96)",
    )
    how.add_argument(
        "--iou", type=float, help="overlap that finds an object (default: the net's, 0.5)"
    )
    how.add_argument(
        "--similar",
        metavar="GROUPS",
        help="similar classes for the kinds of errors: a,b;c,d (default: VOC's and COCO's own)",
    )
    how.add_argument(
        "--pictures", type=int, default=12, metavar="N", help="of the worst errors (default: 12)"
    )
    how.add_argument("--out", type=Path, metavar="DIR", help="default: JOB_DIR/results")
    how.add_argument(
        "--min-map", type=float, metavar="X", help="exit with 1 if the 11-point mAP is lower"
    )
    return made


def _sizes(text: str) -> tuple[float, float]:
    try:
        medium, large = map(float, text.split(","))
        check_bounds((medium, large))
    except (ValueError, UserError):
        raise ArgumentTypeError(
            f"'{text}' is not two rising sides in pixels, such as 32,96"
        ) from None
    return medium, large


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
            raise UserError(
                "give JOB_DIR, or --model test.prototxt and --weights W.caffemodel, "
                "or --detections and --ground-truth"
            )
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


def from_net(args: Any) -> tuple[Scored, Path, EvaluatedNet]:
    """Run the net over its test set; return what to score, where to write, and the net."""
    model, weights, out, version = locate(args)
    test = read_test_net(model, args.batch)
    caffe = load_engine(args.engine, device=args.device, nets=[model])
    net = open_test_net(caffe, model, weights, args.batch)
    results, rows = detect(net, test)
    facts = {
        "weights": str(weights),
        "model": str(model),
        "engine": args.engine,
        "device": args.device,
    }
    scored = Scored(
        results,
        facts,
        test.image_ids,
        test.category_ids,
        test.coco,
        args.iou or test.threshold,
        rows.result(version) if test.evaluation else None,
        version,
        pixels=test.pixels,
    )
    return scored, out, test


def from_files(args: Any) -> tuple[Scored, Path]:
    """Read detections and ground truth; return what to score and where to write."""
    for name in ("job", "model", "weights", "batch"):
        if getattr(args, name) is not None:
            raise UserError("--detections scores files: give no job, net or weights with it")
    path, truth = args.detections, None
    if args.ground_truth:
        classes = [name.strip() for name in (args.classes or "").split(",") if name.strip()]
        truth = read_ground_truth(args.ground_truth, args.image_set, classes, args.pictures_from)
    found = read_found(path, truth)
    facts = {
        "weights": str(path),
        "model": str(args.ground_truth or path),
        "engine": "none",
        "device": "cpu",
    }
    raw = truth and truth.instances and found.coco is not None
    scored = Scored(
        found.results,
        facts,
        truth.image_ids if truth else (),
        truth.category_ids if truth else (),
        bool(truth and truth.instances),
        args.iou or 0.5,
        raw=(truth.instances, found.coco) if raw else None,  # type: ignore[union-attr,arg-type]
        pixels=truth.pixels if truth else None,
    )
    folder = path if path.is_dir() else path.parent
    return scored, args.out or folder / "evaluation"


def write_files(scored: Scored, out: Path, test: EvaluatedNet | None, coco: bool) -> None:
    """Write what was found: for our tools, and, of a net, for those of VOC and COCO."""
    results = scored.results
    write_results(out / "detections.json", results)
    if test is None:
        return
    if not _written_by_net(test, out):
        found = {name: detections for name, (detections, _) in results.by_class().items()}
        write_detection_files(out, [image.name for image in results.images], found)
    if coco:
        path = out / "coco_results.json"
        write_coco_results(path, results, scored.image_ids, scored.category_ids)


def _written_by_net(test: EvaluatedNet, out: Path) -> bool:
    """Whether DetectionOutput has left files of the names that ours would have."""
    return bool(
        test.files
        and test.files == (out, PREFIX)
        and (out / f"{PREFIX}{test.classes[-1]}.txt").exists()
    )


def write_errors_of(scored: Scored, out: Path, args: Any) -> dict[str, Any]:
    """Tell errors apart, write their page and pictures, and return what is said of them."""
    results, names = scored.results, scored.results.classes[1:]
    groups = parse_groups(args.similar, names) if args.similar else None
    diagnosis = diagnose(results, args.sizes or BOUNDS, groups, scored.threshold)
    errors = errors_summary(diagnosis)
    try:
        rows = write_errors(out, results, diagnosis, errors, scored.pixels, args.pictures)
    except UserError as error:  # no pictures at hand: all else stands without them
        print(f"evaluate: no pictures of errors: {error}", file=sys.stderr)
        rows = write_errors(out, results, diagnosis, errors, None)
    return {**errors, "worst": rows}


def main(argv: Sequence[str]) -> int:
    """Run the command; return 1 if the mAP is below ``--min-map``."""
    args = parser().parse_args(argv)
    if args.min_map is not None and not 0 <= args.min_map <= 1:  # NaN is neither
        raise UserError(f"--min-map must be a number from 0 to 1, not {args.min_map}")
    if args.iou is not None and not 0 < args.iou < 1:
        raise UserError(f"--iou must be a number between 0 and 1, not {args.iou}")
    if args.pictures < 0:
        raise UserError(f"--pictures must not be negative: {args.pictures}")
    if args.batch is not None and args.batch < 1:
        raise UserError(f"--batch must be at least 1, not {args.batch}")
    started, test = time.monotonic(), None
    if args.detections:
        scored, out = from_files(args)
    else:
        scored, out, test = from_net(args)
    coco = args.coco or scored.coco or args.sizes is not None
    metrics = {
        **scored.facts,
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "seconds": round(time.monotonic() - started, 2),
        **summary(scored.results, scored.threshold, scored.in_net, scored.ap_version),
    }
    if coco:
        with progress("COCO's numbers") as step:
            score = scored.coco_score(args.sizes or BOUNDS, step)
        metrics["coco"] = coco_summary(score)
    write_files(scored, out, test, coco)
    metrics["errors"] = write_errors_of(scored, out, args)
    write_text(out / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    print_classes(metrics)
    if coco:
        print_coco(metrics["coco"])
    print_errors(metrics["errors"])
    print(f"{metrics['weights']}, {metrics['images']} images -> {out}: metrics.json, errors.html")

    reached = metrics["map"][ELEVEN_POINT] or 0.0
    if args.min_map is not None and reached < args.min_map:
        print(f"evaluate: mAP {reached:.4f} is below --min-map {args.min_map}", file=sys.stderr)
        return EXIT_BELOW_MINIMUM
    return 0


if __name__ == "__main__":
    run("evaluate", main)
