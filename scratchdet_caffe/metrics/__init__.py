"""Average precision over numpy arrays; each number says the rule it was made by."""

from scratchdet_caffe.metrics.detection_evaluate import (
    AP_VERSIONS,
    DetectionAccumulator,
    DetectionEvaluation,
)

__all__ = ["AP_VERSIONS", "DetectionAccumulator", "DetectionEvaluation"]
