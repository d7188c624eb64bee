"""``python -m scratchdet_caffe.prepare``: pictures and annotations -> what training reads."""

from __future__ import annotations

import argparse
import sys
import textwrap
from argparse import BooleanOptionalAction
from collections.abc import Sequence
from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto.labelmap import make_label_map, read_label_map
from scratchdet_caffe.cli import Parser, run
from scratchdet_caffe.data import annoset, summary
from scratchdet_caffe.data.build import BAD, SKIPPED, Dataset, Examined, build_dataset, examine
from scratchdet_caffe.data.cocoset import SPLITS, CocoFolder
from scratchdet_caffe.data.convert import Encoding
from scratchdet_caffe.data.crops import write_crops
from scratchdet_caffe.data.labelfiles import READERS
from scratchdet_caffe.data.samples import nothing
from scratchdet_caffe.data.shapes import SIDES, TINY_SHARE, Drawing, write_shapes
from scratchdet_caffe.data.sheet import write_sheet
from scratchdet_caffe.data.vocset import (
    VOC_SPLITS,
    crlf_lists,
    set_lists,
    split_lists,
    voc_folders,
    voc_like,
    voc_samples,
)
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text, write_text

EXAMPLE = """\
python -m scratchdet_caffe.prepare shapes --out data/shapes
  python -m scratchdet_caffe.prepare check --root ~/data/VOCdevkit
  python -m scratchdet_caffe.prepare voc --root ~/data/VOCdevkit --split 07+12 --out data/voc0712
  python -m scratchdet_caffe.prepare coco --root ~/data/coco --split 2017 --out data/coco
  python -m scratchdet_caffe.prepare voc --root my/set --test-set val --out data/my"""
OUTPUT = (
    "Writes labelmap.prototxt, trainval.txt, test.txt, test_name_size.txt, trainval_lmdb/ and "
    "test_lmdb/ into --out. Everything is checked before anything is written; a run that was "
    "stopped or killed goes on where it was."
)
"""What the subcommands say of themselves."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command; each source of data is a subcommand."""
    about = textwrap.fill(f"Turn pictures and annotations into LMDBs. {OUTPUT}")
    main_parser = Parser("prepare", about, EXAMPLE)
    sources = main_parser.add_subparsers(
        dest="source", required=True, parser_class=argparse.ArgumentParser
    )

    def source(name: str, about: str, more: str = OUTPUT) -> argparse.ArgumentParser:
        text = f"{about[0].upper()}{about[1:]}. {more}"
        return sources.add_parser(name, help=about, description=text)

    shapes = source("shapes", "make a synthetic set")
    shapes.add_argument("--train", type=int, default=1000, help="training pictures (1000)")
    shapes.add_argument("--test", type=int, default=200, help="test pictures (200)")
    shapes.add_argument("--size", type=int, default=96, help="width and height in pixels (96)")
    shapes.add_argument(
        "--sides", type=float, nargs=2, metavar=("LOW", "HIGH"), default=SIDES,
        help="shares of the picture between which sides are drawn (0.22 0.6)",
    )  # fmt: skip
    shapes.add_argument(
        "--tiny", type=float, default=TINY_SHARE, metavar="SHARE",
        help="share of the shapes that are tiny and difficult (0.1)",
    )  # fmt: skip
    shapes.set_defaults(command=_shapes, skip_bad=False)

    crops = source(
        "crops",
        "cut the objects out of a dataset, to pretrain on",
        "Writes train.txt and test.txt with lines 'picture label', for ImageData layers, and the "
        "pictures into --out.",
    )
    crops.add_argument("--dataset", type=Path, required=True, help="a folder that prepare made")
    crops.add_argument("--size", type=int, default=32, help="width and height in pixels (32)")
    crops.set_defaults(command=_crops)

    voc = source("voc", "convert a VOC folder")
    _add_root(voc, "a VOCdevkit, or any folder with JPEGImages, Annotations and ImageSets/Main")
    _add_sets(voc, tuple(VOC_SPLITS), "trainval", "test")
    _add_years(voc)
    _add_classes(voc)
    voc.set_defaults(command=_voc)

    coco = source("coco", "convert a COCO folder")
    _add_root(coco, "holds annotations/instances_NAME.json, and the pictures")
    _add_sets(coco, tuple(SPLITS), "train2017", "val2017")
    _add_pictures(coco)
    _add_classes(coco)
    coco.set_defaults(command=_coco)
    for writer in (shapes, crops, voc, coco):
        writer.add_argument("--out", type=Path, required=True, help="folder to write")
    for writer in (voc, coco):
        writer.add_argument(
            "--skip-bad", action="store_true", help="leave out pictures with faults, and list them"
        )

    check = source(
        "check",
        "read every picture and annotation, and report",
        "Prints counts, histograms and what is wrong or odd; writes the same as files, a line for "
        "each finding, and a contact sheet of pictures with their boxes. Ends with status 2 if "
        "`prepare voc` or `prepare coco` would stop.",
    )
    _add_root(check, "a VOC or COCO folder")
    _add_sets(check, (*VOC_SPLITS, *SPLITS), "trainval or train2017", "test or val2017")
    _add_years(check)
    _add_pictures(check)
    _add_classes(check)
    check.add_argument(
        "--out", type=Path, help="folder for report and sheet (check_<name of the root>)"
    )
    check.set_defaults(command=_check)

    lists = source(
        "list",
        "convert a list of pictures and annotations",
        "Writes one LMDB, as SSD-Caffe's convert_annoset does with the flags of the same names.",
    )
    _add_list(lists)
    lists.set_defaults(command=_list)
    for command in (shapes, crops, voc, coco, check, lists):
        command.add_argument("--seed", type=int, default=0, help="seed of the order (0)")
    return main_parser


def _add_root(command: argparse.ArgumentParser, about: str) -> None:
    command.add_argument("--root", type=Path, required=True, help=about)


def _add_years(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--year", action="append", default=[], help="of VOC<year> in a VOCdevkit; may be repeated"
    )


def _add_pictures(command: argparse.ArgumentParser) -> None:
    command.add_argument("--minival", type=Path, help="list or JSON of the pictures of minival2014")
    command.add_argument("--images", type=Path, help="folder of COCO's pictures (found by itself)")


def _add_classes(command: argparse.ArgumentParser) -> None:
    classes = command.add_mutually_exclusive_group()
    classes.add_argument(
        "--labelmap", type=Path, help="label map prototxt to use; else the classes found"
    )
    classes.add_argument("--classes", help="a,b,c or a file with one class a line")


def _add_sets(
    command: argparse.ArgumentParser, splits: Sequence[str], train: str, test: str
) -> None:
    command.add_argument("--split", choices=splits, help="the usual sets to train and test on")
    command.add_argument("--train-set", metavar="NAME", help=f"set to train on ({train})")
    command.add_argument("--test-set", metavar="NAME", help=f"set to test on ({test})")


def _add_list(command: argparse.ArgumentParser) -> None:
    _add_root(command, "put before each path of the list")
    command.add_argument("--list", type=Path, required=True, help="lines 'picture annotation'")
    command.add_argument("--labelmap", type=Path, required=True, help="label map prototxt")
    command.add_argument("--out", type=Path, required=True, help="LMDB folder to write")
    command.add_argument("--label-type", choices=READERS, default="xml", help="(xml)")
    command.add_argument(
        "--encoded", action=BooleanOptionalAction, default=True, help="picture files, or raw bytes"
    )
    command.add_argument(
        "--encode-type", default="jpg", metavar="T", help="type to store (jpg); '' keeps the own"
    )
    command.add_argument("--gray", action="store_true", help="one channel")
    for name in ("resize-height", "resize-width", "min-dim", "max-dim"):
        command.add_argument(f"--{name}", type=int, default=0, metavar="PIXELS")
    command.add_argument("--check-size", action="store_true", help="all must have one size")
    command.add_argument("--shuffle", action="store_true", help="shuffle the lines with --seed")
    command.add_argument("--name-size", type=Path, help="also write lines 'name height width'")


def _shapes(options: argparse.Namespace) -> None:
    root = options.out / "VOCdevkit" / "shapes"
    drawing = Drawing(options.size, options.seed, tuple(options.sides), options.tiny)
    write_shapes(root, options.train, options.test, drawing)
    train, test = (voc_samples(root, [(root, name)]) for name in ("trainval", "test"))
    _build(options, Dataset(root, train, test, None, options.seed))


def _crops(options: argparse.Namespace) -> None:
    counts = write_crops(options.dataset, options.out, options.size, options.seed)
    lists = ", ".join(f"{name} ({count} pictures)" for name, count in counts.items())
    print(f"wrote {options.out}/: {lists}, classes.txt")


def _voc(options: argparse.Namespace) -> None:
    _build(options, _voc_dataset(options))


def _coco(options: argparse.Namespace) -> None:
    _build(options, _coco_dataset(options))


def _voc_dataset(options: argparse.Namespace) -> Dataset:
    root: Path = options.root
    label_map = _given_label_map(options)
    if options.split and (options.year or options.train_set or options.test_set):
        raise UserError("--split says which years and sets: give it without --year and --*-set")
    if options.split:
        train, test = split_lists(root, options.split)
    else:
        names = (options.train_set or "trainval", options.test_set or "test")
        train, test = set_lists(voc_folders(root, options.year), *names)
    said = "lines end in CR LF, whose CR SSD-Caffe's tools take for a part of the name"
    notes = tuple(("CRLF list", f"{path}: {said}") for path in crlf_lists([*train, *test]))
    tested = voc_samples(root, test, test=True)
    samples = voc_samples(root, train)
    return Dataset(root, samples, tested, label_map, options.seed, notes=notes)


def _coco_dataset(options: argparse.Namespace) -> Dataset:
    if options.split and (options.train_set or options.test_set):
        raise UserError("--split says which sets: give it without --train-set and --test-set")
    usual = SPLITS[options.split or "2017"]
    names = (options.train_set or usual[0], options.test_set or usual[1])
    folder = CocoFolder(options.root, options.minival, options.images)
    train, test = (folder.samples(name) for name in names)
    label_map = _given_label_map(options) or folder.label_map(names[0])
    return Dataset(options.root, train, test, label_map, options.seed)


def _check(options: argparse.Namespace) -> None:
    is_coco = (options.root / "annotations").is_dir()
    if voc_like(options.root):
        is_coco = False
    elif not is_coco:
        raise UserError(
            f"{options.root}: neither a VOC folder (it needs JPEGImages, Annotations and "
            "ImageSets/Main) nor a COCO folder (it needs annotations/*.json)"
        )
    known = tuple(SPLITS) if is_coco else tuple(VOC_SPLITS)
    if options.split and options.split not in known:
        kind = "COCO" if is_coco else "VOC"
        raise UserError(f"{options.root} is a {kind} folder: --split is one of {', '.join(known)}")
    data = _coco_dataset(options) if is_coco else _voc_dataset(options)
    done = examine(data)
    out = options.out or Path(f"check_{options.root.resolve().name}")
    write_text(out / "findings.tsv", "".join(f"{line}\n" for line in summary.report_lines(done)))
    text = "\n\n".join((summary.counts(done), summary.histograms(done), summary.findings(done)))
    write_text(out / "report.txt", text + "\n")
    names = summary.display_names(done.label_map)
    shown = write_sheet(out / "sheet.jpg", data.root, [*done.train.items, *done.test.items], names)
    print(text)
    print(f"\nwrote {out}/: report.txt, findings.tsv, sheet.jpg ({shown} pictures)")
    if done.faults:
        write_text(out / BAD, "".join(f"{fault}\n" for fault in done.faults))
        raise UserError(f"{len(done.faults)} faults, listed in {out / BAD}")


def _list(options: argparse.Namespace) -> None:
    encoding = Encoding(
        encoded=options.encoded,
        encode_type=options.encode_type.lower().lstrip("."),
        gray=options.gray,
        resize_height=options.resize_height,
        resize_width=options.resize_width,
        min_dim=options.min_dim,
        max_dim=options.max_dim,
    )
    given = annoset.AnnoSet(
        options.root,
        options.list,
        options.labelmap,
        options.label_type,
        encoding,
        options.shuffle,
        options.seed,
        options.check_size,
    )
    count = annoset.convert(given, options.out, options.name_size)
    print(f"wrote {options.out}: {count} records")


def _given_label_map(options: argparse.Namespace) -> pb.LabelMap | None:
    if options.labelmap:
        return read_label_map(options.labelmap)
    if options.classes is None:
        return None
    if Path(options.classes).is_file():
        names = read_text(options.classes, "list of classes").split("\n")
    else:
        names = options.classes.split(",")
    names = [name.strip() for name in names if name.strip()]
    if not names:
        raise UserError("--classes: give class names as a,b,c or a file with a class a line")
    return make_label_map(names)


def _build(options: argparse.Namespace, data: Dataset) -> None:
    done = build_dataset(data, options.out, options.skip_bad)
    print(summary.counts(done))
    if all(sample.read is nothing for sample in data.test):
        _warn("the test pictures have no annotations, so what is trained cannot be scored here")
    _warn_of_boxes_without_area(done)
    if (skipped := options.out / SKIPPED).is_file():
        count = len(data.train) + len(data.test) - len(done.train.items) - len(done.test.items)
        _warn(f"left out {count} picture{'s' if count > 1 else ''} with faults: {skipped}")
    print(f"\nwrote {options.out}/: labelmap.prototxt, lists, trainval_lmdb, test_lmdb")


def _warn_of_boxes_without_area(done: Examined) -> None:
    found = [
        where
        for item in (*done.train.items, *done.test.items)
        for where, finding in item.findings
        if finding.kind == "box without area"
    ]
    if found:
        _warn(
            f"{len(found)} box{'es' if len(found) > 1 else ''} without area (a side is 0), kept in "
            f"the LMDB and dropped by every transform; first in {found[0]}"
        )


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def main(argv: list[str]) -> int:
    """Run the command with ``argv``; return its exit status."""
    options = parser().parse_args(argv)
    options.command(options)
    return 0


if __name__ == "__main__":
    run("prepare", main)
