"""A recipe: every choice of an experiment that is not its arch, dataset or size.

The fields are those of the TOML files in ``recipes/``, table by table; ``--set table.field=value``
reaches each of them. Names are Caffe's where Caffe has one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Filler:
    """Caffe's FillerParameter: ``type``, ``std`` for gaussian, ``variance_norm`` for the rest."""

    type: str
    std: float | None = None
    variance_norm: str | None = None


@dataclass(frozen=True)
class Pyramid:
    """Which maps there are, and which are predicted from.

    Attributes:
        first_step: Step of the finest source, pixels: 8 for SSD300's 38x38 map.
        taps: What a source on residual blocks is: ``output``, the last sum, normalised and
            rectified, or ``branch``, the last convolution before it joins the sum.
        unshrunk: Extra levels kept at the map below by mistake: stride 1 and padding 1, while
            steps are still those of the pyramid meant (a quirk of the authors' releases).
        padded: Extra levels have a padded 3x3/2 window where it makes the map of the unpadded one.
        halve_even: Extra levels on 4 and 2 cells halve them as SSD512's do (`pyramid.shrink`).
        sources: Number of maps that are predicted from; None for all down to one cell.
    """

    first_step: int
    taps: str
    unshrunk: tuple[str, ...]
    padded: bool
    halve_even: bool
    sources: int | None = None


@dataclass(frozen=True, kw_only=True)
class Part:
    """How the convolutions of one part of the net are written.

    Attributes:
        bn: BatchNorm and Scale after each convolution; without, convolutions have a bias.
        filler: Weight filler.
        filler_with_bn: Weight filler where ``bn`` is on; None for ``filler``.
        eps: BatchNorm's; None for Caffe's default, written nowhere.
        moving_average_fraction: BatchNorm's; None for Caffe's default.
        use_global_stats: BatchNorm's, to keep the statistics of pretrained weights.
        statistics_lr: Whether ``lr_mult: 0`` is written for BatchNorm's blobs; Caffe sets it
            where it is not.
        scale_filler: How Scale's fillers (1 and 0) are written: ``value``, ``constant`` (with
            their type), or ``default`` (not at all).
        scale_decay: ``decay_mult`` of Scale's blobs; None for Caffe's default, written nowhere.
    """

    bn: bool
    filler: Filler
    filler_with_bn: Filler | None = None
    eps: float | None = None
    moving_average_fraction: float | None = None
    use_global_stats: bool | None = None
    statistics_lr: bool = True
    scale_filler: str = "constant"
    scale_decay: float | None = None

    @property
    def weight_filler(self) -> Filler:
        return self.filler_with_bn if self.bn and self.filler_with_bn else self.filler


@dataclass(frozen=True)
class StemChanges:
    """Changes of the arch's stem, see `archs.Stem`; None keeps what the arch has."""

    number: int | None = None
    kernel: int | None = None
    channels: int | None = None
    stride: int | None = None
    pool: int | None = None

    @property
    def given(self) -> dict[str, int]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Backbone(Part):
    """Convolutions from the stem to the last extra level.

    Attributes:
        width: Multiplier of all channel counts but those of the predictions.
        stem: Changes of the arch's root block.
        strides: Strides of the stages of a residual arch, conv2 first; None for the arch's.
        preactivation: Residual blocks are normalised and rectified before their convolutions.
        extras: Kind of the levels behind the stages, ``residual`` or ``plain``; None for the
            arch's.
        dilated: VGG's conv5 is not halved any more, and fc6 is dilated instead.
        bn_after_pool: VGG has BatchNorm, Scale and ReLU behind its poolings, too.
    """

    width: float
    preactivation: bool
    dilated: bool
    bn_after_pool: bool
    stem: StemChanges = StemChanges()
    strides: tuple[int, ...] | None = None
    extras: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tcb(Part):
    """RefineDet's transfer connection blocks, and the blocks that a head inserts.

    Attributes:
        channels: Of each convolution, before the width multiplier.
    """

    channels: int


@dataclass(frozen=True, kw_only=True)
class HeadParams(Part):
    """The prediction convolutions.

    Attributes:
        type: A word of ``heads.HEADS``.
        l2_norm: Initial scales of the L2 normalisation of the finest sources, finest first;
            sources beyond have none.
        inter: RefineDet on ResNet inserts a bottleneck block before the predictions of each
            map; the channels of its 3x3 convolution, before the width multiplier, 0 for none.
    """

    type: str
    l2_norm: tuple[float, ...] = ()
    inter: int = 0


@dataclass(frozen=True)
class Priors:
    """Prior boxes.

    Attributes:
        sizes: ``climb``: they climb from source to source, in percent of the input
            (`pyramid.climbing_sizes`); ``steps``: one size on each source, four times its step.
        first_ratio: Smallest prior of the first of six sources, percent; more sources lower it
            and the next (`pyramid.climb_start`).
        min_ratio: Smallest prior of the second source, percent.
        max_ratio: Where the climb of the sizes ends, percent.
        aspect_ratio_outer: Of the first and the last two sources.
        aspect_ratio_inner: Of the sources between.
        flip: Whether 1/ratio is used too.
        clip: Whether priors are cut at the border.
        variance: Of the four encoded coordinates.
        offset: Of the first centre, in steps.
        whole_pixels: Sizes are cut to whole pixels.
    """

    sizes: str
    first_ratio: int
    min_ratio: int
    max_ratio: int
    aspect_ratio_outer: tuple[float, ...]
    aspect_ratio_inner: tuple[float, ...]
    flip: bool
    clip: bool
    variance: tuple[float, ...]
    offset: float
    whole_pixels: bool = False


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
    """MultiBoxLoss.

    Attributes:
        loc_weight: Weight of the boxes' loss; None for what `schedule.resolve` makes of
            ``neg_pos_ratio``.
        objectness_score: RefineDet: a prior that the ARM gives less is a negative too easy.
    """

    overlap_threshold: float
    use_difficult_gt: bool
    neg_pos_ratio: float
    neg_overlap: float
    normalization: str
    loc_weight: float | None = None
    objectness_score: float | None = None


@dataclass(frozen=True)
class Detection:
    """DetectionOutput and DetectionEvaluate.

    Attributes:
        max_test_batch: The test batch is the largest divisor of the image count up to this:
            a test round then sees every image once.
        save_output: Whether DetectionOutput writes result files while testing.
        objectness_score: RefineDet: a prior that the ARM gives less is no object.
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
    objectness_score: float | None = None


@dataclass(frozen=True)
class SolverParams:
    """Caffe's SolverParameter, and what it follows from.

    Attributes:
        test_interval: 0 trains without test rounds.
        gpus: Those to train on, each with ``data.batch_size`` pictures at once.
        base_lr: The rate; None for ``unit_lr`` scaled (`schedule.resolve`).
        unit_lr: The rate for a loss that is not normalised, with one picture at once.
        iter_size: Passes of an iteration; None for as many as ``accum_batch_size`` needs.
        accum_batch_size: Pictures of an iteration, over all GPUs and passes.
    """

    type: str
    lr_policy: str
    max_iter: int
    momentum: float
    weight_decay: float
    display: int
    average_loss: int
    snapshot: int
    test_interval: int
    solver_mode: str
    gpus: tuple[int, ...]
    debug_info: bool
    base_lr: float | None = None
    unit_lr: float | None = None
    iter_size: int | None = None
    accum_batch_size: int | None = None
    gamma: float | None = None
    power: float | None = None
    stepvalue: tuple[int, ...] = ()
    random_seed: int | None = None

    @property
    def device_id(self) -> int:
        return self.gpus[0] if self.gpus else 0


@dataclass(frozen=True)
class Recipe:
    """One recipe, settled for an arch and a dataset.

    Attributes:
        name: Its file's name.
        about: One line for ``gen --list``.
        size: Side of the square input in pixels, unless ``--size`` says otherwise.
        weights: The ``.caffemodel`` that training begins with; ``{size}`` and ``{arch}`` stand
            for the job's. Empty for none: the net is trained from scratch.
        finetunes: Whether it makes no sense without weights.
    """

    name: str
    about: str
    size: int
    pyramid: Pyramid
    backbone: Backbone
    tcb: Tcb
    head: HeadParams
    priors: Priors
    data: Data
    loss: Loss
    detection: Detection
    solver: SolverParams
    weights: str = ""
    finetunes: bool = False
