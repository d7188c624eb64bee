"""SSD's batch samplers: random crops that must overlap an object enough (SSD, section 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.data.boxes import Boxes, coverage, jaccard
from scratchdet_caffe.errors import UserError

Mask = npt.NDArray[np.bool_]
_MEASURES: dict[str, Callable[[Boxes, Boxes], Boxes]] = {
    "jaccard_overlap": jaccard,
    "sample_coverage": coverage,
    "object_coverage": lambda windows, objects: coverage(objects, windows),
}


def check_samplers(samplers: Sequence[pb.BatchSampler]) -> None:
    """Check the ranges that the batch samplers draw from.

    Raises:
        UserError: Naming the sampler (from 1) and its wrong range.
    """
    for number, entry in enumerate(samplers, 1):
        s = entry.sampler
        if not 0 < s.min_scale <= s.max_scale <= 1:
            raise UserError(
                f"batch_sampler {number}: scales must be 0 < min_scale <= max_scale <= 1, "
                f"not {s.min_scale:g} and {s.max_scale:g}"
            )
        if not 0 < s.min_aspect_ratio <= s.max_aspect_ratio < np.inf:
            raise UserError(
                f"batch_sampler {number}: aspect ratios must be 0 < min <= max, "
                f"not {s.min_aspect_ratio:g} and {s.max_aspect_ratio:g}"
            )


def sample_window(
    samplers: Sequence[pb.BatchSampler], objects: Boxes, rng: np.random.Generator
) -> Boxes | None:
    """Draw one crop window for a picture.

    Each sampler contributes up to max_sample windows that meet its constraint, out of
    max_trials; one window of all is taken at random.

    Args:
        samplers: The ``batch_sampler`` entries of the layer.
        objects: Boxes of the picture ``(K, 4)``, normalised.
        rng: Source of the random choices.

    Returns:
        A window ``(4,)`` inside the unit square, or None where no trial succeeded.
    """
    found: list[Boxes] = []
    for sampler in samplers:
        if sampler.use_original_image:
            windows = draw_windows(sampler.sampler, sampler.max_trials, rng)
            good = windows[meets(windows, objects, sampler.sample_constraint)]
            found.append(good[: sampler.max_sample] if sampler.HasField("max_sample") else good)
    candidates = np.concatenate(found) if found else np.zeros((0, 4), np.float32)
    if not len(candidates):
        return None
    chosen: Boxes = candidates[rng.integers(len(candidates))]
    return chosen


def draw_windows(sampler: pb.Sampler, count: int, rng: np.random.Generator) -> Boxes:
    """Draw ``count`` windows ``(count, 4)``: scale, aspect ratio and place all uniform.

    The aspect ratio is held between scale^2 and 1/scale^2, so that a window fits. A side may
    still come out one rounding above 1, over which the reference aborts; here it is cut.
    """
    scale, ratio, x, y = rng.random((4, count), np.float32)
    scale = sampler.min_scale + (sampler.max_scale - sampler.min_scale) * scale
    ratio = sampler.min_aspect_ratio + (sampler.max_aspect_ratio - sampler.min_aspect_ratio) * ratio
    root = np.sqrt(np.clip(ratio, scale**2, 1 / scale**2))
    width, height = np.minimum(scale * root, 1), np.minimum(scale / root, 1)
    left, top = x * (1 - width), y * (1 - height)
    return np.stack([left, top, left + width, top + height], axis=1).clip(0, 1).astype(np.float32)


def meets(windows: Boxes, objects: Boxes, constraint: pb.SampleConstraint) -> Mask:
    """Tell which ``windows (S, 4)`` meet ``constraint`` for at least one object ``(K, 4)``.

    As in the reference, where several kinds of constraint are given an object needs to pass
    the first kind only: jaccard overlap, then sample coverage, then object coverage.
    """
    for name, measure in _MEASURES.items():
        has_min, has_max = (constraint.HasField(f"{end}_{name}") for end in ("min", "max"))
        if has_min or has_max:
            values = measure(windows[:, None], objects[None])
            good = np.ones(values.shape, np.bool_)
            if has_min:
                good &= values >= np.float32(getattr(constraint, f"min_{name}"))
            if has_max:
                good &= values <= np.float32(getattr(constraint, f"max_{name}"))
            return np.asarray(good.any(axis=1))
    return np.ones(len(windows), np.bool_)
