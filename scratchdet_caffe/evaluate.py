"""Score a detector: a trained net on its test set, or files of detections.

A net runs through the pycaffe API, of whichever engine. ``results/`` gets ``metrics.json``,
``detections.json``, ``errors.html`` and the files that VOC's and COCO's tools take.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchdet_caffe.cli import Parser, run
from scratchdet_caffe.engines import DEVICES, ENGINES, load_engine
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import write_text
from scratchdet_caffe.metrics import ELEVEN_POINT, Diagnosis, check_bounds
from scratchdet_caffe.report.errors import write_errors
from scratchdet_caffe.report.scores import print_scores, rules_markdown
from scratchdet_caffe.scoring import (
    LISTS,
    SOFT,
    GroundTruth,
    Scored,
    doubts,
    from_files,
    from_pictures,
    from_test_net,
    net_of,
    numbers_of,
    read_deploy_net,
    read_ground_truth,
    write_found,
)

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
    net.add_argument(
        "--multi-scale",
        nargs="?",
        const="auto",
        choices=("auto", *map(str, LISTS)),
        default="",
        help="look at each picture in many sizes, mirrored too, and merge by box voting, as "
        "RefineDet does for 320 or 512 pixels (auto: the nearer list)",
    )
    net.add_argument(
        "--voting",
        choices=("voc", "coco"),
        help="how many looks are merged, and COCO's further scales (default: as the set is)",
    )
    net.add_argument(
        "--soft-nms",
        nargs="?",
        const="linear",
        choices=SOFT,
        default="",
        help="soft suppression instead of the net's own; refinedet: linear, after the net's own",
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
        help="folder that prepare made, VOC folder, or COCO's instances JSON (with a net: look at "
        "its pictures instead of the test set)",
    )
    files.add_argument("--image-set", default="test", help="of a VOC folder (default: test)")
    files.add_argument(
        "--classes", help="of a VOC folder: a,b,c (default: the net's, or those it names, sorted)"
    )
    files.add_argument("--pictures-from", type=Path, metavar="DIR", help="pictures of COCO's JSON")
    how = made.add_argument_group("scoring")
    how.add_argument("--coco", action="store_true", help="COCO's numbers, too; a COCO set has them")
    how.add_argument(
        "--all-rules",
        action="store_true",
        help="the numbers of the log, of VOC, of the files and of COCO, and each step between",
    )
    how.add_argument(
        "--sizes",
        type=_sizes,
        metavar="M,L",
        help="sides in pixels from which on objects are medium and large (default: 32,96)",
    )
    how.add_argument(
        "--iou", type=float, help="overlap that finds an object (default: the net's, or 0.5)"
    )
    how.add_argument(
        "--similar",
        metavar="GROUPS",
        default="",
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
        message = f"'{text}' is not two rising sides in pixels, such as 32,96"
        raise ArgumentTypeError(message) from None
    return medium, large


def detections_of_net(args: Any) -> tuple[Scored, Path, dict[str, Any]]:
    """Run the net; return what to score, where to write, and where it came from."""
    instead = ", or --detections and --ground-truth"
    model, weights, version = net_of(args.job, args.model, args.weights, instead)
    out = args.out or (args.job or weights.parent) / "results"
    facts = {
        "weights": str(weights),
        "model": str(model),
        "engine": args.engine,
        "device": args.device,
    }

    def engine() -> Any:
        return load_engine(args.engine, device=args.device, nets=[model])

    if not (args.multi_scale or args.soft_nms or args.ground_truth):
        scored = from_test_net(engine, model, weights, version, args.batch, args.iou)
        return scored, out, facts
    coco_voting = None if args.voting is None else args.voting == "coco"
    known = read_deploy_net(model).classes() or ()
    scored = from_pictures(
        engine, model, weights, out, ground_truth(args, known[1:]), args.batch, args.iou,
        args.multi_scale, coco_voting, args.soft_nms,
    )  # fmt: skip
    return scored, out, facts


def detections_of_files(args: Any) -> tuple[Scored, Path, dict[str, Any]]:
    """Read the files; return what to score, where to write, and where it came from."""
    for name in ("job", "model", "weights", "batch", "multi_scale", "voting", "soft_nms"):
        if getattr(args, name):
            raise UserError("--detections scores files: give no job, net or weights with it")
    path = args.detections
    scored = from_files(path, ground_truth(args), args.iou)
    for doubt in doubts(scored.results):
        print(f"evaluate: warning: {path}: {doubt}", file=sys.stderr)
    facts = {
        "weights": str(path),
        "model": str(args.ground_truth or path),
        "engine": "none",
        "device": "cpu",
    }
    return scored, args.out or (path if path.is_dir() else path.parent) / "evaluation", facts


def ground_truth(args: Any, known: Sequence[str] = ()) -> GroundTruth | None:
    """Read what ``--ground-truth`` names, by default of the classes that a net knows.

    Returns:
        None if it names nothing.
    """
    if not args.ground_truth:
        return None
    classes = [name.strip() for name in (args.classes or "").split(",") if name.strip()]
    classes = classes or list(known)
    return read_ground_truth(args.ground_truth, args.image_set, classes, args.pictures_from)


def write_error_page(
    scored: Scored, out: Path, errors: dict[str, Any], diagnosis: Diagnosis, count: int
) -> list[dict[str, Any]]:
    """Write the page of errors, with pictures where there are some; return what they show."""
    try:
        return write_errors(out, scored.results, diagnosis, errors, scored.truth.pixels, count)
    except UserError as error:  # all else stands without pictures
        print(f"evaluate: no pictures of errors: {error}", file=sys.stderr)
        return write_errors(out, scored.results, diagnosis, errors, None)


def check(args: Any) -> None:
    """Check the options that argparse does not.

    Raises:
        UserError: A number is out of its range.
    """
    if args.min_map is not None and not 0 <= args.min_map <= 1:  # NaN is neither
        raise UserError(f"--min-map must be a number from 0 to 1, not {args.min_map}")
    if args.iou is not None and not 0 < args.iou < 1:
        raise UserError(f"--iou must be a number between 0 and 1, not {args.iou}")
    if args.pictures < 0:
        raise UserError(f"--pictures must not be negative: {args.pictures}")
    if args.batch is not None and args.batch < 1:
        raise UserError(f"--batch must be at least 1, not {args.batch}")
    if args.voting and not args.multi_scale:
        raise UserError("--voting says how the looks of --multi-scale are merged: give that, too")


def main(argv: Sequence[str]) -> int:
    """Run the command; return 1 if the mAP is below ``--min-map``."""
    args = parser().parse_args(argv)
    check(args)
    started = time.monotonic()
    read = detections_of_files if args.detections else detections_of_net
    scored, out, facts = read(args)
    seconds = round(time.monotonic() - started, 2)
    numbers, diagnosis = numbers_of(scored, args.coco, args.all_rules, args.sizes, args.similar)
    date = time.strftime("%Y-%m-%d %H:%M:%S")
    metrics = {**facts, **scored.facts, "date": date, "seconds": seconds, **numbers}
    write_found(scored, out, "coco" in metrics)
    errors = metrics["errors"]
    errors["worst"] = write_error_page(scored, out, errors, diagnosis, args.pictures)
    if "all_rules" in metrics:
        write_text(out / "all_rules.md", rules_markdown(metrics["all_rules"]))
    write_text(out / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    print_scores(metrics)
    print(f"{metrics['weights']}, {metrics['images']} images -> {out}: metrics.json, errors.html")

    reached = metrics["map"][ELEVEN_POINT] or 0.0
    if args.min_map is not None and reached < args.min_map:
        print(f"evaluate: mAP {reached:.4f} is below --min-map {args.min_map}", file=sys.stderr)
        return EXIT_BELOW_MINIMUM
    return 0


if __name__ == "__main__":
    run("evaluate", main)
