"""``python -m scratchdet_caffe.prepare``: pictures and annotations -> what training reads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto.labelmap import labels_by_name, make_label_map, read_label_map
from scratchdet_caffe.cli import Parser, run, text_table
from scratchdet_caffe.data.build import Item, box_counts, build_dataset
from scratchdet_caffe.data.shapes import write_shapes
from scratchdet_caffe.data.vocset import folders_tested, set_entries, voc_folders
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text

EXAMPLE = """\
python -m scratchdet_caffe.prepare shapes --out data/shapes
  python -m scratchdet_caffe.prepare voc --root ~/data/VOCdevkit --out data/voc0712
  python -m scratchdet_caffe.prepare voc --root my/set --test-set val --out data/my"""
OUTPUT = (
    "Writes labelmap.prototxt, trainval.txt, test.txt, test_name_size.txt, trainval_lmdb/ and "
    "test_lmdb/ into --out. Everything is checked before anything is written."
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command; each source of data is a subcommand."""
    main_parser = Parser("prepare", f"Turn pictures and annotations into LMDBs. {OUTPUT}", EXAMPLE)
    sources = main_parser.add_subparsers(
        dest="source", required=True, parser_class=argparse.ArgumentParser
    )

    shapes = sources.add_parser(
        "shapes", help="make a synthetic set", description=f"Make a synthetic set. {OUTPUT}"
    )
    shapes.add_argument("--out", type=Path, required=True, help="folder to write")
    shapes.add_argument("--train", type=int, default=1000, help="training pictures (1000)")
    shapes.add_argument("--test", type=int, default=200, help="test pictures (200)")
    shapes.add_argument("--size", type=int, default=96, help="width and height in pixels (96)")
    shapes.add_argument("--seed", type=int, default=0, help="seed of pictures and order (0)")
    shapes.set_defaults(command=_shapes)

    voc = sources.add_parser(
        "voc", help="convert a VOC folder", description=f"Convert a VOC folder. {OUTPUT}"
    )
    voc.add_argument(
        "--root",
        type=Path,
        required=True,
        help="a VOCdevkit, or any folder with JPEGImages, Annotations and ImageSets/Main",
    )
    voc.add_argument(
        "--year", action="append", default=[], help="of VOC<year> in a VOCdevkit; may be repeated"
    )
    voc.add_argument("--train-set", default="trainval", help="image set to train on (trainval)")
    voc.add_argument("--test-set", default="test", help="image set to test on (test)")
    classes = voc.add_mutually_exclusive_group()
    classes.add_argument(
        "--labelmap", type=Path, help="label map prototxt to use; else the classes found, sorted"
    )
    classes.add_argument("--classes", help="a,b,c or a file with one class a line")
    voc.add_argument("--out", type=Path, required=True, help="folder to write")
    voc.add_argument("--seed", type=int, default=0, help="seed of the training list's order (0)")
    voc.set_defaults(command=_voc)
    return main_parser


def _shapes(options: argparse.Namespace) -> None:
    root = options.out / "VOCdevkit" / "shapes"
    write_shapes(root, options.train, options.test, options.size, options.seed)
    trainval, test = (set_entries(root, [root], name) for name in ("trainval", "test"))
    _report(options.out, *build_dataset(root, options.out, trainval, test, None, options.seed))


def _voc(options: argparse.Namespace) -> None:
    root: Path = options.root
    folders = voc_folders(root, options.year)
    label_map = _given_label_map(options)
    trainval = set_entries(root, folders, options.train_set)
    test = set_entries(root, folders_tested(folders, options.test_set), options.test_set)
    done = build_dataset(root, options.out, trainval, test, label_map, options.seed)
    _report(options.out, *done)


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


def _report(out: Path, label_map: pb.LabelMap, train: list[Item], test: list[Item]) -> None:
    rows: list[tuple[object, ...]] = [("images", len(train), len(test))]
    counts = [box_counts(items) for items in (train, test)]
    rows.append(("boxes", *(count.total() for count in counts)))
    for name, label in labels_by_name(label_map).items():
        if label:
            rows.append((f"  {name}", *(count[name] for count in counts)))
    rows.append(("difficult boxes", _difficult(train), _difficult(test)))
    rows.append(("images without boxes", _empty(train), _empty(test)))
    print(text_table(["", "train", "test"], rows))
    _warn_of_boxes_without_area([*train, *test])
    print(f"\nwrote {out}/: labelmap.prototxt, lists, trainval_lmdb, test_lmdb")


def _difficult(items: Sequence[Item]) -> int:
    return sum(thing.difficult for item in items for thing in item.annotation.objects)


def _empty(items: Sequence[Item]) -> int:
    return sum(not item.annotation.objects for item in items)


def _warn_of_boxes_without_area(items: Sequence[Item]) -> None:
    found = [item for item in items if item.without_area]
    if found:
        boxes = sum(item.without_area for item in found)
        print(
            f"warning: {boxes} box{'es' if boxes > 1 else ''} without area (xmin = xmax or "
            f"ymin = ymax), kept in the LMDB and dropped by every transform; "
            f"first in {found[0].entry.annotation}",
            file=sys.stderr,
        )


def main(argv: list[str]) -> int:
    """Run the command with ``argv``; return its exit status."""
    options = parser().parse_args(argv)
    options.command(options)
    return 0


if __name__ == "__main__":
    run("prepare", main)
