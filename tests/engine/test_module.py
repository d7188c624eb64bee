"""A Caffe net as a module of plain PyTorch: named, cut, trained, compiled, exported, saved."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from scratchdet_caffe import engine
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text, read_solver
from scratchdet_caffe.engine.net import Net
from scratchdet_caffe.engine.solver import Solver
from scratchdet_caffe.engine.weights import load_weights
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment import plan
from scratchdet_caffe.render import job_files

ROOT = Path(__file__).resolve().parents[2]
HEADS = ["mbox_loc", "mbox_conf"]
TWINS = """
name: "twins"
layer { name: "source" type: "AnnotatedData" top: "data" top: "label"
  data_param { source: "nowhere" batch_size: 2 } }
layer { name: "left.a" type: "InnerProduct" bottom: "data" top: "left"
  param { name: "w" lr_mult: 2 decay_mult: 0 } param { lr_mult: 0 }
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "right" type: "InnerProduct" bottom: "data" top: "right"
  param { name: "w" } param { lr_mult: 1 decay_mult: 3 }
  inner_product_param { num_output: 4 } }
layer { name: "drop" type: "Dropout" bottom: "right" top: "right" }
layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "right" top: "sum" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss" }
"""


def twins(phase: int = engine.TEST, **cut) -> Net:
    cut = cut or {"inputs": {"data": (2, 3), "label": (2,)}}
    return engine.load(parse_text(TWINS, pb.NetParameter, "twins"), phase=phase, **cut)


def heads_of(arch: str, size: int, phase: int) -> tuple[Net, torch.Tensor]:
    """The trunk and heads of a rendered net, after some passes, and an image for them."""
    text = job_files(plan(arch, "voc0712", "mini", size=size))["deploy.prototxt"]
    net = engine.load(parse_text(text, pb.NetParameter, arch), phase=engine.TRAIN, outputs=HEADS)
    net(data=torch.randn(4, 3, size, size))  # BatchNorm needs something to divide by
    return net.train(phase == engine.TRAIN), torch.randn(2, 3, size, size)


def test_parameters_are_named_by_layer_and_index_and_shared_ones_appear_once() -> None:
    net = twins()
    assert [name for name, _ in net.named_parameters()] == ["left_a.0", "left_a.1", "right.1"]
    assert net.left_a.blobs[0] is net.right.blobs[0]


def test_state_dict_goes_round_and_a_copy_stands_alone() -> None:
    torch.manual_seed(0)
    net, image = heads_of("root_resnet18", 64, engine.TEST)
    other, _ = heads_of("root_resnet18", 64, engine.TEST)
    other.load_state_dict(net.state_dict())
    twin = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert not net(data=image)["mbox_loc"].any()
    assert twin(data=image)["mbox_loc"].any()
    for blob in HEADS:
        assert torch.equal(other(data=image)[blob], twin({"data": image})[blob])


def test_a_missing_input_is_named() -> None:
    with pytest.raises(UserError, match="net 'twins': no data for input blob 'label'"):
        twins()(data=torch.zeros(2, 3))


def test_a_tensor_alone_is_told_how_to_be_named() -> None:
    with pytest.raises(TypeError, match=re.escape("net(data=..., label=...)")):
        twins()(torch.zeros(2, 3))


def test_outputs_leave_out_what_they_do_not_need() -> None:
    net = twins(inputs={"data": (2, 3)}, outputs=["left", "sum"])
    names = [layer.param.name for layer in net.layers]
    assert names == ["data", "data_data_0_split", "left.a", "right", "drop", "sum"]
    assert list(net(data=torch.ones(2, 3))) == ["left", "sum"]
    assert not net.loss_terms


def test_inputs_may_stand_in_the_middle_of_a_net() -> None:
    net = twins(inputs={"sum": (2, 4), "label": (2,)})
    loss = net(sum=torch.zeros(2, 4), label=torch.zeros(2))["loss"]
    assert loss.item() == pytest.approx(np.log(4))
    assert not list(net.parameters())


@pytest.mark.parametrize(
    ("cut", "sentence"),
    [
        ({"outputs": ["smu"]}, "net 'twins': no blob 'smu' .did you mean 'sum'"),
        ({"inputs": {"dta": (2, 3)}}, "net 'twins': no blob 'dta' .did you mean 'data'"),
        ({"inputs": {"data": (2, 3)}}, "layer 'source' .* so blob 'label' must be an input, too"),
    ],
)
def test_a_cut_that_cannot_be_is_a_sentence(cut: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        twins(**cut)


def test_train_and_eval_switch_dropout_and_batch_norm() -> None:
    net = twins(inputs={"data": (2, 3)}, outputs=["right"])
    data = torch.randn(64, 3)
    torch.nn.init.normal_(net.right.blobs[0])
    assert net(data=data)["right"].all()
    assert not net.train()(data=data)["right"].all()
    assert net.eval()(data=data)["right"].all()

    net, image = heads_of("root_resnet18", 64, engine.TRAIN)
    sums = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net.eval()(data=image)
    assert all(torch.equal(sums[name], buffer) for name, buffer in net.named_buffers())
    net.train()(data=image)
    assert not any(torch.equal(sums[name], buffer) for name, buffer in net.named_buffers())


def test_a_gradient_reaches_the_image_if_the_caller_wants_one() -> None:
    net = twins(inputs={"data": (2, 3)}, outputs=["left", "right"])
    torch.nn.init.ones_(net.left_a.blobs[0])
    data = torch.ones(2, 3, requires_grad=True)
    blobs = net(data=data)
    (blobs["left"].sum() + 2 * blobs["right"].sum()).backward()
    assert (data.grad == 12).all()


def test_parameter_groups_carry_the_multipliers() -> None:
    net = twins()
    groups = engine.parameter_groups(net, lr=0.1, weight_decay=0.01)
    named = {id(parameter): name for name, parameter in net.named_parameters()}
    found = {
        named[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    assert found == {"left_a.0": (0.2, 0.0), "right.1": (0.1, pytest.approx(0.03))}


@pytest.mark.parametrize("case", ["sgd_fixed", "sgd_mults"])
def test_ten_steps_of_torch_equal_ten_of_the_solver(case, shared, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(shared / "golden" / "solvers")
    param = read_solver(f"{case}/solver.prototxt")
    param.snapshot = 0
    batches = np.load("input.npz")
    batches = {blob: torch.from_numpy(batches[blob]) for blob in ("data", "label")}

    solver = Solver(param)
    solver.feed = lambda: {blob: values[solver.iter] for blob, values in batches.items()}
    load_weights(solver.net, "init.caffemodel")
    solver.step(10)

    net = engine.load(param.train_net, "init.caffemodel", engine.TRAIN)
    start = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    groups = engine.parameter_groups(net, param.base_lr, param.weight_decay)
    optimiser = torch.optim.SGD(groups, momentum=param.momentum)
    for i in range(10):
        optimiser.zero_grad()
        net.loss(net({blob: values[i] for blob, values in batches.items()})).backward()
        optimiser.step()

    for (name, ours), theirs in zip(net.named_parameters(), solver.net.parameters()):
        if ours.requires_grad and ours.grad is None:
            assert name == "match4.0"  # no way leads to the loss: Caffe decays it, torch does not
            continue
        moved = (theirs - start[name]).abs().max().item()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3 * moved + 1e-6, msg=name)
    for ours, theirs in zip(net.buffers(), solver.net.buffers()):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)

    engine.save_caffemodel(net, tmp_path / "ten.caffemodel")
    again = engine.load(param.train_net, tmp_path / "ten.caffemodel", engine.TRAIN)
    for name, values in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], values), name


def compiles_and_exports(net: Net, image: torch.Tensor, backend: str) -> None:
    """In one graph each: compiled, the net's own blobs and gradients; exported, its blobs."""
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    exported = torch.export.export(net, (), {"data": image}).module()
    own, theirs, exports = (module(data=image) for module in (net, compiled, exported))
    assert list(own) == list(theirs) == list(exports)
    for blob, values in own.items():
        torch.testing.assert_close(theirs[blob], values)
        torch.testing.assert_close(exports[blob], values)
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    for ours, other in zip(gradients(own, learning), gradients(theirs, learning)):
        torch.testing.assert_close(other, ours)


def gradients(blobs: dict[str, torch.Tensor], of: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    total = torch.stack([values.square().mean() for values in blobs.values()]).sum()
    return torch.autograd.grad(total, of)


@pytest.mark.parametrize("phase", [engine.TRAIN, engine.TEST])
def test_trunk_and_heads_compile_and_export(phase: int) -> None:
    net, image = heads_of("root_resnet18", 64, phase)
    compiles_and_exports(net, image, "eager")


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["root_resnet18", "root_resnet34"])
def test_trunk_and_heads_compile_down_to_autograd(arch: str) -> None:
    net, image = heads_of(arch, 64, engine.TRAIN)
    compiles_and_exports(net, image, "aot_eager")


VGG = {
    "ssd": ("shangzw12+ssd/models/VGGNet/VOC0712/SSD_300x300/train.prototxt", 300, HEADS),
    "refinedet": (
        "871864580+RefineDet/models/VGGNet/VOC0712/refinedet_vgg16_320x320/train.prototxt",
        320,
        ["arm_loc", "arm_conf", "odm_loc", "odm_conf"],
    ),
}


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # torch warns of itself
@pytest.mark.parametrize("name", ["ssd", pytest.param("refinedet", marks=pytest.mark.slow)])
def test_published_vgg_nets_compile_and_export(name: str, shared: Path) -> None:
    prototxt, size, outputs = VGG[name]
    shape = (1, 3, size, size)
    net = engine.load(
        shared / "zoo" / "prototxt" / prototxt,
        phase=engine.TRAIN,
        inputs={"data": shape},
        outputs=outputs,
    )
    compiles_and_exports(net, torch.randn(shape), "eager")


def test_wrapped_modules_are_saved_and_grouped_as_they_are(tmp_path: Path) -> None:
    net = twins()
    compiled = torch.compile(net, backend="eager")
    engine.save_caffemodel(compiled, tmp_path / "a.caffemodel")
    engine.save_caffemodel(net, tmp_path / "b.caffemodel")
    assert (tmp_path / "a.caffemodel").read_bytes() == (tmp_path / "b.caffemodel").read_bytes()
    assert len(engine.parameter_groups(compiled, 1.0)) == 2
    with pytest.raises(UserError, match="a Linear holds no Caffe net"):
        engine.save_caffemodel(torch.nn.Linear(1, 1), tmp_path / "c.caffemodel")


def test_a_net_trains_inside_distributed_data_parallel(tmp_path: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=(tmp_path / "rendezvous").as_uri(), rank=0, world_size=1
    )
    try:
        net, image = heads_of("root_resnet18", 64, engine.TRAIN)
        own = gradients(net(data=image), list(net.parameters()))
        wrapped = DistributedDataParallel(net)
        sum(values.square().mean() for values in wrapped(data=image).values()).backward()
        for parameter, gradient in zip(net.parameters(), own):
            torch.testing.assert_close(parameter.grad, gradient)
        engine.save_caffemodel(wrapped, tmp_path / "wrapped.caffemodel")
        assert (tmp_path / "wrapped.caffemodel").is_file()
    finally:
        torch.distributed.destroy_process_group()


def test_the_guides_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "docs" / "pytorch.md").read_text(encoding="utf-8")
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL):
        exec(block, names)
    assert (tmp_path / "mine.caffemodel").is_file()
