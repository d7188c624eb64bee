"""Unmodified programs: ``import caffe`` means the embedded engine, in children too."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import scratchdet_caffe
import scratchdet_caffe.pycaffe as caffe
from scratchdet_caffe.errors import UserError

PROGRAM = """
import multiprocessing, subprocess, sys
import caffe
import caffe.io
from caffe import layers as L, params as P
from caffe.proto import caffe_pb2
from caffe.coord_map import crop
from helper import answer  # a module beside the program

def tell(queue):
    queue.put((caffe.__name__, caffe.TEST))

def main():
    assert sys.argv[1:] == ["--flag", "x"], sys.argv
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 2]))
    n.ip = L.InnerProduct(n.data, num_output=3, weight_filler=dict(type="xavier"))
    open("net.prototxt", "w").write(str(n.to_proto()))
    net = caffe.Net("net.prototxt", caffe.TEST)
    child = "import caffe.proto.caffe_pb2 as pb, caffe; print(caffe.__name__, pb.TEST)"
    print(net.forward()["ip"].shape, answer, flush=True)
    subprocess.check_call([sys.executable, "-c", child])
    spawning = multiprocessing.get_context("spawn")
    queue = spawning.SimpleQueue()
    process = spawning.Process(target=tell, args=(queue,))
    process.start()
    process.join()
    assert process.exitcode == 0
    print(*queue.get())

if __name__ == "__main__":
    main()
"""


def run_program(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scratchdet_caffe.pycaffe", *argv],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(scratchdet_caffe.__file__).parents[1])},
        check=False,
    )


def test_a_program_and_its_children_find_caffe() -> None:
    Path("sub").mkdir()
    Path("sub/program.py").write_text(PROGRAM)
    Path("sub/helper.py").write_text("answer = 42\n")
    done = run_program("sub/program.py", "--flag", "x")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["(1, 3) 42", *["scratchdet_caffe.pycaffe 1"] * 2]


BUILDERS = """
import caffe
from caffe import layers as L

def body(net):
    net.ip = L.InnerProduct(net.data, num_output=3)
"""
BUILDING = """
import sys
sys.path.insert(0, "checkout/python")
import caffe
from caffe.model_libs import *
n = caffe.NetSpec()
n.data = L.Input(shape=dict(dim=[1, 2]))
body(n)
print([layer.name for layer in n.to_proto().layer], caffe.io.__name__)
"""


def test_modules_that_a_checkout_adds_to_caffe_are_found() -> None:
    package = Path("checkout/python/caffe")
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('libcaffe.so: cannot open')\n")
    (package / "io.py").write_text("raise ImportError('not this one')\n")
    (package / "model_libs.py").write_text(BUILDERS)
    Path("ssd.py").write_text(BUILDING)
    done = run_program("ssd.py")
    assert done.stdout == "['data', 'ip'] scratchdet_caffe.pycaffe.io\n", done.stderr


def test_a_module_runs_with_its_arguments(launch: Callable[..., int]) -> None:
    Path("package").mkdir()
    Path("package/job.py").write_text(
        "import caffe, pathlib, sys\n"
        "pathlib.Path('done').write_text(f'{sys.argv[1:]} {caffe.TEST}')\n"
    )
    assert launch("-m", "package.job", "a") == 0
    assert Path("done").read_text() == "['a'] 1"


def test_the_one_liner_aliases_caffe_here_and_in_children(
    launch: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scratchdet_caffe.pycaffe.alias import SHIM, install

    install()
    assert importlib.import_module("caffe.io") is caffe.io
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == SHIM
    monkeypatch.setitem(sys.modules, "caffe", types.ModuleType("caffe"))
    with pytest.raises(UserError, match="another caffe is imported already"):
        install()


def test_a_mistake_names_the_line_of_the_program(launch: Callable[..., int]) -> None:
    Path("wrong.py").write_text("import caffe\n\ncaffe.Net('nowhere.prototxt', caffe.TEST)\n")
    with pytest.raises(UserError, match="^wrong.py:3: nowhere.prototxt: cannot read"):
        launch("wrong.py")
    with pytest.raises(UserError, match="nowhere.py: no such program"):
        launch("nowhere.py")
    with pytest.raises(UserError, match="-m needs"):
        launch("-m")


@pytest.mark.parametrize("level", ["0", "1"])
def test_the_log_goes_to_stderr_as_caffes_does(
    launch: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    level: str,
) -> None:
    monkeypatch.setenv("GLOG_minloglevel", level)
    Path("n").write_text('layer { name: "a" type: "Input" top: "a" }')
    Path("w.py").write_text(
        "import caffe\n"
        "weights = caffe.proto.caffe_pb2.NetParameter()\n"
        "weights.layer.add(name='gone')\n"
        "with open('w', 'wb') as file:\n"
        "    file.write(weights.SerializeToString())\n"
        "caffe.Net('n', 'w', caffe.TEST)\n"
    )
    launch("w.py")
    said = capsys.readouterr().err
    assert said.rstrip().endswith("] Ignoring source layer gone") if level == "0" else said == ""
