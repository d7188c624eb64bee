"""The Dockerfile and what belongs to it; building it for real is slow, and needs root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
tomllib = pytest.importorskip("tomllib", reason="of Python 3.11 on")


def tool(name: str) -> str:
    """The path of ``name``, beside this Python or elsewhere."""
    path = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if path is None:
        pytest.skip(f"needs {name}")
    return path


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [tool("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_shellcheck_finds_nothing() -> None:
    scripts = [path for folder in ("scripts", "docker") for path in (ROOT / folder).rglob("*.sh")]
    assert len(scripts) >= 8
    done = subprocess.run([tool("shellcheck"), *map(str, scripts)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_images_pin_every_requirement_of_the_package() -> None:
    text = (ROOT / "docker" / "constraints.txt").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pins = [re.fullmatch(r"([\w-]+)==[\w.]+(?:; python_version (.*))?", line) for line in lines]
    assert all(pins), lines
    wanted = [*project["dependencies"], *project["optional-dependencies"]["torch"]]
    names = {re.match(r"[\w-]+", text)[0].lower() for text in wanted}
    names |= {"hatchling", "scikit-image", "scipy", "six"}  # what builds it; what pycaffe imports
    for version in ('>= "3.11"', '< "3.11"'):
        pinned = [pin[1].lower() for pin in pins if pin[2] in (None, version)]
        assert len(pinned) == len(set(pinned))  # no name twice
        assert names - set(pinned) <= ({"tomli"} if version.startswith(">") else set())


def test_what_the_dockerfile_copies_is_let_through_and_there() -> None:
    let_through = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for line in re.findall(r"(?m)^COPY (?!--)(.*)$", (ROOT / "Dockerfile").read_text()):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in let_through, source


def test_pip_settings_of_the_machine_lie_elsewhere_in_the_build(tmp_path: Path) -> None:
    cert, index = tmp_path / "cert.pem", tmp_path / "pypi" / "simple"
    cert.touch()
    index.mkdir(parents=True)
    listed = f"global.cert='{cert}'\nglobal.timeout='3'\nglobal.index-url='https://host/simple'\n"
    listed += f":env:.timeout='60'\n:env:.extra-index-url='file://{index} /not/there'\n"
    subprocess.run(
        [sys.executable, ROOT / "docker" / "pip_settings.py", "/host", "conf", "volumes"],
        cwd=tmp_path, input=listed, text=True, check=True,
    )  # fmt: skip
    assert (tmp_path / "conf").read_text().splitlines() == [
        "[global]",
        f"cert = /host{cert}",
        "timeout = 60",
        "index-url = https://host/simple",
        f"extra-index-url = file:///host{index} /not/there",
    ]
    assert (tmp_path / "volumes").read_text().splitlines() == [
        f"{cert}:/host{cert}:ro",
        f"{index.parent}:/host{index.parent}:ro",  # an index links to files beside it
    ]


def test_the_health_check_tells_a_training_that_has_stopped(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "healthcheck.sh"
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}

    def healthy() -> bool:
        return subprocess.run([script], env=environment, capture_output=True).returncode == 0

    assert healthy()  # nothing is being trained
    log = tmp_path / "train.log"
    log.touch()
    (tmp_path / "scratchdet-caffe.training").write_text(f"{log}\n")
    assert healthy()
    os.utime(log, (1, 1))
    assert not healthy()


def test_a_mirror_serves_the_pinned_commit_whatever_it_can_do(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=x", "-c", "user.email=x@y")
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path / "mirror", capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    (tmp_path / "mirror").mkdir()
    git("init", "--quiet")
    for text in ("old", "new"):
        (tmp_path / "mirror" / "file").write_text(text)
        git("add", "file")
        git("commit", "--quiet", "-m", text)
    old = git("rev-parse", "HEAD~1")
    fetch = ROOT / "docker" / "caffe" / "fetch.sh"
    for number, url in enumerate((tmp_path / "mirror", f"file://{tmp_path}/mirror")):
        folder = tmp_path / f"out{number}"
        subprocess.run([fetch, str(url), old, folder], check=True, capture_output=True)
        assert (folder / "file").read_text() == "old"
        assert not (folder / ".git").exists()
    git("tag", "v1", old)
    git("checkout", "--quiet", "-b", "ssd")
    for number, name in enumerate(("v1", "ssd", old[:9]), start=2):
        folder = tmp_path / f"out{number}"
        subprocess.run([fetch, tmp_path / "mirror", name, folder], check=True, capture_output=True)
        assert (folder / "file").read_text() == ("new" if name == "ssd" else "old")
    for url, commit, sentence in (
        (tmp_path / "mirror", "0" * 40, "has no commit 000"),
        (tmp_path / "nowhere", old, "nowhere is no git repository that can be read from here"),
    ):
        done = subprocess.run(
            [fetch, url, commit, tmp_path / commit], capture_output=True, text=True
        )
        assert done.returncode == 1
        assert sentence in done.stderr.splitlines()[-1]


def test_caffes_messages_are_python_for_any_protobuf(tmp_path: Path) -> None:
    (tmp_path / "protoc").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m grpc_tools.protoc "$@"\n'
    )
    (tmp_path / "protoc").chmod(0o755)
    subprocess.run(
        [
            sys.executable,
            ROOT / "docker" / "caffe" / "python_proto.py",
            ROOT / "scratchdet_caffe" / "caffeproto" / "caffe.proto",
            tmp_path / "caffe_pb2.py",
        ],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
    )
    program = """
import caffe_pb2 as pb
net = pb.NetParameter(name="n")
net.layer.add(type="Pooling").pooling_param.pool = pb.PoolingParameter.AVE
assert pb.NetParameter.FromString(net.SerializeToString()) == net
assert pb.NetParameter.__module__ == "caffe_pb2"
print(pb.TEST)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "1\n", done.stderr


@pytest.mark.slow
def test_the_self_test_of_the_images_passes_here() -> None:
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [ROOT / "scripts" / "selftest.sh", "torch"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "selftest: passed with engine 'torch'" in done.stdout


def test_the_docs_name_what_the_dockerfile_has() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    docs = (ROOT / "docs" / "docker.md").read_text()
    arguments = set(re.findall(r"--build-arg (\w+)=", docs + dockerfile))
    assert arguments >= {"BASE_IMAGE", "BUILD_IMAGE", "CPU_ONLY", "CAFFE_URL", "CAFFE_COMMIT"}
    for name in arguments:
        assert re.search(rf"(?m)^ARG {name}=", dockerfile), name
    for name in set(re.findall(r"--target (\w+)", docs + dockerfile)):
        assert re.search(rf"(?m)^FROM \S+ AS {name}$", dockerfile), name
    for edit in re.findall(r"^\| `([a-z]+_[a-z_]+)` \|", docs, re.M):
        assert f"def {edit}(" in (ROOT / "docker" / "caffe" / "edit.py").read_text(), edit
    for script in set(re.findall(r"\b(\w+\.sh)\b", docs)):
        assert list(ROOT.rglob(script)), script
