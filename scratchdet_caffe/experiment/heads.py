"""Detection heads: what is predicted from the sources, and by which template."""

from __future__ import annotations

from dataclasses import dataclass

from scratchdet_caffe.experiment.registry import Registry


@dataclass(frozen=True)
class Head:
    """A detection head.

    Attributes:
        name: The word that users type, and the file under ``templates/heads/``. That template
            gives the macros ``predictions`` (layers up to the concatenated blobs), ``loss``
            and ``detections``.
        about: One line for ``gen --list``.
        priors: The blob that holds the priors of all sources.
        refines: Whether a second set of maps, made from the sources, is predicted from, too.
    """

    name: str
    about: str
    priors: str
    refines: bool = False


HEADS: Registry[Head] = Registry("head")
HEADS.add(
    Head("ssd", "one 3x3 convolution each for boxes and classes on every source", "mbox_priorbox")
)
HEADS.add(
    Head("refinedet", "RefineDet: ARM, TCB and ODM on four sources", "arm_priorbox", refines=True)
)
