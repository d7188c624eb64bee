"""The pictures of a study: made once, below the folder of all studies, and used by all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import DATASETS
from scratchdet_caffe.experiment.paper_tables import Preparation
from scratchdet_caffe.study.processes import Processes, command_line
from scratchdet_caffe.study.record import held

LAST_WRITTEN = "labelmap.prototxt"  # by `prepare`


class Datasets:
    """Where the data of a study is.

    Args:
        out: The folder over all studies.
        made: How the data is made, by its word.
        root: What the user brings, e.g. a VOCdevkit; None where the databases lie as upstream's
            scripts leave them.
    """

    def __init__(self, out: str, made: Mapping[str, Preparation], root: Path | None = None) -> None:
        self._out, self._made, self._root = out, made, root

    def folder(self, word: str) -> Path:
        """Return the folder of the prepared data."""
        return Path(self._out) / "data" / word

    def ready(self, word: str) -> bool:
        """Whether the data was prepared."""
        return (self.folder(word) / LAST_WRITTEN).is_file()

    def made_here(self, word: str) -> bool:
        """Whether a study prepares the data, rather than find it where upstream's lies."""
        return self._root is not None or not self._made[word].root

    def brought(self, word: str) -> bool:
        """Whether the user brings the data."""
        return bool(self._made[word].root)

    def word(self, word: str) -> str:
        """Return what ``gen`` takes as the dataset."""
        return self.folder(word).as_posix() if self.made_here(word) else word

    def arguments(self, word: str) -> list[str]:
        """Return the arguments of ``prepare`` that make it."""
        how = self._made[word]
        root = ["--root", str(self._root)] if how.root else []
        return [*how.prepare, *root, "--out", self.folder(word).as_posix()]

    def missing(self, words: Iterable[str]) -> list[str]:
        """Return those of ``words`` that a study would have to make first."""
        return [word for word in dict.fromkeys(words)
                if self.made_here(word) and not self.ready(word)]  # fmt: skip

    def check(self, words: Iterable[str]) -> None:
        """Check that what must be brought is there.

        Raises:
            UserError: It is not.
        """
        for word in dict.fromkeys(words):
            how = self._made[word]
            if how.root and self._root is None and not _is_laid_out(word):
                raise UserError(
                    f"the data '{word}' is not here: give --data with {how.root}, or put the "
                    f"databases where upstream's scripts do ({DATASETS[word].find().trainval_lmdb})"
                )
            if how.root and self._root is not None and not self._root.is_dir():
                raise UserError(f"--data {self._root}: no such folder; it has to be {how.root}")

    def make(self, word: str, processes: Processes) -> None:
        """Prepare the data of that word.

        Raises:
            UserError: ``prepare`` refuses; the sentence is its own.
            Stopped: The study was asked to stop.
        """
        console = Path(self._out) / "data" / f"{word}.log"
        console.parent.mkdir(parents=True, exist_ok=True)
        with held(console.parent) as lock:
            if self.ready(word):
                return
            console.unlink(missing_ok=True)
            arguments = self.arguments(word)
            ended = processes.run("prepare", arguments, console, lock)
        if ended.status:
            said = console.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise UserError(
                f"{command_line('prepare', arguments)}: {said[-1] if said else ended.status}"
            )


def _is_laid_out(word: str) -> bool:
    if word not in DATASETS:
        return False
    data = DATASETS[word].find()
    return all(Path(path).exists() for path in (data.trainval_lmdb, data.test_lmdb, data.label_map))
