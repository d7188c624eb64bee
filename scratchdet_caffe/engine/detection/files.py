"""The result files that DetectionOutput writes: ``save_output_param``."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_prototxt
from scratchdet_caffe.caffeproto.namesize import read_name_size
from scratchdet_caffe.engine.detection.pixels import to_pixels
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import write_text
from scratchdet_caffe.metrics.caffe_files import FileRows, coco_text, ilsvrc_text, voc_files

LOG = logging.getLogger("caffe")
FORMATS = ("VOC", "COCO", "ILSVRC")


class ResultFiles:
    """Collects detections over a round of test images and writes their files at its end.

    The n-th image of a round is the n-th of the name_size file. VOC's files are emptied when a
    round begins; all files are written, aside first, when it is complete.

    Args:
        param: The layer's parameters, with an ``output_directory``.

    Raises:
        UserError: The format is unknown, or label map, name_size file or num_test_image are
            unusable.
    """

    def __init__(self, param: pb.DetectionOutputParameter) -> None:
        save = param.save_output_param
        self._format, self._resize = save.output_format, None
        if save.HasField("resize_param"):
            self._resize = save.resize_param
        if self._format not in FORMATS:
            raise UserError(
                f"output_format '{self._format}' is unknown; known are {', '.join(FORMATS)}"
            )
        self._names = _label_names(save.label_map_file)
        rows = read_name_size(save.name_size_file)
        self._images = [name for name, _, _ in rows]
        self._sizes = torch.tensor([row[1:] for row in rows], dtype=torch.float32)
        self._round = save.num_test_image if save.HasField("num_test_image") else len(rows)
        if not 0 < self._round <= len(rows):
            raise UserError(
                f"num_test_image is {self._round}, but {save.name_size_file} lists {len(rows)} "
                "images"
            )
        self._folder, self._prefix = Path(save.output_directory), save.output_name_prefix
        self._background = param.background_label_id
        self._classes = {
            label: self._names.get(label, "")
            for label in range(param.num_classes)
            if label != self._background
        }
        self._seen = 0
        self._found: list[tuple[Tensor, Tensor]] = []

    @classmethod
    def wanted_by(cls, param: pb.DetectionOutputParameter) -> ResultFiles | None:
        """Return the files that a layer asks for, or None if it asks for none.

        Without format, label map and name_size file there are none, as in Caffe. Where these are
        named and missing Caffe stops; here detection goes on, with a warning: nets that were
        trained elsewhere name the folders of elsewhere.
        """
        save = param.save_output_param
        named = (save.output_directory, save.output_format, save.label_map_file)
        if not all((*named, save.name_size_file)):
            return None
        for path in (save.label_map_file, save.name_size_file):
            if not Path(path).exists():
                LOG.warning(
                    f"save_output_param: {path} is not there: no result files will be written to "
                    f"{save.output_directory}"
                )
                return None
        return cls(param)

    def add(self, rows: Tensor, images: int) -> None:
        """Add the detections of a batch; write if they complete a round.

        Args:
            rows: ``(K, 7)`` image, label, score, box, by image; label -1 is no detection.
            images: How many images the batch has.

        Raises:
            UserError: A label is not in the label map, or a file cannot be written.
        """
        if self._seen == 0 and self._format == "VOC":
            for label, name in self._names.items():
                if label != self._background:
                    self._write(f"{name}.txt", "")
        rows = rows.cpu()
        rows = rows[rows[:, 1] >= 0]
        for item in range(images):
            mine = rows[rows[:, 0] == item]
            if unknown := set(mine[:, 1].tolist()) - self._names.keys():
                raise UserError(f"label {min(unknown):.0f} is not in the label map")
            boxes = to_pixels(mine[:, 3:], self._sizes[self._seen], self._resize)
            self._found.append((mine, boxes))
            self._seen += 1
            if self._seen == self._round:
                self._finish()

    def _finish(self) -> None:
        found, boxes = (torch.cat(parts).numpy() for parts in zip(*self._found))
        names = [
            self._images[i] for i, (rows, _) in enumerate(self._found) for _ in range(len(rows))
        ]
        table = FileRows(names, found[:, 1].astype(np.int64), found[:, 2], boxes)
        if self._format == "VOC":
            for name, text in voc_files(table, self._classes).items():
                self._write(f"{name}.txt", text)
        elif self._format == "COCO":
            self._write(".json", coco_text(table, self._names))
        else:
            self._write(".txt", ilsvrc_text(table))
        self._seen, self._found = 0, []

    def _write(self, ending: str, text: str) -> None:
        write_text(self._folder / f"{self._prefix}{ending}", text)


def _label_names(path: str) -> dict[int, str]:
    """Names by label; unlike a data set's label map this one may have gaps."""
    names: dict[int, str] = {}
    for item in read_prototxt(path, pb.LabelMap).item:
        if item.label in names:
            raise UserError(f"{path}: label {item.label} is given twice")
        if "/" in item.name or "\0" in item.name:
            raise UserError(f"{path}: '{item.name}' cannot name a file of detections")
        names[item.label] = item.name
    return names
