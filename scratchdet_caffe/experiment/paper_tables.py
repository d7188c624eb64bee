"""The paper's tables and figures as data: what a row says, how sure that is, how to run it.

Each is one TOML file in ``paper/`` (see `paper_files`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.registry import unknown

SCALES = ("full", "mini")
CERTAINTY = {
    "read": "read off an image of the paper's own table or figure",
    "secondary": "quoted by a later source; not seen in the paper itself",
    "remembered": "remembered only; seen in no source, and not to be taken for the paper's",
}
"""How sure a number is, from surest to least; the words that tables show."""


@dataclass(frozen=True)
class Quoted:
    """A number of the paper.

    Attributes:
        value: In the units of the table (AP in percent); NaN where the training diverged.
        certainty: A word of `CERTAINTY`.
        source: Where it stands.
    """

    value: float
    certainty: str
    source: str


@dataclass(frozen=True)
class Words:
    """What a row runs, in the words of ``gen``.

    Attributes:
        arch: A backbone.
        data: A word of the table's data.
        recipe: A recipe.
        bn: A word of ``--bn``, or empty.
        set: ``--set`` overrides.
        pretrained: What the backbone's weights come from; empty for a start from scratch.
    """

    arch: str
    data: str
    recipe: str
    bn: str = ""
    set: tuple[str, ...] = ()
    pretrained: str = ""


@dataclass(frozen=True)
class Preparation:
    """How a set of pictures is made.

    Attributes:
        prepare: Arguments of ``prepare``, without ``--root`` and ``--out``.
        root: What the user has to bring; empty if nothing.
    """

    prepare: tuple[str, ...]
    root: str = ""


@dataclass(frozen=True)
class Pretraining:
    """How backbones are pretrained where no weights are to be had: as classifiers of cut objects.

    Attributes:
        data: A word of the table's data; its objects are cut out.
        size: Side of the pictures, pixels.
        batch: Pictures per iteration.
        max_iter: Iterations.
        base_lr: Learning rate with BatchNorm in the backbone.
        base_lr_without: And without.
    """

    data: str
    size: int
    batch: int
    max_iter: int
    base_lr: float
    base_lr_without: float


@dataclass(frozen=True)
class Row:
    """One entry of a table.

    Attributes:
        name: Its word, unique in the table.
        label: What it is, without the column.
        column: Its column, where the table is a grid.
        paper: What the paper says, by measure; empty where that is not known.
        note: A remark on the numbers.
        reference: Whether it is another detector, or one that the paper compares with.
        scores: The row whose net it scores in another way; empty for a net of its own.
        words: By scale, what it runs; a scale that is missing cannot run it.
    """

    name: str
    label: str
    column: str
    paper: Mapping[str, Quoted]
    note: str
    reference: bool
    scores: str
    words: Mapping[str, Words]


@dataclass(frozen=True)
class Claim:
    """What the paper claims, and when a table supports it.

    Every seed of every row in ``better`` must be above every seed of every row in ``worse``, and
    every seed of the rows in ``diverge`` must diverge. A run that diverged is below everything.

    Attributes:
        text: The claim.
        better: Rows, each with a measure: ``row`` (the table's first measure), ``row:measure``,
            or ``row - row:measure`` for the gain from one row to another, seed by seed.
        worse: The same.
        diverge: Names of rows.
    """

    text: str
    better: tuple[str, ...] = ()
    worse: tuple[str, ...] = ()
    diverge: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scale:
    """What holds for all rows at one scale.

    Attributes:
        about: What is to be known of it.
        size_bounds: Sides in pixels at which medium and large objects begin; None for COCO's.
        weights: Where the weights of pretrained backbones usually lie, by backbone: ``vgg16``,
            or ``vgg16-bn`` with BatchNorm.
        pretraining: How backbones are pretrained; None where weights must be brought.
    """

    about: str = ""
    size_bounds: tuple[float, float] | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    pretraining: Pretraining | None = None


@dataclass(frozen=True)
class PaperTable:
    """A table or figure of the paper.

    Attributes:
        name: The word that users type.
        title: Its title.
        about: Nets and data of the paper.
        measures: What is measured, by word; the first is the one that is compared.
        rows: Its entries.
        datasets: How the data is made, by its word.
        columns: Words of the columns, where it is a grid.
        claims: What it shows, at the scale mini.
        traced: Whether every run records its gradients.
        scales: What is to be known of a scale, by its word.
    """

    name: str
    title: str
    about: str
    measures: Mapping[str, str]
    rows: tuple[Row, ...]
    datasets: Mapping[str, Preparation]
    columns: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    traced: bool = False
    scales: Mapping[str, Scale] = field(default_factory=dict)

    def row(self, name: str) -> Row:
        """Return the row of that name.

        Raises:
            UserError: There is none.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise unknown(f"row of {self.name}", name, [row.name for row in self.rows])

    def runnable(self, scale: str, patterns: Sequence[str] = ()) -> list[Row]:
        """Return the rows that can be run at ``scale``, of those whose names match ``patterns``.

        Args:
            scale: A word of `SCALES`.
            patterns: Names or shell patterns, e.g. ``scratch-both-*``; empty for all rows.

        Raises:
            UserError: A pattern matches no row, or only rows that cannot be run.
        """
        rows = [row for row in self.rows if scale in row.words]
        for pattern in patterns:
            if not fnmatch.filter([row.name for row in rows], pattern):
                if fnmatch.filter([row.name for row in self.rows], pattern):
                    raise UserError(f"--rows {pattern}: {self.name} holds only its value")
                raise unknown(f"row of {self.name}", pattern, [row.name for row in rows])
        if patterns:
            rows = [r for r in rows if any(fnmatch.fnmatch(r.name, p) for p in patterns)]
        if not rows:
            raise UserError(f"{self.name} cannot be run at scale {scale}")
        return rows
