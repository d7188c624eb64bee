"""What a study runs: its cells, each a row of a table with one seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import Job, plan
from scratchdet_caffe.experiment.paper_tables import PaperTable, Row, Words
from scratchdet_caffe.experiment.plan import rescaled
from scratchdet_caffe.files import read_text


@dataclass(frozen=True)
class Wish:
    """What the user asks for.

    Attributes:
        table: The table or figure.
        scale: A word of ``SCALES``.
        out: The folder over all studies.
        rows: Names or shell patterns of rows; empty for all.
        seeds: Every row is run once with each.
        max_iter: Iterations in place of the recipe's, its schedule shortened alike.
        settings: ``--set`` overrides, laid over those of the rows.
        batch: Pictures at once in place of the recipe's; the passes of an iteration follow.
        pretrained: Weights by backbone: ``vgg16``, or ``vgg16-bn`` with BatchNorm.
        engine: A word of ``ENGINES``.
        device: A word of ``DEVICES``.
    """

    table: PaperTable
    scale: str
    out: str = "runs"
    rows: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1,)
    max_iter: int | None = None
    batch: int | None = None
    settings: tuple[str, ...] = ()
    pretrained: Mapping[str, str] = field(default_factory=dict)
    engine: str = "torch"
    device: str = "cpu"

    @property
    def folder(self) -> Path:
        """Where all cells and the table lie."""
        return Path(self.out) / f"{self.table.name}-{self.scale}"

    @property
    def changes(self) -> list[str]:
        """What departs from the table's own words."""
        given = {"--max-iter": self.max_iter, "--batch": self.batch}
        flags = [f"{flag} {value}" for flag, value in given.items() if value is not None]
        return [*flags, *(f"--set {text}" for text in self.settings)]

    @property
    def pretraining_iterations(self) -> int:
        """Iterations of a classifier that is trained before a detector, at most ``max_iter``."""
        how = self.table.scales[self.scale].pretraining
        own = how.max_iter if how else 0
        return own if self.max_iter is None else min(own, self.max_iter)

    def weights(self, arch: str, backbone: str, usual: str) -> str:
        """Return the file with the pretrained ``backbone``, whether it is there yet or not.

        Args:
            arch: The backbone's arch.
            backbone: The same, with ``-bn`` where it has BatchNorm.
            usual: Where the recipe expects it.
        """
        scale = self.table.scales[self.scale]
        if backbone in self.pretrained:
            return self.pretrained[backbone]
        if scale.pretraining is None:
            return scale.weights.get(backbone) or usual or f"models/{backbone}.caffemodel"
        name = f"{arch}_classifier_iter_{self.pretraining_iterations}.caffemodel"
        return (self.folder / "pretraining" / backbone / name).as_posix()


@dataclass(frozen=True)
class Cell:
    """One row with one seed.

    Attributes:
        row: The row.
        words: What it runs.
        seed: Of initial weights and the order of the pictures.
        job: The same as a job; its folder is the cell's.
        backbone: For a pretrained row, its word among the pretrained backbones; else empty.
            Its weights are the job's.
    """

    row: Row
    words: Words
    seed: int
    job: Job
    backbone: str = ""

    @property
    def name(self) -> str:
        return f"{self.row.name}_seed{self.seed}"

    @property
    def trained_in(self) -> Path:
        """The folder with the net and its snapshots."""
        return Path(self.job.folder)

    @property
    def folder(self) -> Path:
        """The folder of the cell's record and results."""
        return self.trained_in / self.row.name if self.row.scores else self.trained_in

    @property
    def results(self) -> Path:
        return self.folder / "results"


def plan_cells(wish: Wish, datasets: Mapping[str, str]) -> list[Cell]:
    """Return the cells of ``wish``, row by row.

    Args:
        wish: What is asked for.
        datasets: What ``gen`` takes as the dataset, by the word of the table.

    Raises:
        UserError: No such row, or its words make no job.
    """
    rows = wish.table.runnable(wish.scale, wish.rows)
    return [_cell(wish, row, seed, datasets) for row in rows for seed in wish.seeds]


def _cell(wish: Wish, row: Row, seed: int, datasets: Mapping[str, str]) -> Cell:
    words = row.words[wish.scale]
    settings = [*words.set, f"solver.random_seed={seed}"]

    def job(weights: str | None) -> Job:
        return plan(
            words.arch,
            datasets[words.data],
            words.recipe,
            bn=words.bn or None,
            weights=weights,
            batch=wish.batch,
            gpus="none" if wish.scale == "mini" else "0",
            settings=[*settings, *wish.settings],
            out=wish.folder.as_posix(),
            name=f"{row.scores or row.name}_seed{seed}",
        )

    usual = job(None).recipe
    if wish.max_iter is not None:  # the schedule of the table's own words, shortened
        shorter = rescaled(usual, wish.max_iter)["solver"]
        settings += [f"solver.{field}={value}" for field, value in shorter.items()]
    if not words.pretrained:
        return Cell(row, words, seed, job("none"))
    # Whether the backbone has BatchNorm, only the settled recipe says.
    backbone = words.arch + "-bn" * usual.backbone.bn
    return Cell(row, words, seed, job(wish.weights(words.arch, backbone, usual.weights)), backbone)


def check_unchanged(cells: Sequence[Cell]) -> None:
    """Refuse cells whose folders hold a job of other settings: their results would be mixed up.

    Raises:
        UserError: The first such cell, and what differs.
    """
    for cell in cells:
        file = cell.trained_in / "job.json"
        if not file.is_file():
            continue
        try:
            there = json.loads(read_text(file))
        except ValueError:
            continue  # half a file: it is rendered anew
        wanted = json.loads(json.dumps(cell.job.record()))
        # However it was asked for: what it settled to counts.
        if not isinstance(there, dict) or {**there, "asked": wanted["asked"]} != wanted:
            raise UserError(
                f"{cell.trained_in}: made with other settings ({_difference(there, wanted)}); "
                "give another --out, or remove that folder"
            )


def _difference(there: Any, wanted: Any, path: str = "") -> str:
    """The first value that differs."""
    if isinstance(there, dict) and isinstance(wanted, dict):
        for key in {**wanted, **there}:
            if key != "asked" and there.get(key) != wanted.get(key):
                inner = f"{path}.{key}" if path else str(key)
                return _difference(there.get(key), wanted.get(key), inner)
    return f"{path}: {there} there, {wanted} now"
