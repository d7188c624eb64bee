"""What is there and what was found, from nets and from files, as `Results` to score."""

from scratchdet_caffe.scoring.found import Found, read_found
from scratchdet_caffe.scoring.scored import Scored
from scratchdet_caffe.scoring.testnet import (
    EvaluatedNet,
    Pass,
    detect,
    open_test_net,
    read_test_net,
)
from scratchdet_caffe.scoring.truth import GroundTruth, read_ground_truth

__all__ = [
    "EvaluatedNet",
    "Found",
    "GroundTruth",
    "Pass",
    "Scored",
    "detect",
    "open_test_net",
    "read_found",
    "read_ground_truth",
    "read_test_net",
]
