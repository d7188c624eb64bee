"""Engines as processes: which one, from where, and what it says when it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import scratchdet_caffe
from scratchdet_caffe.comparison.worker import Job
from scratchdet_caffe.engines import ENGINES
from scratchdet_caffe.errors import UserError

# Not `-m`: it would look into the current folder first, which may hold another scratchdet_caffe.
_PROGRAM = (
    "import sys; sys.path.pop(0); from scratchdet_caffe.comparison import worker; "
    "sys.exit(worker.main(sys.argv[1]))"
)


@dataclass(frozen=True)
class Engine:
    """An engine to compare: "torch" or "caffe", from the default place or a folder.

    Attributes:
        name: As the user wrote it.
        kind: "torch" or "caffe".
        folder: Searched first for the package, ``scratchdet_caffe`` or ``caffe``; or None.
    """

    name: str
    kind: str
    folder: Path | None

    @classmethod
    def parse(cls, text: str) -> Engine:
        """Read ``KIND`` or ``KIND:FOLDER``.

        Raises:
            UserError: Another kind, or no such package in the folder.
        """
        kind, colon, folder = text.strip().partition(":")
        if kind not in ENGINES:
            raise UserError(f"engine '{text}' is none of torch, caffe, torch:FOLDER, caffe:FOLDER")
        package = "scratchdet_caffe" if kind == "torch" else "caffe"
        if colon and not (Path(folder) / package / "__init__.py").is_file():
            raise UserError(f"engine '{text}': there is no package '{package}' in '{folder}'")
        return cls(text.strip(), kind, Path(folder).resolve() if colon else None)

    def run(self, job: Job, file: Path) -> None:
        """Let this engine do ``job``, which is written to ``file``, and wait for it.

        Raises:
            UserError: It failed; the sentence ends with what the engine said last.
        """
        job.write(file)
        own = Path(scratchdet_caffe.__file__).parents[1]
        paths = [self.folder, *os.environ.get("PYTHONPATH", "").split(os.pathsep), own]
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(file)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(str(path) for path in paths if path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        if done.returncode:
            raise UserError(f"engine '{self.name}': {_reason(done.returncode, done.stderr)}")


def _reason(status: int, said: str) -> str:
    """The line that tells most of what a process that failed has said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("error: ") or "Check failed" in line]
    last = (telling or lines[-1:] or ["it said nothing"])[-1].removeprefix("error: ")
    if status < 0:
        return f"ended by {signal.Signals(-status).name}: {last}"
    return last
