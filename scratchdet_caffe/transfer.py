"""Make a detector's weights fit a job with fewer of its classes, to fine-tune there."""

from __future__ import annotations

import json
from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_model, read_net, write_model
from scratchdet_caffe.caffeproto.classes import positions, select_classes
from scratchdet_caffe.cli import Parser, run
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import find_dataset
from scratchdet_caffe.files import read_text

ABOUT = """\
Keep, of a detector's weights, the predictions of those classes that a job of gen has: a net
trained on COCO begins a fine-tuning on VOC with all it knows. All other layers stay as they are."""
EXAMPLE = """\
python -m scratchdet_caffe.transfer --weights coco.caffemodel \\
      --job models/root_resnet34/voc0712/paper-finetune_300 --out coco_to_voc.caffemodel"""


def main(argv: list[str]) -> None:
    """Run the command with ``argv``; see ``--help``."""
    parser = Parser("transfer", ABOUT, EXAMPLE)
    parser.add_argument("--weights", required=True, type=Path, help=".caffemodel to begin with")
    parser.add_argument("--job", required=True, type=Path, help="the folder that gen made")
    parser.add_argument("--out", required=True, type=Path, help=".caffemodel to write")
    parser.add_argument(
        "--from",
        dest="dataset",
        default="coco",
        help="what the weights were trained on: a word of gen --list or a prepared folder "
        "(default: coco)",
    )
    args = parser.parse_args(argv)
    old, new = find_dataset(args.dataset).classes, _classes(args.job / "job.json")
    shapes = infer(read_net(args.job / "deploy.prototxt"), pb.TEST)
    wanted = {layer.name: layer.params for layer in shapes.layers}
    weights = read_model(args.weights)
    model, changed = select_classes(weights, wanted, len(old), positions(old, new))
    if not changed:
        raise UserError(
            f"{args.weights}: no layer has the {len(old)} classes of {args.dataset} where "
            f"{args.job} has {len(new)}; there is nothing to transfer"
        )
    write_model(args.out, model)
    known = {layer.name for layer in weights.layer}
    absent = [name for name, params in wanted.items() if params and name not in known]
    print(
        f"wrote {args.out}: {len(new) - 1} of {len(old) - 1} classes in {len(changed)} layers"
        + (f"; not in the weights, so begun anew: {', '.join(absent)}" if absent else "")
    )


def _classes(path: Path) -> tuple[str, ...]:
    try:
        return tuple(json.loads(read_text(path))["dataset"]["classes"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no record of a job; gen writes one") from error


if __name__ == "__main__":
    run("transfer", main)
