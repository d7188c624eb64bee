"""The files of a snapshot: which there are under a prefix, which belong together, which are whole.

A snapshot is ``<prefix>_iter_N.caffemodel``, ``.solverstate`` (either may end in ``.h5``: then it
is HDF5) and the sidecar ``.state.json``, which Caffe does not know.
"""

from __future__ import annotations

import glob
import json
import re
import shutil
from pathlib import Path
from typing import Any

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_model, read_state
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.files import read_text, remove


def numbered_snapshots(prefix: str, suffix: str = ".solverstate") -> list[tuple[int, Path]]:
    """Return N and file of each ``<prefix>_iter_N<suffix>`` or ``.h5`` twin, largest N last."""
    folder, stem = Path(prefix).parent, Path(prefix).name
    pattern = re.compile(re.escape(stem) + r"_iter_(\d+)" + re.escape(suffix) + r"(?:\.h5)?")
    found = []
    for file in folder.glob(f"{glob.escape(stem)}_iter_*{suffix}*"):
        if match := pattern.fullmatch(file.name):
            found.append((int(match[1]), file))
    return sorted(found)


def find_snapshots(prefix: str, suffix: str = ".solverstate") -> list[Path]:
    """Return the files of `numbered_snapshots` without their numbers."""
    return [file for _, file in numbered_snapshots(prefix, suffix)]


def sidecar_of(state: Path) -> Path:
    """Return the path of the sidecar that belongs to the state file ``state``."""
    stem = state.name.removesuffix(".h5").removesuffix(".solverstate")
    return state.with_name(f"{stem}.state.json")


def check_state(path: Path) -> pb.SolverState:
    """Read the state file ``path``.

    Raises:
        UserError: No such file, cut short, empty, or another kind of file.
    """
    state = read_state(path)
    if not state.HasField("iter"):
        hint = ": a .caffemodel goes to --weights" if ".caffemodel" in path.name else ""
        raise UserError(f"{path}: not a solver state{hint}")
    return state


def model_of(state: pb.SolverState, path: Path) -> Path:
    """Return the weights of the state that was read from ``path``.

    The file beside the state comes first: a job that was copied must not take its weights from
    the place where it was copied from.

    Raises:
        UserError: They are neither beside it nor where the state says.
    """
    named = Path(state.learned_net)
    for model in (path.with_name(named.name), named):
        if named.name and model.is_file():
            return model
    raise UserError(f"{path}: its weights '{named}' are neither beside it nor there")


def read_sidecar(path: Path, state: pb.SolverState) -> dict[str, Any]:
    """Return what the sidecar of the state at ``path`` holds; nothing if there is none.

    Raises:
        UserError: It is damaged, or belongs to another snapshot.
    """
    file = sidecar_of(path)
    if not file.is_file():
        return {}
    try:
        sidecar = json.loads(read_text(file, "state sidecar"))
    except json.JSONDecodeError as error:
        raise UserError(f"{file}: damaged: {error}") from error
    if not isinstance(sidecar, dict) or not _is_well_formed(sidecar):
        raise UserError(f"{file}: damaged: not what a snapshot writes")
    if sidecar["iter"] != state.iter:
        raise UserError(f"{file}: belongs to iteration {sidecar['iter']}, not {state.iter}")
    return sidecar


def _is_well_formed(sidecar: dict[str, Any]) -> bool:
    sizes = sidecar.get("bytes", {})
    positions = [sidecar.get("train_positions"), *sidecar.get("test_positions", [])]
    return (
        isinstance(sidecar.get("iter"), int)
        and isinstance(sidecar.get("type"), str)
        and isinstance(sidecar.get("seed"), int)
        and all(isinstance(table, dict) for table in (sizes, *positions))
        and all(isinstance(v, int) for table in (sizes, *positions) for v in table.values())
    )


def newest_complete(prefix: str) -> tuple[Path | None, list[str]]:
    """Return the newest state under ``prefix`` that can be resumed, or None.

    Snapshots of which a file is missing, cut short or damaged are passed over; the second value
    says why, a sentence each.
    """
    passed_over = []
    for path in reversed(find_snapshots(prefix)):
        try:
            state = check_state(path)
            sizes = read_sidecar(path, state).get("bytes", {})
            model = model_of(state, path)
            for file in (path, model):
                if sizes.get(file.name, file.stat().st_size) != file.stat().st_size:
                    raise UserError(f"{file}: has not the size with which it was written")
            if not read_model(model).layer:
                raise UserError(f"{model}: holds no layers")
        except UserError as error:
            passed_over.append(str(error))
        else:
            return path, passed_over
    return None, passed_over


def move_aside(prefix: str, *others: Path, after: int = -1) -> Path | None:
    """Move the snapshots under ``prefix`` and the ``others`` into a new folder beside them.

    Args:
        prefix: The solver's ``snapshot_prefix``.
        others: Further files, which may be missing.
        after: Snapshots up to this iteration stay.

    Returns:
        The folder ``earlier_1``, ``earlier_2``, ..., or None where there was no snapshot.
    """
    suffixes = (".solverstate", ".caffemodel")
    files = [f for s in suffixes for n, f in numbered_snapshots(prefix, s) if n > after]
    if not files:
        return None
    files += [sidecar for f in files if (sidecar := sidecar_of(f)).is_file()]
    number = 1
    while (folder := Path(prefix).parent / f"earlier_{number}").exists():
        number += 1
    folder.mkdir()
    for file in (*files, *(other for other in others if other.is_file())):
        file.replace(folder / file.name)
    return folder


def remove_unfinished(prefix: str) -> None:
    """Remove what a process that was killed left of a snapshot that it was writing."""
    stem = Path(prefix).name
    for left in Path(prefix).parent.glob(f".{glob.escape(stem)}_iter_*.part"):
        shutil.rmtree(left, ignore_errors=True)


def keep_newest(prefix: str, count: int) -> list[int]:
    """Remove all snapshots under ``prefix`` but the newest ``count``; return their iterations.

    Each loses its state first: what remains if that is interrupted is no snapshot.
    """
    removed = sorted({number for number, _ in numbered_snapshots(prefix)})[:-count]
    for suffix in (".solverstate", ".caffemodel"):
        for number, file in numbered_snapshots(prefix, suffix):
            if number in removed:
                remove(file)
                remove(sidecar_of(file))
    return removed


def set_apart(prefix: str, iteration: int) -> Path | None:
    """Rename the snapshot of ``iteration`` so that nothing resumes or scores it.

    Returns:
        The new name of its weights, or None where there is no such snapshot.
    """
    renamed = None
    for suffix in (".solverstate", ".caffemodel"):
        for file in find_snapshots(prefix, suffix):
            if f"_iter_{iteration}{suffix}" in file.name:
                renamed = file.replace(file.with_name(f"{file.name}.diverged"))
    return renamed
