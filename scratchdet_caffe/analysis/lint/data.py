"""Rules about data layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scratchdet_caffe.analysis.lint.rules import ERROR, NOTE, WARNING, Hit, net_rule
from scratchdet_caffe.analysis.lint.subject import Net

_RGB_MEANS = (123.0, 117.0, 104.0)


@net_rule(
    "force-color",
    WARNING,
    why="the first grey picture stops the run, perhaps after thousands of iterations: its record "
    "has one channel",
    do="set transform_param.force_color: true, in the training and in the test net",
    known="weiliu89/caffe#129, #354, #723, #887; RefineDet#33, #70",
)
def force_color(net: Net) -> Iterator[Hit]:
    """An AnnotatedData layer that takes pictures with the channels they happen to have."""
    for layer in net.of_type("AnnotatedData"):
        p = layer.node.layer.transform_param
        if not p.force_color and not p.force_gray:
            yield Hit("has no force_color", layer.name)


@net_rule(
    "mean-values",
    WARNING,
    why="pictures come in at 0 to 255: pretrained weights expect the mean subtracted, and "
    "expand_param fills its canvas with it",
    do="give mean_value once for each channel (104, 117, 123 for VGG and its kin)",
    known="Caffe's data_transformer.cpp",
)
def mean_values(net: Net) -> Iterator[Hit]:
    """An AnnotatedData layer without a mean, or with another number of values than channels."""
    for layer in net.of_type("AnnotatedData"):
        p = layer.node.layer.transform_param
        count, channels = len(p.mean_value), 1 if p.force_gray else 3
        if not count and not p.mean_file:
            yield Hit("has neither mean_value nor mean_file", layer.name)
        elif count not in (0, 1, channels):
            what = f"has {count} mean_value for {channels} channels"
            yield Hit(what, layer.name, severity=ERROR)
        elif count and p.mean_file:
            yield Hit("has both mean_value and mean_file", layer.name, severity=ERROR)


@net_rule(
    "mean-order",
    WARNING,
    why="Caffe's pictures are blue, green, red: each channel loses another one's mean",
    do="write the means as 104, 117, 123",
    known="the means of ImageNet as torchvision and mmdetection write them, in RGB",
)
def mean_order(net: Net) -> Iterator[Hit]:
    """The means of ImageNet in the order of RGB."""
    for layer in net.of_type("AnnotatedData", "Data", "ImageData"):
        means = list(layer.node.layer.transform_param.mean_value)
        if len(means) == 3 and all(abs(m - rgb) < 2.5 for m, rgb in zip(means, _RGB_MEANS)):
            yield Hit(f"mean_value is {', '.join(f'{m:g}' for m in means)}", layer.name)


@net_rule(
    "no-resize",
    WARNING,
    why="pictures of different sizes do not fit into one batch (fine only for a database whose "
    "pictures were resized before)",
    do="add a resize_param (WARP, with height and width)",
    known="Caffe's annotated_data_layer.cpp",
)
def no_resize(net: Net) -> Iterator[Hit]:
    """An AnnotatedData layer that neither resizes nor crops, with more than one picture a batch."""
    for layer in net.of_type("AnnotatedData"):
        p, batch = layer.node.layer.transform_param, layer.node.layer.data_param.batch_size
        if batch > 1 and not (p.HasField("resize_param") or p.crop_size or p.crop_h):
            yield Hit(f"has no resize_param, and a batch of {batch}", layer.name)


@net_rule(
    "augmentation",
    NOTE,
    why="SSD's scores rest on it: without, several points of mAP are missing",
    do="take the sampler, distort_param and expand_param of a published net",
    known="weiliu89/caffe#695 and #32 (68 % instead of 77 %)",
)
def augmentation(net: Net) -> Iterator[Hit]:
    """Training pictures without one of SSD's augmentations."""
    for layer in net.of_type("AnnotatedData") if net.trains else ():
        p = layer.node.layer.transform_param
        samplers = layer.node.layer.annotated_data_param.batch_sampler
        there = {
            "mirror": p.mirror,
            "batch_sampler": any(s.HasField("sample_constraint") for s in samplers),
            "distort_param": p.HasField("distort_param"),
            "expand_param": p.HasField("expand_param"),
        }
        absent = [name for name, is_there in there.items() if not is_there]
        if absent:
            yield Hit(f"has no {', no '.join(absent)}", layer.name)


@net_rule(
    "random-test-data",
    WARNING,
    why="every round of tests sees other pictures, so scores cannot be compared",
    do="leave augmentation to the training net",
    known="Caffe's data_transformer.cpp, which mirrors in either phase",
)
def random_test_data(net: Net) -> Iterator[Hit]:
    """A test net whose pictures are mirrored, cropped, distorted or expanded at random."""
    for layer in net.of_type("AnnotatedData", "Data", "ImageData") if not net.trains else ():
        p = layer.node.layer.transform_param
        samplers = layer.node.layer.annotated_data_param.batch_sampler
        there = {
            "mirror": p.mirror,
            "batch_sampler": any(s.HasField("sample_constraint") for s in samplers),
            "distort_param": p.HasField("distort_param"),
            "expand_param": p.HasField("expand_param"),
            "noise_param": p.HasField("noise_param"),
        }
        found = [name for name, is_there in there.items() if is_there]
        if found:
            yield Hit(f"has {', '.join(found)}", layer.name)


def test_images(net: Net) -> int | None:
    """Return how many images the test net ``net`` scores, as far as its files say."""
    for layer in net.view.layers:
        p = layer.node.layer
        saved, judged = p.detection_output_param.save_output_param, p.detection_evaluate_param
        if saved.num_test_image:
            return saved.num_test_image
        for path in (Path(saved.name_size_file), Path(judged.name_size_file)):
            if path.is_file():
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
                return sum(1 for line in lines if line.strip()) or None
    return None


@net_rule(
    "test-batch",
    WARNING,
    why="the last batch starts over, so images are counted twice or left out, and the score is "
    "slightly off",
    do="take a batch_size that divides the number of test images",
    known="a comment in SSD's ssd_pascal.py; eric612/MobileNet-YOLO#198",
)
def test_batch(net: Net) -> Iterator[Hit]:
    """A test batch that does not divide the number of test images."""
    images = test_images(net) if not net.trains else None
    if net.data and net.batch and images and images % net.batch:
        yield Hit(f"batch_size {net.batch} does not divide {images} test images", net.data.name)
