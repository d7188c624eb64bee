"""The reproduce command as a user runs it: a table of one's own, killed and continued."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.reproduce import main

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
TABLE = """
title = "Tiny"
about = "a table for a test"
certainty = "read"
source = "the test that holds it"
traced = true
[measures]
map = "mAP"
aps = "AP small"
apm = "AP medium"
apl = "AP large"
[datasets.tiny]
prepare = ["shapes", "--size", "48", "--train", "24", "--test", "6"]
[mini]
about = "Tiny."
data = "tiny"
recipe = "mini-study"
size_bounds = [13, 22]
set = [
  "size=48", "backbone.width=0.0625", "data.batch_size=4", "solver.max_iter=40",
  "solver.stepvalue=[30]", "solver.snapshot=5", "solver.display=1", "solver.base_lr=0.001",
]
[mini.pretraining]
data = "tiny"
size = 16
batch = 4
max_iter = 4
base_lr = 0.01
base_lr_without = 0.001
[[row]]
name = "lost"
label = "at a rate that loses the loss"
arch = "root_resnet18"
bn = "none"
set = ["solver.base_lr=1e9"]
paper.map = nan
[[row]]
name = "both"
arch = "root_resnet18"
bn = "both"
paper.map = 50
[[row]]
name = "both-pretrained"
arch = "root_resnet18"
bn = "both"
pretrained = true
paper.map = 60
[[row]]
name = "both-again"
label = "both, at many scales"
scores = "both"
paper.map = 65
[[row]]
name = "known"
reference = true
paper.map = 70
certainty = "remembered"
source = "memory"
[[claim]]
text = "It is lost."
diverge = ["lost"]
better = ["both"]
worse = ["lost"]
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "scratchdet_caffe.reproduce", *map(str, arguments)]


def run(folder: Path, *arguments: object, status: int = 0) -> str:
    done = subprocess.run(
        command(*arguments), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


CELLS = Path("runs/tiny-mini/root_resnet18/tiny")
WORDS = ("tiny.toml", "--scale", "mini", "--jobs", 2, "--threads", 1)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study that was killed in the middle of a training, continued, and what that said."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "tiny.toml").write_text(TABLE)
    process = subprocess.Popen(
        command(*WORDS), cwd=folder, env=ENVIRONMENT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not list((folder / CELLS / "both_seed1").glob("*_iter_5.solverstate")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "runs/tiny-mini/table.json").exists()
    return folder, run(folder, *WORDS)


def table(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "runs/tiny-mini/table.json").read_text())
    return found


def cell(folder: Path, row: str) -> dict[str, Any]:
    (found,) = (r["cells"][0] for r in table(folder)["rows"] if r["name"] == row)
    return dict(found)


def test_a_killed_study_goes_on_with_the_half_trained_cell(study: tuple[Path, str]) -> None:
    folder, _ = study
    log = (folder / CELLS / "both_seed1/train.log").read_text()
    assert "Resuming from" in log
    iterations = re.findall(r"Iteration (\d+), loss", log)
    assert iterations[-1] == "40"
    trace = (folder / CELLS / "both_seed1/gradients.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in trace[1:]] == [str(i) for i in range(40)]


def test_a_lost_training_is_a_result(study: tuple[Path, str]) -> None:
    folder, said = study
    lost = cell(folder, "lost")
    assert lost["state"] == "diverged"
    assert re.fullmatch(r"Iteration \d+, loss = (nan|inf)", lost["reason"])
    (row,) = (r for r in table(folder)["rows"] if r["name"] == "lost")
    assert row["ours"]["map"] == {
        "seeds": {}, "mean": None, "deviation": None, "low": None, "high": None, "diverged": 1,
    }  # fmt: skip
    assert re.search(r"at a rate that loses the loss +mini-study +1e\+09 +NaN", said)


def test_a_trained_cell_has_all_that_one_wants_to_know(study: tuple[Path, str]) -> None:
    folder, _ = study
    both = cell(folder, "both")
    assert both["state"] == "done"
    assert set(both["measures"]) == {"map", "aps", "apm", "apl"}
    files = {file.name for file in (folder / "runs/tiny-mini" / both["folder"]).iterdir()}
    assert files >= {
        "job.json", "train.prototxt", "test.prototxt", "deploy.prototxt", "solver.prototxt",
        "environment.json", "train.log", "cell.json", "results", "report.html", "model_card.md",
        "gradients.csv", "landscape.csv",
    }  # fmt: skip
    card = (folder / CELLS / "both_seed1/model_card.md").read_text()
    assert "BatchNorm on backbone and head" in card and "seed 1" in card


def test_pretrained_cells_begin_with_a_classifier_s_weights(study: tuple[Path, str]) -> None:
    folder, _ = study
    weights = "runs/tiny-mini/pretraining/root_resnet18-bn/root_resnet18_classifier_iter_4"
    log = (folder / CELLS / "both-pretrained_seed1/train.log").read_text()
    assert f"Finetuning from {weights}.caffemodel" in log
    assert "Ignoring source layer classes" in log
    assert (folder / f"{weights}.caffemodel").is_file()


def test_a_row_may_score_the_net_of_another(study: tuple[Path, str]) -> None:
    folder, _ = study
    again = cell(folder, "both-again")
    assert again["state"] == "done" and again["job"] == cell(folder, "both")["job"]
    assert "--multi-scale" in again["commands"][0]
    assert set(again["measures"]) == {"map", "aps", "apm", "apl"}
    assert not list((folder / "runs/tiny-mini" / again["folder"]).glob("*_iter_*"))


def test_asked_again_nothing_is_run_again(study: tuple[Path, str]) -> None:
    folder, _ = study
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*_iter_*")}
    logs = {path: path.read_bytes() for path in folder.rglob("train.log")}
    text = (folder / "runs/tiny-mini/table.md").read_text()
    run(folder, *WORDS)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*_iter_*")} == before
    assert {path: path.read_bytes() for path in folder.rglob("train.log")} == logs
    assert (folder / "runs/tiny-mini/table.md").read_text() == text


def test_tables_are_written_in_every_form(study: tuple[Path, str]) -> None:
    folder, _ = study
    root = folder / "runs/tiny-mini"
    text = (root / "table.md").read_text()
    assert "**Scale mini: these are not the paper's numbers**" in text
    assert "70 ³" in text and "³ remembered only" in text
    assert "| It is lost. | yes |" in text
    rows = list(csv.DictReader((root / "table.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["diverged", "done", "done", "done", "value only"]
    assert [row["map"] == "nan" for row in rows] == [True, False, False, False, False]
    assert rows[4]["certainty"] == "remembered"


def test_the_page_carries_everything_and_links_lead_somewhere(study: tuple[Path, str]) -> None:
    folder, _ = study
    page = (folder / "runs/tiny-mini/table.html").read_text()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert page.count('src="data:image/svg+xml;base64,') >= 5
    drawn = {path.name for path in (folder / "runs/tiny-mini/figures").iterdir()}
    assert {"result.png", "loss.png", "gradients.png", "landscape.png"} <= drawn
    links = set(re.findall(r'href="([^":#]+)"', page))
    assert len(links) > 15
    for link in links:
        assert (folder / "runs/tiny-mini" / link).exists(), link


def test_other_settings_in_the_same_folder_are_refused(study: tuple[Path, str]) -> None:
    folder, _ = study
    said = run(folder, *WORDS, "--rows", "both", "--set", "solver.momentum=0.5", status=2)
    assert "made with other settings" in said and "recipe.solver.momentum: 0.9 there" in said


def test_the_table_is_written_as_it_is(study: tuple[Path, str]) -> None:
    folder, _ = study
    run(folder, *WORDS, "--seeds", 1, 5, "--as-is")
    table = json.loads((folder / "runs/tiny-mini/table.json").read_text())
    states = {cell["seed"]: cell["state"] for row in table["rows"] for cell in row["cells"]}
    assert states[1] in ("done", "diverged") and states[5] == "not run"
    assert not list((folder / "runs/tiny-mini").rglob("*_seed5"))
    said = run(folder, *WORDS, "--as-is", "--out", "nowhere", status=2)
    assert "nothing of this study has been run" in said and not (folder / "nowhere").exists()


def test_a_failed_cell_is_told_and_tried_again(study: tuple[Path, str]) -> None:
    folder, _ = study
    words = (*WORDS, "--rows", "both", "--seeds", 2, "--max-iter", 2, "--out", "other")
    database = folder / "other/data/tiny/test_lmdb/data.mdb"
    run(folder, "tiny.toml", "--scale", "mini", "--rows", "both", "--dry-run", "--out", "other")
    whole = database.read_bytes()
    database.write_bytes(b"")
    said = run(folder, *words, status=1)
    assert "failed: both_seed2: " in said and "test_lmdb" in said
    database.write_bytes(whole)
    assert "failed" not in run(folder, *words)


def test_the_dry_run_of_table1_renders_18_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["table1", "--scale", "full", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "18 cells" in said and "TFLOP/s" in said and "GiB of snapshots" in said
    folders = re.findall(r"runs/table1-full/vgg16/voc0712/\S+_seed1$", said, re.M)
    assert len(set(folders)) == 18
    for folder in folders:
        assert (tmp_path / folder / "train.prototxt").is_file()
        assert (tmp_path / folder / "solver.prototxt").is_file()
    both = (tmp_path / folders[11] / "solver.prototxt").read_text()
    assert "base_lr: 0.05" in both and "max_iter: 120000" in both


def test_list_marks_what_nobody_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert "remembered" in lines["scratchdet300-12"] and "78.5" in lines["scratchdet300-12"]
    assert "secondary" in lines["resnet18"] and " read " in lines["scratch-both-high"]
    assert "NaN" in lines["scratch-none-high"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tabel1"], "did you mean 'table1'"),
        (["table1", "--rows", "scratch-noen-low"], "did you mean 'scratch-none-low'"),
        (["table1"], "give --data with a VOCdevkit"),
        (["table1", "--data", "nowhere"], "no such folder"),
        (["coco-voc", "--scale", "mini"], "cannot be run at scale mini"),
        (["table1", "--pretrained", "vgg16"], "BACKBONE=FILE"),
        (["table1", "--jobs", "0"], "at least 1"),
        (["table1", "--seeds", "-1"], "a seed is 0 or more"),
        (["own.toml"], "own.toml: cannot read this table"),
    ],
)
def test_mistakes_end_in_one_sentence(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(said)):
        main(arguments)
    assert not list(tmp_path.iterdir())


VOC_CLASSES = ("person", "car", "bottle")


def make_devkit(root: Path, bccd: Path) -> None:
    """A VOCdevkit of real layout with a few photographs, their three classes renamed to VOC's."""
    names = dict(zip(("RBC", "WBC", "Platelets"), VOC_CLASSES))
    stems = sorted(path.stem for path in (bccd / "JPEGImages").glob("*.jpg"))
    sets = {
        "VOC2007": {"trainval": stems[:4], "test": stems[4:6]},
        "VOC2012": {"trainval": stems[6:10]},
    }
    for year, lists in sets.items():
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (root / year / folder).mkdir(parents=True)
        for name, members in lists.items():
            text = "".join(f"{stem}\n" for stem in members)
            (root / year / "ImageSets/Main" / f"{name}.txt").write_text(text)
            for stem in members:
                xml = (bccd / "Annotations" / f"{stem}.xml").read_text()
                for old, new in names.items():
                    xml = xml.replace(f"<name>{old}</name>", f"<name>{new}</name>")
                (root / year / "Annotations" / f"{stem}.xml").write_text(xml)
                picture = (bccd / "JPEGImages" / f"{stem}.jpg").read_bytes()
                (root / year / "JPEGImages" / f"{stem}.jpg").write_bytes(picture)


@pytest.mark.slow
def test_table1_at_full_scale_needs_only_the_data(tmp_path: Path, shared: Path) -> None:
    """All 18 cells at 300 x 300, for two iterations, with narrow nets to be done in minutes."""
    make_devkit(tmp_path / "VOCdevkit", shared / "data/bccd/VOCdevkit/BCCD")
    words = (
        "table1", "--scale", "full", "--data", "VOCdevkit", "--max-iter", 2, "--batch", 2,
        "--set", "backbone.width=0.125", "--set", "solver.iter_size=1", "--jobs", 2, "--threads", 1,
    )  # fmt: skip
    run(tmp_path, *words, "--rows", "scratch-*")
    # Weights of a net with the same head will do to show that they are loaded.
    below = tmp_path / "runs/table1-full/vgg16/voc0712"
    (plain,) = (below / "scratch-head-low_seed1").glob("*_iter_2.caffemodel")
    (normal,) = (below / "scratch-both-low_seed1").glob("*_iter_2.caffemodel")
    given = ("--pretrained", f"vgg16={plain}", "--pretrained", f"vgg16-bn={normal}")
    run(tmp_path, *words, *given)
    found = json.loads((tmp_path / "runs/table1-full/table.json").read_text())
    states = {row["name"]: row["cells"][0]["state"] for row in found["rows"]}
    assert len(states) == 18
    assert set(states.values()) <= {"done", "diverged"}
    assert states["scratch-both-low"] == states["pretrained-both-low"] == "done"
    assert all(row["verdict"] == "" for row in found["rows"])  # shortened: nothing compares
    assert "dim: 300" in (below / "scratch-both-low_seed1/deploy.prototxt").read_text()
    assert "num_classes: 21" in (below / "scratch-both-low_seed1/train.prototxt").read_text()
