from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scratchdet_caffe import gen
from scratchdet_caffe.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
JOB = ["--arch", "root_resnet18", "--dataset", "voc0712", "--recipe", "mini"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-m", "scratchdet_caffe.gen", *words]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(run, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_gen_writes_a_job_and_prints_its_sources(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gen.main([*JOB, "--size", "64"]) == 0
    folder = here / "models/root_resnet18/voc0712/mini_64"
    names = {"train.prototxt", "test.prototxt", "deploy.prototxt", "solver.prototxt"}
    assert {path.name for path in folder.iterdir()} == names | {"train.sh", "job.json"}
    assert os.access(folder / "train.sh", os.X_OK)
    assert "scratchdet_caffe.train --solver models/" in (folder / "train.sh").read_text()
    printed = capsys.readouterr().out
    assert "res3_2_act  16x16" in printed
    assert "1,524 priors" in printed
    assert "GFLOPs" in printed


def test_gen_prints_the_release_nets_parameters(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gen.main(["--arch", "root_resnet34", "--dataset", "voc0712"])
    assert "8,892 priors, 24,553,262 parameters" in capsys.readouterr().out


def test_overrides_are_recorded(here: Path) -> None:
    gen.main([*JOB, "--job", "try", "--batch", "4", "--set", "solver.base_lr=0.01"])
    job = json.loads((here / "models/root_resnet18/voc0712/try/job.json").read_text())
    assert job["asked"]["set"] == ["solver.base_lr=0.01"]
    assert job["recipe"]["data"]["batch_size"] == 4


def test_an_override_that_the_schema_refuses_leaves_no_file(here: Path) -> None:
    with pytest.raises(UserError, match=r"solver\.prototxt:\d+:\d+: .* no value 'TPU'"):
        gen.main([*JOB, "--set", "solver.solver_mode=TPU"])
    assert not (here / "models").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--set solver.lr_policy=polly", "unknown lr_policy 'polly' (did you mean 'poly'?)"),
        ("--set solver.lr_policy=inv", "lr_policy 'inv' needs"),
        ("--set solver.iter_size=0", "solver.iter_size is 0"),
        ("--set solver.base_lr=nan", "solver.base_lr is nan, but must be a finite number"),
        ("--set solver.momentum=inf", "solver.momentum is inf"),
        ("--set solver.base_lr=-1", "solver.base_lr is -1.0, but must be 0 or more"),
        ("--set solver.type=adam", "solver: unknown type 'adam' (did you mean 'Adam'?)"),
        ("--set data.mean_value=[1,2]", "data.mean_value has 2 values, but takes 3"),
        ("--set backbone.filler.type=xavir", "layer 'stem_1' (Convolution): unknown filler type"),
        ("--size 1024 --batch 999", "a blob of shape (999, 3, 1024, 1024) would hold more than"),
        ("--size 20000000", "size is 20000000 pixels, but must be 4096 or less"),
        ("--job ../../elsewhere", "--job '../../elsewhere' cannot name a folder"),
        ("--job ..", "--job '..' cannot name a folder"),
    ],
)
def test_what_training_would_refuse_gen_refuses(words: str, sentence: str, here: Path) -> None:
    with pytest.raises(UserError) as caught:
        gen.main([*JOB, *words.split()])
    assert sentence in str(caught.value)
    assert not (here / "models").exists()


def test_a_mistake_is_one_sentence_and_status_2(tmp_path: Path) -> None:
    done = command("--arch", "root_resnet43", "--dataset", "voc0712", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("gen: error: unknown arch 'root_resnet43' (did you mean")
    assert len(done.stderr.splitlines()) == 1
    with pytest.raises(UserError, match="give --arch and --dataset"):
        gen.main([])


def test_list_shows_every_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert gen.main(["--list"]) == 0
    words = capsys.readouterr().out.split()
    known = ["root_resnet34", "root_resnet18", "ssd", "voc0712", "coco", "shapes"]
    assert set(words) >= {*known, "release-caffe", "paper", "mini"}


@pytest.mark.parametrize("words", [["--help"], ["--list"], JOB])
def test_gen_answers_at_once_and_without_torch(words: list[str], tmp_path: Path) -> None:
    def processor_time(*run: str) -> float:
        """Seconds of the child alone; a busy machine slows two children down alike."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *run], **child, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    child: dict[str, Any] = {
        "cwd": tmp_path,
        "env": {**os.environ, "PYTHONPATH": str(ROOT)},
        "capture_output": True,
    }
    own = ["-m", "scratchdet_caffe.gen", *words]
    torch = ["-c", "import torch"]
    assert any(processor_time(*own) < 0.4 * processor_time(*torch) for _ in range(3))
    script = (
        "import sys; from scratchdet_caffe import gen\n"
        "try: gen.main(sys.argv[1:])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", script, *words], **child).returncode == 0


def test_published_nets_are_what_gen_renders(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert gen.main(["--check"]) == 0, capsys.readouterr().out


def test_check_names_the_first_file_that_differs(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gen.main(["--check", "--out", "none"]) == 1
    first = "none/vgg16/voc0712/paper_300_bn-none/train.prototxt"
    assert capsys.readouterr().out.startswith(f"{first}: is not what gen renders")
