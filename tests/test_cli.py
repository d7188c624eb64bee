"""How every command ends."""

from __future__ import annotations

import numpy as np
import pytest

from scratchdet_caffe import cli
from scratchdet_caffe.errors import UserError


def raises(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (UserError("no such thing"), 2, "try: error: no such thing"),
        (MemoryError(), 2, "try: error: out of memory: ask"),
        (MemoryError("Unable to allocate 9 PiB"), 2, "out of memory (Unable to allocate 9 PiB):"),
        (KeyboardInterrupt(), 130, "try: interrupted"),
    ],
)
def test_what_stops_a_command_is_one_line(
    error: BaseException, status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run("try", lambda _: raises(error))
    assert end.value.code == status
    printed = capsys.readouterr().err
    assert says in printed
    assert len(printed.splitlines()) == 1


def test_an_array_that_is_too_large_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.run("try", lambda _: np.empty((1 << 40, 1 << 20), np.uint8) and None)
    assert "out of memory (Unable to allocate" in capsys.readouterr().err
