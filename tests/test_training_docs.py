"""docs/training.md and the examples for clusters: commands run, syntax is sound."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scratchdet_caffe.report.__main__ import main as report
from scratchdet_caffe.train import _parser

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/training.md").read_text()
COMMANDS = [line for block in re.findall(r"^```\n(.*?)^```", TEXT, re.M | re.S)
            for line in block.splitlines()]  # fmt: skip


def test_every_train_command_has_flags_that_there_are() -> None:
    trains = [line for line in COMMANDS if "scratchdet_caffe.train" in line]
    example = (ROOT / "examples/train.slurm").read_text()
    trains.append(re.search(r"-m scratchdet_caffe.train.*?cuda.*?\d", example)[0])  # type: ignore[index]
    assert len(trains) == 3
    for line in trains:
        words = shlex.split(line)
        _parser().parse_args(words[words.index("scratchdet_caffe.train") + 1 :])


def test_the_report_commands_run(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs/mine"
    folder.mkdir(parents=True)
    (folder / "train.log").write_bytes((shared / "golden/logs/train.log").read_bytes())
    reports = [line for line in COMMANDS if "scratchdet_caffe.report" in line]
    assert len(reports) == 3
    for line in reports:
        report(shlex.split(line)[3:])
    for made in ("train.log.train", "train.log.test", "train.log.loss.png"):
        assert (tmp_path / "curves" / made).is_file()


def test_the_slurm_example_is_a_sound_script() -> None:
    script = ROOT / "examples/train.slurm"
    subprocess.run(["bash", "-n", script], check=True)
    subprocess.run([Path(sys.executable).with_name("shellcheck"), script], check=True)
    flags = re.findall(r"^#SBATCH --([a-z-]+)=?", script.read_text(), re.M)
    assert {"nodes", "signal", "requeue", "open-mode"} <= set(flags)


def test_the_kubernetes_example_is_a_job_whose_parts_fit_together() -> None:
    job = yaml.safe_load((ROOT / "examples/train.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy asks for it
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert rules[0]["onExitCodes"]["containerName"] == container["name"]
    gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    assert f"--nproc-per-node={gpus}" in container["command"]
    _parser().parse_args(container["args"][2:])


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
