"""The linter on real nets: it points out what is known to be odd, and nothing else."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scratchdet_caffe import gen
from scratchdet_caffe.analysis.lint import Severity, lint
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import plan
from scratchdet_caffe.render import write_job

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "models"
RELEASE = MODELS / "root_resnet34/voc0712/release-caffe_300"
PAPER = MODELS / "root_resnet34/voc0712/paper_300"

#: What is wrong with files of other repositories, other than a missing force_color.
KNOWN = {
    "VGG16/faster_rcnn_end2end/train.prototxt": {"unknown-field"},
    "ZF/faster_rcnn_end2end/test.prototxt": {"unknown-field"},
    "voc2007_ssd/resnet_50/train.prototxt": {"bn-frozen"},
}


def rules(path: Path, least: Severity = Severity.WARNING) -> set[str]:
    return {finding.rule for finding in lint(path) if finding.severity >= least}


def test_zoo(zoo_file: Path) -> None:
    """Published files have no fault but what is known; detectors lack force_color, as SSD's do."""
    known = next((rules for end, rules in KNOWN.items() if str(zoo_file).endswith(end)), set())
    assert rules(zoo_file) - {"force-color"} == known
    if "deploy" not in zoo_file.name and "SSD" in str(zoo_file):
        assert "force-color" in rules(zoo_file)


@pytest.mark.parametrize(
    "job", sorted(MODELS.glob("*/*/*/")), ids=lambda job: "/".join(job.parts[-3:])
)
def test_models(job: Path) -> None:
    """The paper's nets are clean; the others have the quirks of what they reproduce."""
    allowed = {"prior-step", "tap-before-sum", "force-color"} if "paper" not in job.name else set()
    if job.parts[-3:] == ("resnet101", "coco", "refinedet_512"):
        allowed = {"bn-small-batch"}  # published with 5 images on each of 4 GPUs
    found = lint(job)
    assert {finding.rule for finding in found if finding.severity >= Severity.WARNING} <= allowed
    assert not any(finding.severity == Severity.ERROR for finding in found)


def test_the_quirks_of_the_release_are_pointed_out() -> None:
    found = {finding.rule: finding for finding in lint(RELEASE)}
    assert found["tap-before-sum"].layers == (
        "conv4_12",
        "conv5_6",
        "conv6_2",
        "conv7_2",
        "conv8_2",
    )
    steps = [finding for finding in lint(RELEASE) if finding.rule == "prior-step"]
    assert [finding.layers for finding in steps] == [
        ("conv8_2_mbox_priorbox",),
        ("conv9_2_mbox_priorbox",),
    ]
    assert "step 100 on 300 pixels suits a map of 3, but it is one of 5" in steps[0].what
    assert "head-without-bn" in found
    assert "head-without-bn" not in rules(
        MODELS / "root_resnet34/coco/release-caffe_300", Severity.NOTE
    )
    assert "force-color" in found
    assert "debug-info" in found


@pytest.mark.parametrize("arch", ["root_resnet18", "vgg16"])
@pytest.mark.parametrize("recipe", ["paper", "mini", "ssd"])
def test_rendered_jobs(arch: str, recipe: str, tmp_path: Path) -> None:
    job = plan(arch, "voc0712", recipe, out=str(tmp_path))
    write_job(job)
    assert rules(Path(job.folder)) <= {"force-color"}


def test_whole_nets_of_the_goldens(shared: Path) -> None:
    folder = shared / "golden/wholenet"
    assert rules(folder / "refinedet_a/train.prototxt") == set()
    found = {f.rule: f.layers for f in lint(folder / "rootres_a/train.prototxt")}
    assert found["unread-top"] == ("sum6",)  # its README says so, too
    assert found["no-gradient"] == ("match6",)


def test_a_copied_job_is_linted_with_its_own_nets(tmp_path: Path) -> None:
    """The solver's paths lead to the original."""
    for path in RELEASE.iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    text = (tmp_path / "train.prototxt").read_text().replace("num_classes: 21", "num_classes: 20")
    (tmp_path / "train.prototxt").write_text(text)
    assert {"prior-count", "output-differs"} <= rules(tmp_path, Severity.ERROR)


def test_status_and_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    release, paper = str(RELEASE.relative_to(ROOT)), str(PAPER.relative_to(ROOT))
    assert gen.main(["--lint", paper, "--strict"]) == 0
    assert gen.main(["--lint", release]) == 0
    printed = capsys.readouterr().out
    assert "warning [prior-step] conv9_2_mbox_priorbox\n" in printed
    assert "  in:  train.prototxt, test.prototxt, deploy.prototxt\n" in printed
    assert f"{release}: 4 warnings, " in printed
    assert gen.main(["--lint", paper, release, "--strict"]) == 1
    assert f"{paper}: " in capsys.readouterr().out
    quiet = [word for rule in rules(RELEASE) for word in ("--ignore", rule)]
    assert gen.main(["--lint", release, "--strict", *quiet]) == 0
    with pytest.raises(UserError, match=r"no rule of that name \(did you mean 'prior-step'\?\)"):
        gen.main(["--lint", release, "--ignore", "prior-steps"])


def test_errors_give_status_1_and_json_tells_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text('layer { name: "r" type: "ReLU" bottom: "nobody" top: "y" }')
    assert gen.main(["--lint", str(path), "--json"]) == 1
    ((finding,),) = json.loads(capsys.readouterr().out).values()
    assert (finding["rule"], finding["severity"]) == ("unwired", "error")
    assert finding["what"] == "layer 'r' (ReLU): unknown bottom blob 'nobody' at index 0"


def test_findings_are_the_same_beside_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine runs Python layers to know their shapes; who reads a net never does."""
    (tmp_path / "layer_of_the_user.py").write_text('open("was_run", "w").close()')
    (tmp_path / "net.prototxt").write_text("""
layer { name: "data" type: "Python" top: "data" top: "label"
  python_param { module: "layer_of_the_user" layer: "Data" } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "odd" type: "TanH" bottom: "fc" top: "odd" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }""")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["-m", "scratchdet_caffe.gen", "--lint", "net.prototxt", "--json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    alone = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True)
    importlib.import_module("scratchdet_caffe.pycaffe")
    (found,) = json.loads(alone.stdout).values()
    beside = [(finding.rule, finding.what) for finding in lint("net.prototxt")]
    assert beside == [(finding["rule"], finding["what"]) for finding in found]
    assert beside == [("unread-top", "nobody reads its top 'odd'")]
    assert not (tmp_path / "was_run").exists()


def test_what_cannot_be_linted_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no solver\.prototxt and no net in this folder"):
        lint(tmp_path)
    with pytest.raises(UserError, match="cannot read this prototxt"):
        lint(tmp_path / "none.prototxt")
