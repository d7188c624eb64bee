"""A recipe: every choice of an experiment that is not its arch, dataset or size.

The fields are those of the TOML files in ``recipes/``, table by table; ``--set table.field=value``
reaches each of them. Names are Caffe's where Caffe has one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Filler:
    """Caffe's FillerParameter: ``type`` and, for gaussian, ``std``."""

    type: str
    std: float | None = None


@dataclass(frozen=True)
class Pyramid:
    """Which maps are predicted from.

    Attributes:
        first_source: The stage of the finest source; every later stage is one too.
        taps: ``branch`` reads a stage's last convolution, before it joins the sum;
            ``output`` reads the sum after BatchNorm and ReLU.
        unshrunk: Extra levels kept at the map below by mistake: stride 1 and padding 1, while
            steps are still those of the pyramid meant (a quirk of the authors' release).
    """

    first_source: str
    taps: str
    unshrunk: tuple[str, ...]


@dataclass(frozen=True)
class Backbone:
    """Convolutions from the stem to the last extra level.

    Attributes:
        width: Multiplier of all channel counts.
        bn: BatchNorm and Scale after each convolution; without, convolutions have a bias.
        eps: BatchNorm's; None for Caffe's default, written nowhere.
        moving_average_fraction: BatchNorm's; None for Caffe's default.
        filler: Weight filler.
    """

    width: float
    bn: bool
    filler: Filler
    eps: float | None = None
    moving_average_fraction: float | None = None


@dataclass(frozen=True)
class HeadParams:
    """The prediction convolutions; see `Backbone` for the fields of the same name.

    Attributes:
        type: A word of ``heads.HEADS``.
        filler_with_bn: Weight filler where ``bn`` is on, in place of ``filler``.
    """

    type: str
    bn: bool
    filler: Filler
    filler_with_bn: Filler
    eps: float | None = None
    moving_average_fraction: float | None = None


@dataclass(frozen=True)
class Priors:
    """Prior boxes: sizes by ratio (percent of the input, see `pyramid.prior_sizes`).

    Attributes:
        first_ratio: Smallest prior of the first source, percent.
        min_ratio: Smallest prior of the second source, percent.
        max_ratio: Where the climb of the sizes ends, percent.
        aspect_ratio_outer: Of the first and the last two sources.
        aspect_ratio_inner: Of the sources between.
        flip: Whether 1/ratio is used too.
        clip: Whether priors are cut at the border.
        variance: Of the four encoded coordinates.
        offset: Of the first centre, in steps.
    """

    first_ratio: int
    min_ratio: int
    max_ratio: int
    aspect_ratio_outer: tuple[float, ...]
    aspect_ratio_inner: tuple[float, ...]
    flip: bool
    clip: bool
    variance: tuple[float, ...]
    offset: float


@dataclass(frozen=True)
class Data:
    """The training data layer: batch and SSD's augmentation, in the order it is applied.

    ``sampler_*`` describe the random crops, one batch sampler for each value of
    ``sampler_jaccard`` (least overlap with a box), one without that demand, and one that
    takes the whole picture.
    """

    batch_size: int
    mean_value: tuple[float, ...]
    force_color: bool
    mirror: bool
    distort_prob: float
    brightness_delta: float
    contrast_lower: float
    contrast_upper: float
    hue_delta: float
    saturation_lower: float
    saturation_upper: float
    expand_prob: float
    max_expand_ratio: float
    sampler_jaccard: tuple[float, ...]
    sampler_min_scale: float
    sampler_max_scale: float
    sampler_min_aspect_ratio: float
    sampler_max_aspect_ratio: float
    sampler_max_trials: int


@dataclass(frozen=True)
class Loss:
    """MultiBoxLoss."""

    loc_weight: float
    overlap_threshold: float
    use_difficult_gt: bool
    neg_pos_ratio: float
    neg_overlap: float
    normalization: str


@dataclass(frozen=True)
class Detection:
    """DetectionOutput and DetectionEvaluate.

    Attributes:
        max_test_batch: The test batch is the largest divisor of the image count up to this:
            a test round then sees every image once.
        save_output: Whether DetectionOutput writes result files while testing.
    """

    nms_threshold: float
    top_k: int
    keep_top_k: int
    confidence_threshold: float
    eval_overlap_threshold: float
    evaluate_difficult_gt: bool
    ap_version: str
    max_test_batch: int
    save_output: bool


@dataclass(frozen=True)
class SolverParams:
    """Caffe's SolverParameter; ``test_interval`` 0 trains without test rounds."""

    type: str
    base_lr: float
    lr_policy: str
    max_iter: int
    momentum: float
    weight_decay: float
    iter_size: int
    display: int
    average_loss: int
    snapshot: int
    test_interval: int
    solver_mode: str
    device_id: int
    debug_info: bool
    gamma: float | None = None
    power: float | None = None
    stepvalue: tuple[int, ...] = ()
    random_seed: int | None = None


@dataclass(frozen=True)
class Recipe:
    """One recipe, settled for an arch and a dataset.

    Attributes:
        name: Its file's name.
        about: One line for ``gen --list``.
        size: Side of the square input in pixels, unless ``--size`` says otherwise.
    """

    name: str
    about: str
    size: int
    pyramid: Pyramid
    backbone: Backbone
    head: HeadParams
    priors: Priors
    data: Data
    loss: Loss
    detection: Detection
    solver: SolverParams
