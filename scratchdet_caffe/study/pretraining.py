"""Pretrained backbones: weights that the user gives, or classifiers trained here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scratchdet_caffe.data.crops import CLASSES
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.classifier import Classifier
from scratchdet_caffe.experiment.paper_tables import Pretraining
from scratchdet_caffe.files import read_text
from scratchdet_caffe.render import write_classifier
from scratchdet_caffe.study.cells import Cell, Wish
from scratchdet_caffe.study.processes import Processes, command_line
from scratchdet_caffe.study.record import DONE, FAILED, Record, held, read_record, write_record
from scratchdet_caffe.study.steps import CONSOLE, failure


@dataclass(frozen=True)
class PretrainingTask:
    """One backbone to pretrain, as a task of the schedule.

    Attributes:
        backbone: Its word, e.g. ``vgg16-bn``.
        cell: A cell that needs it; its job has the backbone.
        how: How it is trained.
        data: Folder of the detection set whose objects are cut out.
        wish: The study.
        processes: Runs the commands.
        threads: Of each process.
    """

    backbone: str
    cell: Cell
    how: Pretraining
    data: Path
    wish: Wish
    processes: Processes
    threads: int

    @property
    def name(self) -> str:
        return f"pretraining {self.backbone}"

    @property
    def folder(self) -> Path:
        return self.wish.folder / "pretraining" / self.backbone

    @property
    def crops(self) -> Path:
        return self.folder / "crops"

    @property
    def iterations(self) -> int:
        return self.wish.pretraining_iterations

    @property
    def weights(self) -> str:
        """The file that it ends with."""
        return self.cell.job.recipe.weights

    def run(self) -> Record:
        """Cut the objects out, train the classifier; what is there already stays."""
        with held(self.folder) as lock:
            record = read_record(self.folder)
            if record.state == DONE and Path(self.weights).is_file():
                return record
            record.cell = {"backbone": self.backbone, "data": self.data.as_posix()}
            size = str(self.how.size)
            crops = ["crops", "--dataset", self.data.as_posix(), "--size", size,
                     "--out", self.crops.as_posix()]  # fmt: skip
            steps = [] if (self.crops / CLASSES).is_file() else [("prepare", crops)]
            solver = (self.folder / "solver.prototxt").as_posix()
            train = ["--solver", solver, "--resume", "--threads", str(self.threads),
                     "--engine", self.wish.engine, "--device", self.wish.device]  # fmt: skip
            record.state = DONE
            for module, arguments in [*steps, ("train", train)]:
                if module == "train":
                    write_classifier(self._classifier())
                record.commands.append(command_line(module, arguments))
                ended = self.processes.run(module, arguments, self.folder / CONSOLE, lock)
                record.wall_seconds[module] = round(ended.wall_seconds, 2)
                record.cpu_seconds[module] = round(ended.cpu_seconds, 2)
                if ended.status:
                    record.state = FAILED
                    record.reason = failure(module, ended, self.folder / CONSOLE)
                    break
            write_record(self.folder, record)
        return record

    def _classifier(self) -> Classifier:
        with_bn = self.cell.job.recipe.backbone.bn
        tests = read_text(self.crops / "test.txt").splitlines()
        return Classifier(
            job=self.cell.job,
            folder=self.folder.as_posix(),
            crops=self.crops.as_posix(),
            classes=len(read_text(self.crops / CLASSES).splitlines()),
            tests=len(tests),
            size=self.how.size,
            batch=self.how.batch,
            base_lr=self.how.base_lr if with_bn else self.how.base_lr_without,
            max_iter=self.iterations,
        )


def backbones(cells: Sequence[Cell]) -> dict[str, Cell]:
    """Return the pretrained backbones that ``cells`` need, each with a cell that needs it."""
    return {cell.backbone: cell for cell in reversed(cells) if cell.backbone}


def brought(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Return backbone and file of all pretrained weights that ``cells`` begin with."""
    pairs = ((cell.backbone, cell.job.recipe.weights) for cell in cells if cell.backbone)
    return list(dict.fromkeys(pairs))


def check_given(wish: Wish, cells: Sequence[Cell]) -> None:
    """Check the weights that the user brings.

    Raises:
        UserError: A file is missing, or nobody needs a backbone of that name.
    """
    needed = backbones(cells)
    for backbone, file in wish.pretrained.items():
        if backbone not in needed:
            known = ", ".join(needed) or "none"
            raise UserError(
                f"--pretrained {backbone}=...: these rows need other backbones: {known}"
            )
        if not Path(file).is_file():
            raise UserError(f"--pretrained {backbone}={file}: no such file")
    for backbone, file in brought(cells):
        if wish.table.scales[wish.scale].pretraining is None and not Path(file).is_file():
            raise UserError(
                f"{file}: the weights of the pretrained rows are not there: put them there, give "
                f"--pretrained {backbone}=FILE, or choose other --rows"
            )
