"""Run a pycaffe program unchanged: ``import caffe`` means the embedded engine.

python -m scratchdet_caffe.pycaffe SCRIPT [ARGS]
python -m scratchdet_caffe.pycaffe -m MODULE [ARGS]
"""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path

from scratchdet_caffe.cli import EXIT_USER_ERROR, run
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.pycaffe.logs import log_to_stderr


def main(argv: list[str]) -> int:
    """Run the program that ``argv`` names, with the rest of ``argv`` as its arguments."""
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if argv else EXIT_USER_ERROR
    is_module = argv[0] == "-m"
    if is_module and len(argv) < 2:
        raise UserError("-m needs the name of a module")
    program = argv[1] if is_module else argv[0]
    if not is_module and not Path(program).exists():
        raise UserError(f"{program}: no such program")
    from scratchdet_caffe.pycaffe.alias import install

    install()
    sys.argv = argv[1:] if is_module else argv
    # As the interpreter does: modules beside the program are found first.
    sys.path[0] = "" if is_module else str(Path(program).resolve().parent)
    try:
        with log_to_stderr():
            if is_module:
                runpy.run_module(program, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(program, run_name="__main__")
    except UserError as error:
        raise UserError(f"{_place(error, program)}{error}") from error
    return 0


def _place(error: UserError, program: str) -> str:
    """Where in the program the mistake came to light: ``file:line: ``, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == program]
    return f"{program}:{lines[-1]}: " if lines else ""


if __name__ == "__main__":
    run("pycaffe", main)
