"""What is there and what was found, from nets and from files, as `Results` to score."""

from scratchdet_caffe.scoring.deploy import DeployNet, read_deploy_net
from scratchdet_caffe.scoring.detector import Detector
from scratchdet_caffe.scoring.found import Found, doubts, read_found
from scratchdet_caffe.scoring.job import net_of
from scratchdet_caffe.scoring.scored import Scored, numbers_of, write_found
from scratchdet_caffe.scoring.sources import (
    SOFT,
    from_files,
    from_pictures,
    from_test_net,
    make_detector,
)
from scratchdet_caffe.scoring.testnet import EvaluatedNet, Pass, detect, read_test_net
from scratchdet_caffe.scoring.truth import GroundTruth, read_ground_truth
from scratchdet_caffe.scoring.views import LISTS, Views, plan_views

__all__ = [
    "LISTS",
    "SOFT",
    "DeployNet",
    "Detector",
    "EvaluatedNet",
    "Found",
    "GroundTruth",
    "Pass",
    "Scored",
    "Views",
    "detect",
    "doubts",
    "from_files",
    "from_pictures",
    "from_test_net",
    "make_detector",
    "net_of",
    "numbers_of",
    "plan_views",
    "read_deploy_net",
    "read_found",
    "read_ground_truth",
    "read_test_net",
    "write_found",
]
