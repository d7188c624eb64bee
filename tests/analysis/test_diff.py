"""Two nets or solvers compared by meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scratchdet_caffe import gen
from scratchdet_caffe.analysis.diff import Difference, compare, compare_nets, compare_solvers
from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import parse_text, read_net, upgrade_net, write_prototxt
from scratchdet_caffe.errors import UserError

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models/root_resnet34/voc0712"
PAPER = read_net(MODELS / "paper_300/train.prototxt")


def differences(left: pb.NetParameter, right: pb.NetParameter) -> list[Difference]:
    return compare_nets(left, right)[1]


def copy(net: pb.NetParameter) -> pb.NetParameter:
    out = pb.NetParameter()
    out.CopyFrom(net)
    return out


def net_of(text: str) -> pb.NetParameter:
    return upgrade_net(parse_text(text, pb.NetParameter), "net")


def layer_of(net: pb.NetParameter, name: str) -> pb.LayerParameter:
    (layer,) = [layer for layer in net.layer if layer.name == name]
    return layer


def test_no_net_of_the_zoo_differs_from_itself(zoo_file: Path) -> None:
    if "py-faster-rcnn" in str(zoo_file):
        with pytest.raises(UserError, match="a field that is not known cannot be compared"):
            compare(zoo_file, zoo_file)
        return
    (comparison,) = compare(zoo_file, zoo_file)
    assert comparison.differences == ()


def test_the_same_net_in_the_old_format_does_not_differ(zoo: Path) -> None:
    for name in (
        "models/bvlc_alexnet/train_val.prototxt",
        "examples/mnist/lenet_train_test.prototxt",
    ):
        old = next(zoo.glob("BVLC+caffe@*")) / name
        (comparison,) = compare(old, zoo / "BVLC+caffe" / name)
        assert comparison.differences == ()
        assert comparison.layers > 10


def test_a_detector_for_faces_differs_from_that_for_voc_in_its_classes(zoo: Path) -> None:
    folder = zoo / "871864580+RefineDet/models/VGGNet"
    net = "refinedet_vgg16_320x320/train.prototxt"
    (comparison,) = compare(folder / "VOC0712" / net, folder / "widerface" / net)
    found = {(d.layer, d.field): (d.left, d.right) for d in comparison.differences}
    assert found.pop(("", "name"))
    assert found.pop(("data", "data_param.source"))
    assert found.pop(("data", "annotated_data_param.label_map_file"))
    classes = {
        (f"P{i}_mbox_conf", "convolution_param.num_output"): ("63", "6") for i in range(3, 7)
    }
    assert found == {**classes, ("odm_loss", "multibox_loss_param.num_classes"): ("21", "2")}


def facts_net(layers: list[dict[str, Any]]) -> pb.NetParameter:
    """The net of a golden structure.json, in which ``params`` holds a layer's own messages."""
    net = pb.NetParameter()
    for fact in layers:
        own = {key: value for key, value in fact.items() if not key.endswith("_shapes")}
        own.update(own.pop("params"))
        json_format.ParseDict(own, net.layer.add())
    return net


@pytest.mark.parametrize("phase", ["train", "test"])
def test_the_release_net_differs_in_automatic_names_and_paths_only(
    phase: str, shared: Path
) -> None:
    path = shared / "golden/nets/scratchdet_root_resnet34_voc/structure.json"
    facts = json.loads(path.read_text())["nets"][phase]
    theirs = facts_net(facts["layers"])
    ours = read_net(MODELS / f"release-caffe_300/{phase}.prototxt")
    pairs, found = compare_nets(theirs, ours)
    assert pairs == len(theirs.layer) == len(ours.layer)
    paths = ("name", "output_directory")
    rest = [d for d in found if not d.is_named(paths)]
    assert {d.kind for d in rest} == {"renamed", "blob"}
    renamed = {d.left: d.right for d in rest if d.kind == "renamed"}
    assert renamed["BatchNorm1"] == "stem_1_bn"
    assert len(set(renamed.values())) == len(renamed)
    automatic = ("BatchNorm", "Scale", "ReLU", "Eltwise", "Convolution", "Pooling", "relu")
    assert all(name.startswith(automatic) for name in renamed)


FIELDS = [
    ("conv4_1", "convolution_param.num_output", "512"),
    ("conv4_1", "convolution_param.stride", "1"),
    ("conv4_1", "param[0].lr_mult", "0.5"),
    ("pool1", "pooling_param.pool", "AVE"),
    ("res4_6_act_mbox_priorbox", "prior_box_param.step", "16"),
    ("res4_6_act_mbox_priorbox", "prior_box_param.aspect_ratio", "3"),
    ("mbox_loss", "multibox_loss_param.num_classes", "20"),
    ("mbox_loss", "include[0].min_level", "1"),
    ("data", "transform_param.resize_param.height", "512"),
    ("data", "data_param.source", "elsewhere"),
    ("stem_1_scale", "scale_param.filler.value", "2"),
    ("stem_1_bn", "batch_norm_param.eps", "0.001"),
]


@pytest.mark.parametrize(("layer", "path", "value"), FIELDS)
def test_a_changed_field_is_that_field_alone(layer: str, path: str, value: str) -> None:
    changed = copy(PAPER)
    holder: Any = layer_of(changed, layer)
    *parents, name = path.split(".")
    for parent in parents:
        word, _, index = parent.partition("[")
        holder = getattr(holder, word)
        holder = holder[int(index[:-1])] if index else holder
    field = holder.DESCRIPTOR.fields_by_name[name]
    holder.ClearField(name)
    text = f'"{value}"' if field.type == field.TYPE_STRING else value
    holder.MergeFrom(parse_text(f"{name}: {text}", type(holder)))
    (found,) = differences(PAPER, changed)
    assert (found.kind, found.layer, found.field, found.right) == ("field", layer, path, value)
    (back,) = differences(changed, PAPER)
    assert (back.left, back.right) == (found.right, found.left)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_renamed_layers_and_blobs_are_renamed_and_nothing_else(data: st.DataObject) -> None:
    """Rename some layers, and some blobs all over the net: both come back as told, one to one."""
    changed = copy(PAPER)
    names = data.draw(st.sets(st.sampled_from([layer.name for layer in PAPER.layer]), min_size=1))
    blobs = data.draw(
        st.sets(st.sampled_from(sorted({top for layer in PAPER.layer for top in layer.top})))
    )
    for layer in changed.layer:
        layer.name = f"{layer.name}_new" if layer.name in names else layer.name
        for side in (layer.bottom, layer.top):
            side[:] = [f"{blob}_new" if blob in blobs else blob for blob in side]
    found = differences(PAPER, changed)
    assert {d.kind for d in found} <= {"renamed", "blob"}
    assert {d.left: d.right for d in found if d.kind == "renamed"} == {n: f"{n}_new" for n in names}
    # A blob that bears its layer's name and changed with it is told with the layer.
    both = {blob for blob in blobs if blob in names}
    told = {d.left: d.right for d in found if d.kind == "blob"}
    assert {blob: f"{blob}_new" for blob in blobs - both}.items() <= told.items()
    assert told.keys() <= blobs


def test_a_layer_put_in_between_is_added_and_its_reader_reads_it() -> None:
    base = 'layer { name: "a" type: "Input" top: "a" } '
    base += 'layer { name: "%s" type: "ReLU" bottom: "%s" top: "z" }'
    between = 'layer { name: "t" type: "TanH" bottom: "a" top: "t" }'
    left = net_of(base % ("r", "a"))
    first, last = (base % ("r", "t")).split(" layer")
    right = net_of(f"{first} {between} layer{last}")
    found = differences(left, right)
    assert [(d.kind, d.layer) for d in found] == [("bottom", "r"), ("added", "t")]
    assert (found[0].left, found[0].right) == ("a", "t")
    assert [d.kind for d in differences(right, left)] == ["bottom", "missing"]


def test_automatic_names_that_shift_do_not_confuse() -> None:
    """NetSpec numbers its layers, so one more at the front renames all behind it."""
    bn = 'layer { name: "BatchNorm%d" type: "BatchNorm" bottom: "%s" top: "%s" }'
    conv = 'layer { name: "%s" type: "Convolution" bottom: "%s" top: "%s" convolution_param {'
    conv += " num_output: 2 kernel_size: 1 } }"
    data = 'layer { name: "data" type: "Input" top: "data" }'
    tail = [
        conv % ("c1", "%s", "c1"),
        bn % (0, "c1", "c1"),
        conv % ("c2", "c1", "c2"),
        bn % (0, "c2", "c2"),
    ]

    def numbered(lines: list[str]) -> pb.NetParameter:
        net = net_of(" ".join(lines))
        for number, layer in enumerate((own for own in net.layer if own.type == "BatchNorm"), 1):
            layer.name = f"BatchNorm{number}"
        return net

    left = numbered([data, tail[0] % "data", *tail[1:]])
    right = numbered([data, bn % (0, "data", "first"), tail[0] % "first", *tail[1:]])
    found = {(d.kind, d.layer): d.right for d in differences(left, right)}
    assert found == {
        ("bottom", "c1"): "first (of BatchNorm1)",
        ("renamed", "BatchNorm1"): "BatchNorm2",
        ("renamed", "BatchNorm2"): "BatchNorm3",
        ("added", "BatchNorm1"): "",
    }


def test_order_is_told_and_can_be_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = copy(PAPER)
    names = [layer.name for layer in PAPER.layer]
    place = names.index("res4_6_act_mbox_priorbox")
    moved = pb.LayerParameter()
    moved.CopyFrom(changed.layer[place])
    del changed.layer[place]
    changed.layer.insert(names.index("mbox_loc"), moved)
    (found,) = differences(PAPER, changed)
    assert (found.kind, found.layer) == ("order", "res4_6_act_mbox_priorbox")
    write_prototxt(tmp_path / "changed.prototxt", changed)
    words = ["--diff", str(MODELS / "paper_300/train.prototxt"), str(tmp_path / "changed.prototxt")]
    assert gen.main(words) == 1
    assert "res4_6_act_mbox_priorbox (PriorBox): behind" in capsys.readouterr().out
    assert gen.main([*words, "--ignore", "order"]) == 0
    assert "no difference: 271 layers are the same" in capsys.readouterr().out


CONV, POOL = "convolution_param", "pooling_param"
SAME = [
    ("Convolution", f"{CONV} {{ kernel_size: 3 }}", f"{CONV} {{ kernel_h: 3 kernel_w: 3 }}"),
    ("Convolution", f"{CONV} {{ pad: 1 }}", f"{CONV} {{ pad: 1 pad: 1 stride: 1 dilation: 1 }}"),
    ("Convolution", "", f"{CONV} {{ pad: 0 bias_term: true group: 1 }}"),
    ("Convolution", "", "param { lr_mult: 1 } param { decay_mult: 1 }"),
    ("Convolution", "", f'{CONV} {{ bias_filler {{ type: "constant" value: 0 }} }}'),
    ("Pooling", f"{POOL} {{ kernel_size: 2 }}", f"{POOL} {{ kernel_h: 2 kernel_w: 2 pool: MAX }}"),
    ("Scale", "", 'scale_param { filler { type: "constant" value: 1 } }'),
    ("PReLU", "", "prelu_param { filler { value: 0.25 } }"),
    ("Concat", "concat_param { axis: 2 }", "concat_param { concat_dim: 2 }"),
    ("Eltwise", "", "eltwise_param { operation: SUM coeff: 1 coeff: 1 }"),
    ("BatchNorm", "", "param { lr_mult: 0 } param { lr_mult: 0 }"),
    ("SoftmaxWithLoss", "", "loss_weight: 1"),
    ("Pooling", "", "loss_weight: 0"),
    ("ReLU", "", "relu_param { }"),
    ("MultiBoxLoss", "", "multibox_loss_param { do_neg_mining: true mining_type: MAX_NEGATIVE }"),
]


@pytest.mark.parametrize(("kind", "left", "right"), SAME)
def test_what_means_the_same_is_no_difference(kind: str, left: str, right: str) -> None:
    nets = [
        net_of(f'layer {{ name: "l" type: "{kind}" top: "l" {body} }}') for body in (left, right)
    ]
    assert differences(*nets) == []


NOT_SAME = [
    ("SoftmaxWithLoss", "", "loss_param { ignore_label: 0 }", "loss_param.ignore_label"),
    ("Scale", "", "scale_param { filler { } }", "scale_param.filler.value"),
    ("AnnotatedData", "", "transform_param { expand_param { } }", "transform_param.expand_param"),
    ("ReLU", "", "include { phase: TRAIN }", "include[0]"),
    ("ReLU", "include { }", "include { phase: TRAIN }", "include[0].phase"),
    ("Convolution", f"{CONV} {{ pad: 1 }}", f"{CONV} {{ pad: 1 pad: 0 }}", f"{CONV}.pad"),
    ("Convolution", "", "param { lr_mult: 0 }", "param[0].lr_mult"),
]


@pytest.mark.parametrize(("kind", "left", "right", "field"), NOT_SAME)
def test_what_acts_by_being_there_is_a_difference(
    kind: str, left: str, right: str, field: str
) -> None:
    nets = [
        net_of(f'layer {{ name: "l" type: "{kind}" top: "l" {body} }}') for body in (left, right)
    ]
    assert [d.field for d in differences(*nets)] == [field]


def test_solvers_differ_in_fields_and_old_types_are_types() -> None:
    def solver(text: str) -> pb.SolverParameter:
        return parse_text(text, pb.SolverParameter)

    assert not list(compare_solvers(solver("iter_size: 1"), solver('type: "SGD" average_loss: 1')))
    found = list(compare_solvers(solver("stepvalue: 3"), solver("stepvalue: 3 stepvalue: 9")))
    assert [(d.field, d.left, d.right) for d in found] == [("stepvalue", "3", "[3, 9]")]


def test_folders_are_compared_file_by_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paper, release = str(MODELS / "paper_300"), str(MODELS / "release-caffe_300")
    assert gen.main(["--diff", paper, paper]) == 0
    assert capsys.readouterr().out.count("no difference") == 4
    assert gen.main(["--diff", paper, release, "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert [Path(item["left"]).name for item in record][-1] == "solver.prototxt"
    fields = {item["field"]: (item["left"], item["right"]) for item in record[-1]["differences"]}
    assert fields["iter_size"] == ("2", "1")
    (tmp_path / "solver.prototxt").write_text("base_lr: 1")
    kinds = [c.differences[0].kind for c in compare(paper, tmp_path)]
    assert kinds == ["missing", "missing", "missing", "field"]


@pytest.mark.parametrize(
    ("left", "right", "sentence"),
    [
        ("paper_300", "paper_300/train.prototxt", "one is a folder, the other is not"),
        (
            "paper_300/solver.prototxt",
            "paper_300/train.prototxt",
            "one is a net, the other a solver",
        ),
        ("paper_300/train.prototxt", "paper_300/none.prototxt", "cannot read this prototxt"),
        (".", ".", "no train.prototxt, test.prototxt"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(left: str, right: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        compare(MODELS / left, MODELS / right)
    assert sentence in str(caught.value)


def test_the_text_shows_field_left_and_right(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [str(MODELS / f"{job}/train.prototxt") for job in ("paper_300", "release-caffe_300")]
    assert gen.main(["--diff", *words, "--ignore", "renamed", "--ignore", "name"]) == 1
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("data (AnnotatedData)")
    assert lines[at + 1].split() == [
        "transform_param.force_color",
        "true",
        "|",
        "false",
        "(default)",
    ]
    assert "only on the left: 30" in lines
    assert not any(line.startswith("layers renamed") for line in lines)


def test_in_place_or_not_is_a_matter_of_blob_names() -> None:
    """The numbers are the same; only programs that ask for the blob see a difference."""
    head = 'layer { name: "x" type: "Input" top: "x" } '
    in_place = 'layer { name: "r" type: "ReLU" bottom: "x" top: "x" } '
    apart = 'layer { name: "r" type: "ReLU" bottom: "x" top: "y" } '
    tail = 'layer { name: "t" type: "TanH" bottom: "%s" top: "t" }'
    (found,) = differences(net_of(head + in_place + tail % "x"), net_of(head + apart + tail % "y"))
    assert (found.kind, found.layer, found.left, found.right) == ("blob", "r", "x", "y")
    # Read before the ReLU, it is another net.
    before = net_of(head + apart + tail % "x")
    assert "bottom" in {d.kind for d in differences(net_of(head + in_place + tail % "x"), before)}
