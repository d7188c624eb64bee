"""Pictures with one label each: the records of Data and ImageData layers, and their batches.

A batch is a function of (seed, position) alone, so a resumed run sees what the unbroken one sees.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_binary
from scratchdet_caffe.data.database import Database
from scratchdet_caffe.data.making import record_generator
from scratchdet_caffe.data.order import ALONE, Shard, places
from scratchdet_caffe.data.pixels import read_mean
from scratchdet_caffe.data.raw import Floats, planes_of, transformed
from scratchdet_caffe.data.skipping import MOST_IN_A_ROW, STOP, Tally, checked_policy, first_good
from scratchdet_caffe.data.transform import Transformer
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_bytes, read_text


class Records(Protocol):
    """Labelled pictures by index."""

    def __len__(self) -> int: ...

    def where(self, index: int) -> str:
        """Return how errors name record ``index``."""

    def datum(self, index: int) -> pb.Datum:
        """Return record ``index``."""


class DatumRecords:
    """An LMDB of Datum, as convert_imageset writes it, in the order of its keys.

    Raises:
        UserError: No such folder, no LMDB, or a LevelDB.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if (Path(path) / "CURRENT").is_file():
            raise UserError(f"{path}: a LevelDB, which is not read here: convert it to an LMDB")
        self._database = Database(path)

    def __len__(self) -> int:
        return len(self._database)

    def where(self, index: int) -> str:
        return self._database.where(index)

    def datum(self, index: int) -> pb.Datum:
        where = self.where(index)
        datum = parse_binary(self._database.value(index), pb.Datum, where)
        if not datum.data and not datum.float_data:
            raise UserError(
                f"{where} holds no picture: it is no Datum (AnnotatedDatum is for AnnotatedData)"
            )
        return datum


class ListedPictures:
    """Picture files named by a list with ``path label`` a line, as ImageData reads it.

    Args:
        path: The list; blank lines do not count.
        root: Put before each path as it stands, without a slash of its own (Caffe's rule).

    Raises:
        UserError: The list cannot be read, is empty, or a line has no whole number as its label.
    """

    def __init__(self, path: str, root: str = "") -> None:
        self._pictures: list[tuple[str, int]] = []
        for number, line in enumerate(read_text(path, "list of pictures").splitlines(), 1):
            if not line.strip():
                continue
            # Paths may hold spaces: the last one ends the path.
            picture, _, label = line.strip().rpartition(" ")
            try:
                self._pictures.append((root + picture.rstrip(), int(label)))
            except ValueError as error:
                raise UserError(
                    f"{path}:{number}: expected 'path label' with a whole number as label, "
                    f"not '{line.strip()}'"
                ) from error
        if not self._pictures:
            raise UserError(f"{path}: this list names no picture")

    def __len__(self) -> int:
        return len(self._pictures)

    def where(self, index: int) -> str:
        return self._pictures[index][0]

    def datum(self, index: int) -> pb.Datum:
        path, label = self._pictures[index]
        return pb.Datum(encoded=True, data=read_bytes(path, "picture"), label=label)


class LabelledBatches:
    """Batches of labelled pictures.

    Args:
        layer: Its ``transform_param`` counts, without AnnotatedData's distort and expand.
        phase: ``pb.TRAIN`` or ``pb.TEST``: crop_size is random in the one, central in the other.
        records: Where the pictures come from.
        batch_size: Pictures of a batch.
        shuffle: Take the records of every epoch in an order of its own.
        rand_skip: Leave out a random number of records, below this, at the start.
        on_bad: What to do about a bad picture, ``"stop"``, or ``"skip"`` and count.

    Raises:
        UserError: Settings that contradict each other or are not supported.
    """

    def __init__(
        self,
        layer: pb.LayerParameter,
        phase: int,
        records: Records,
        batch_size: int,
        shuffle: bool = False,
        rand_skip: int = 0,
        on_bad: str = STOP,
    ) -> None:
        plain = pb.LayerParameter(name=layer.name)
        plain.transform_param.CopyFrom(layer.transform_param)
        plain.transform_param.ClearField("distort_param")
        plain.transform_param.ClearField("expand_param")
        self._param = plain.transform_param
        self._transformer = Transformer(plain, phase)
        self._mean = read_mean(self._param.mean_file) if self._param.mean_file else None
        self._train = phase == pb.TRAIN
        self._records, self._batch_size = records, batch_size
        self._shuffle, self._rand_skip = shuffle, rand_skip
        self._on_bad, self._bad = checked_policy(on_bad), Tally()
        self._ordered: tuple[tuple[int, int], npt.NDArray[np.int64]] | None = None

    @property
    def skipped(self) -> int:
        """Bad pictures passed over so far."""
        return self._bad.count

    def batch(self, seed: int, position: int, shard: Shard = ALONE) -> tuple[Floats, Floats]:
        """Return pictures ``(N, C, H, W)`` and labels ``(N,)``.

        Args:
            seed: Of all random choices.
            position: Records consumed before this batch, over all epochs and processes.
            shard: Rank and number of the processes that share the records; see `places`.

        Raises:
            UserError: A picture is missing, corrupt, or does not fit; it is named.
        """
        start = 0
        if self._rand_skip:
            start = int(np.random.default_rng((seed,)).integers(self._rand_skip))
        pictures: list[Floats] = []
        labels: list[int] = []
        count = len(self._records)
        for place in places(position, self._batch_size, shard):
            epoch, first = divmod(place + start, count)
            following = [(first + i) % count for i in range(min(MOST_IN_A_ROW, count))]
            indices = self._order(seed, epoch)[following].tolist() if self._shuffle else following
            made = partial(self._made, record_generator(seed, epoch, indices[0]), pictures[:1])
            (picture, label), skipped = first_good(indices, self._records.where, made, self._on_bad)
            self._bad.add(skipped)
            pictures.append(picture)
            labels.append(label)
        return np.stack(pictures), np.array(labels, np.float32)

    def _made(
        self, rng: np.random.Generator, first: list[Floats], index: int
    ) -> tuple[Floats, int]:
        datum = self._records.datum(index)
        picture = self._picture(datum, rng)
        if first and picture.shape != first[0].shape:
            raise UserError(
                f"the picture comes out as {picture.shape} (C, H, W) but its batch began "
                f"with {first[0].shape}: set a crop or a resize, or batch_size: 1"
            )
        return picture, datum.label

    def _picture(self, datum: pb.Datum, rng: np.random.Generator) -> Floats:
        if datum.encoded:
            return self._transformer(pb.AnnotatedDatum(datum=datum), rng)[0]
        return transformed(planes_of(datum), self._param, self._mean, self._train, rng)

    def _order(self, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        if self._ordered is None or self._ordered[0] != (seed, epoch):
            order = np.random.default_rng((seed, epoch)).permutation(len(self._records))
            self._ordered = ((seed, epoch), order)
        return self._ordered[1]
