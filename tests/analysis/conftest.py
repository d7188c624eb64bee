"""Nets of other repositories, and short ways to write nets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scratchdet_caffe.analysis.view import NetView, view_net
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text

ROOT = Path(__file__).parents[2]
ZOO = ROOT.parent / "shared" / "zoo" / "prototxt"
ZOO_FILES = sorted(str(path.relative_to(ZOO)) for path in ZOO.rglob("*.prototxt"))


@pytest.fixture
def zoo(shared: Path) -> Path:
    return shared / "zoo" / "prototxt"


@pytest.fixture
def view() -> Callable[..., NetView]:
    """Return the view of a net given as prototxt text."""

    def make(text: str, phase: int | None = None) -> NetView:
        return view_net(parse_text(text, pb.NetParameter), "net.prototxt", phase)

    return make


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``zoo_file`` runs once for each prototxt of the zoo."""
    if "zoo_file" in metafunc.fixturenames:
        none = [pytest.param(None, marks=pytest.mark.skip("needs ../shared/zoo/prototxt"))]
        metafunc.parametrize(
            "zoo_file", [ZOO / name for name in ZOO_FILES] or none, ids=ZOO_FILES or None
        )
