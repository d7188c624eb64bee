"""What a recipe leaves open: rates and passes that follow from batch, GPUs and normalisation."""

from __future__ import annotations

import dataclasses
import math

from scratchdet_caffe.errors import UserError
from scratchdet_caffe.experiment.recipe import Recipe

PRIORS_PER_IMAGE = 2000.0
"""SSD's guess for the loss that is divided by all priors (FULL), kept as it is."""

MATCHES_PER_IMAGE = 25.0
"""SSD's guess for the loss that is divided by the matched priors (VALID)."""


def resolve(recipe: Recipe) -> Recipe:
    """Return ``recipe`` with every number filled in that follows from others.

    - ``loss.loc_weight`` is (neg_pos_ratio + 1) / 4: as much weight for boxes as for classes.
    - ``solver.base_lr`` is ``solver.unit_lr`` scaled to the loss's normalisation.
    - ``solver.iter_size`` makes up ``solver.accum_batch_size`` of the batches of all GPUs.

    What the recipe or ``--set`` states holds as it is. Source: SSD's ssd_pascal.py.

    Raises:
        UserError: Neither a rate nor a way to get it is given.
    """
    solver, loss = recipe.solver, recipe.loss
    weight = loss.loc_weight
    if weight is None:
        weight = (loss.neg_pos_ratio + 1) / 4
    iter_size = solver.iter_size
    if iter_size is None:
        at_once = max(1, recipe.data.batch_size) * max(1, len(solver.gpus))
        iter_size = math.ceil((solver.accum_batch_size or at_once) / at_once)
    base_lr = solver.base_lr
    if base_lr is None:
        if solver.unit_lr is None:
            raise UserError(f"recipe {recipe.name}: solver.base_lr is missing")
        base_lr = solver.unit_lr * _scale(loss.normalization, weight, recipe.data.batch_size)
    return dataclasses.replace(
        recipe,
        loss=dataclasses.replace(loss, loc_weight=weight),
        solver=dataclasses.replace(solver, iter_size=iter_size, base_lr=base_lr),
    )


def _scale(normalization: str, loc_weight: float, batch_size: int) -> float:
    """Return how much a loss normalised so is smaller than one of a single prior."""
    scales = {
        "VALID": MATCHES_PER_IMAGE / loc_weight if loc_weight else math.inf,
        "FULL": PRIORS_PER_IMAGE,
        "NONE": 1 / max(1, batch_size),
    }
    if normalization not in scales:
        raise UserError(
            f"loss.normalization={normalization} has no rule for the rate (these have: "
            f"{', '.join(scales)}); give --set solver.base_lr=..., too"
        )
    return scales[normalization]
