"""Render the nets, the solver and the train script of one job, and say what they hold."""

from __future__ import annotations

import argparse

from scratchdet_caffe.analysis.options import add_options, run_tool
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text
from scratchdet_caffe.cli import Parser, run, text_table
from scratchdet_caffe.engine.rates import check_policy, check_type
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import ARCHS, DATASETS, HEADS, PUBLISHED, Job, plan
from scratchdet_caffe.experiment.plan import BN_CHOICES
from scratchdet_caffe.experiment.recipe_files import about_recipe, recipe_names
from scratchdet_caffe.render import (
    differing_file,
    job_files,
    published_files,
    write_files,
    write_job,
)

ABOUT = """\
Write <out>/<arch>/<dataset>/<job>/ with train.prototxt, test.prototxt, deploy.prototxt,
solver.prototxt, train.sh and job.json, and print the maps that are predicted from."""
EXAMPLE = """\
python -m scratchdet_caffe.gen --arch root_resnet34 --dataset voc0712 --recipe paper
  python -m scratchdet_caffe.gen --arch root_resnet18 --dataset data/bccd --recipe mini \\
      --size 192 --max-iter 1500 --set solver.base_lr=0.02 --set priors.first_ratio=7
  python -m scratchdet_caffe.gen --lint models/root_resnet34/voc0712/paper_300"""


def main(argv: list[str]) -> int:
    """Run the command with ``argv``; see ``--help``."""
    args = _parser().parse_args(argv)
    if (status := run_tool(args)) is not None:
        return status
    if args.list:
        print(_listing())
        return 0
    if args.check:
        return _check(args.out)
    if args.published:
        write_files(published_files(PUBLISHED, args.out))
        print(f"wrote {len(PUBLISHED)} published nets below {args.out}")
        return 0
    if not args.arch or not args.dataset:
        raise UserError("give --arch and --dataset (or --list to see what there is)")
    job = plan(
        args.arch,
        args.dataset,
        args.recipe,
        size=args.size,
        head=args.head,
        bn=args.bn,
        weights=args.weights,
        max_iter=args.max_iter,
        batch=args.batch,
        gpus=args.gpus,
        settings=args.settings,
        out=args.out,
        name=args.job,
    )
    report = _report(job)
    write_job(job)
    print(report)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser("gen", ABOUT, EXAMPLE)
    parser.add_argument("--arch", help="backbone, e.g. root_resnet34")
    parser.add_argument("--dataset", help="voc0712, coco, shapes, or a folder made by prepare")
    parser.add_argument(
        "--recipe", default="release-caffe", help="all other choices (default: release-caffe)"
    )
    parser.add_argument("--size", type=int, help="side of the input in pixels (default: recipe's)")
    parser.add_argument("--head", help="ssd or refinedet (default: recipe's)")
    parser.add_argument("--bn", help=f"where BatchNorm is: {', '.join(BN_CHOICES)}")
    parser.add_argument(
        "--weights", help=".caffemodel that train.sh begins with, or none (default: recipe's)"
    )
    parser.add_argument(
        "--max-iter", type=int, help="iterations; the recipe's schedule scales with it"
    )
    parser.add_argument(
        "--batch", type=int, help="training images at once on each GPU; iter_size makes up the rest"
    )
    parser.add_argument("--gpus", help="GPUs to train on, e.g. 0,1, or none (default: recipe's)")
    parser.add_settings(
        "override any field of the recipe, e.g. solver.base_lr=0.01; may be repeated"
    )
    parser.add_argument("--job", help="name of the job's folder (default: <recipe>_<size>)")
    parser.add_argument("--out", default="models", help="folder over all jobs (default: models)")
    parser.add_argument("--list", action="store_true", help="list all words and end")
    parser.add_argument(
        "--published", action="store_true", help="render all published nets below --out, and end"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="fail if a published net below --out is not what is rendered now",
    )
    add_options(parser)
    return parser


def _listing() -> str:
    groups = {
        "archs": [(arch.name, arch.about) for arch in ARCHS],
        "heads": [(head.name, head.about) for head in HEADS],
        "datasets": [(entry.name, entry.about) for entry in DATASETS]
        + [("data/NAME", "any folder that `prepare` made")],
        "recipes": [(name, about_recipe(name)) for name in recipe_names()],
    }
    width = max(len(name) for entries in groups.values() for name, _ in entries)
    lines = []
    for group, entries in groups.items():
        lines += [group, *(f"  {name:<{width}}  {about}" for name, about in entries)]
    return "\n".join(lines)


def _check(out: str) -> int:
    """Compare the published nets below ``out`` with what is rendered now; 1 if one differs."""
    different = differing_file(published_files(PUBLISHED, out))
    if different:
        print(f"{different}: is not what gen renders now; gen --published renders all again")
        return 1
    print(f"{out}: {len(PUBLISHED)} published nets are what gen renders")
    return 0


def _report(job: Job) -> str:
    """Return the table of sources and the totals of the deploy net, all files parsed once.

    Raises:
        UserError: An override made a file that the schema, the solver or a layer does not
            accept.
    """
    files = job_files(job)
    solver = f"{job.folder}/solver.prototxt"
    param = parse_text(files["solver.prototxt"], pb.SolverParameter, solver)
    check_type(param)
    check_policy(param)
    for name, phase in (("train", pb.TRAIN), ("test", pb.TEST), ("deploy", pb.TEST)):
        path = f"{name}.prototxt"
        shapes = infer(parse_text(files[path], pb.NetParameter, f"{job.folder}/{path}"), phase)
    rows = []
    for source in job.sources:
        height, width = shapes.blobs[source.blob][2:]
        ratios = ", ".join(f"{ratio:g}" for ratio in source.aspect_ratios)
        numbers = (source.step, source.min_size, source.max_size)
        sizes = ("-" if number is None else f"{number:.4g}" for number in numbers)
        rows.append((source.blob, f"{height}x{width}", *sizes, ratios, source.priors))
    head = ("source", "map", "step", "min size", "max size", "aspect ratios", "priors")
    priors = shapes.blobs[job.head.priors][2] // 4
    size, classes = job.recipe.size, len(job.dataset.classes) - 1
    return "\n".join(
        [
            text_table(head, rows),
            "",
            f"{job.arch.name}, {job.head.name} head, {size}x{size}, "
            f"{classes} class{'es' * (classes != 1)}: {priors:,} priors, "
            f"{shapes.parameters:,} parameters, {shapes.flops / 1e9:.2f} GFLOPs "
            "(two per multiply-add)",
            _batch(job),
            f"wrote {job.folder}; train with its train.sh",
        ]
    )


def _batch(job: Job) -> str:
    """Say how an iteration is made up, at what rate, and from which weights."""
    solver, batch = job.recipe.solver, job.recipe.data.batch_size
    devices = f"{len(solver.gpus)} GPU{'s' * (len(solver.gpus) > 1)}" if solver.gpus else "CPU"
    passes = f" x {solver.iter_size} passes" if (solver.iter_size or 1) > 1 else ""
    weights = f"from {job.recipe.weights}" if job.recipe.weights else "from scratch"
    return f"batch {batch} on {devices}{passes}, base_lr {solver.base_lr:g}, {weights}"


if __name__ == "__main__":
    run("gen", main)
