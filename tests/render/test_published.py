"""The nets under models/: their counts beside PyTorch's own, and the figures of the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scratchdet_caffe.analysis.read import read_view
from scratchdet_caffe.analysis.summary import summarise
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_net
from scratchdet_caffe.engine import load
from scratchdet_caffe.engine.shapes import infer
from scratchdet_caffe.experiment import PUBLISHED
from scratchdet_caffe.render.templates import template_folder

ROOT = Path(__file__).resolve().parents[2]
COUNTED = {
    "ScratchDet300": "root_resnet34/voc0712/paper_300",
    "SSD300": "vgg16/voc0712/ssd_300",
    "RefineDet320": "vgg16/voc0712/refinedet_320",
    "ScratchDet300 with a head's BatchNorm on COCO": "root_resnet34/coco/release-caffe_300",
    "ResNet-18": "resnet18/voc0712/paper_300",
}


@pytest.mark.parametrize("folder", COUNTED.values())
def test_parameters_and_flops_are_those_that_torch_counts(folder: str) -> None:
    """FlopCounterMode counts two FLOPs per multiply-add of convolutions, and nothing else here."""
    path = ROOT / "models" / folder / "deploy.prototxt"
    net = load(path)
    side = infer(read_net(path), pb.TEST).blobs["data"][2]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(data=torch.zeros(1, 3, side, side))
    total = summarise(read_view(path, pb.TEST)).total
    assert 2 * total.multiply_adds == counter.get_total_flops()
    assert total.parameters == sum(parameter.numel() for parameter in net.parameters())
    shapes = infer(read_net(path), pb.TEST)
    assert (shapes.parameters, shapes.flops) == (total.parameters, total.flops)


def test_the_figures_of_the_readme_are_those_of_the_nets() -> None:
    rows = re.findall(
        r"^\| (\w+), [^|]+ \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|$",
        (ROOT / "README.md").read_text(),
        re.M,
    )
    assert {row[0] for row in rows} == {"ScratchDet300", "SSD300", "RefineDet320"}
    for name, priors, parameters, flops, adds in rows:
        summary = summarise(read_view(ROOT / "models" / COUNTED[name] / "deploy.prototxt", pb.TEST))
        seen = {source.head: 0 for source in summary.sources}
        for source in summary.sources:
            seen[source.head] += source.priors or 0
        assert set(seen.values()) == {int(priors.replace(",", ""))}
        total = summary.total
        assert total.parameters == int(parameters.replace(",", ""))
        assert f"{total.flops / 1e9:.1f}" == flops
        assert f"{2 * total.multiply_adds / 1e9:.1f}" == adds


def test_every_folder_of_models_is_published() -> None:
    folders = {path.parent for path in (ROOT / "models").rglob("job.json")}
    assert folders == {ROOT / entry.job().folder for entry in PUBLISHED}


def test_rows_and_folders_are_told_apart() -> None:
    assert len({entry.row for entry in PUBLISHED}) == len(PUBLISHED)
    assert len({entry.job().folder for entry in PUBLISHED}) == len(PUBLISHED)


def test_the_index_says_the_words_that_make_each_job() -> None:
    index = (ROOT / "models/README.md").read_text()
    for entry in PUBLISHED:
        job = entry.job()
        assert f"`{' '.join(job.options)}`" in index
        assert f"({Path(job.folder).relative_to('models').as_posix()})" in index


def test_templates_stay_short_enough_to_be_read_whole() -> None:
    lines = [
        line for path in template_folder().rglob("*.j2") for line in path.read_text().splitlines()
    ]
    assert 300 < len(lines) < 600
