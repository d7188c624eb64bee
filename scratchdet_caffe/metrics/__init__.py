"""Average precision over numpy arrays; each number says the rule it was made by."""

from scratchdet_caffe.metrics.detection_evaluate import (
    AP_VERSIONS,
    DetectionAccumulator,
    DetectionEvaluation,
)
from scratchdet_caffe.metrics.detection_files import read_detection_file, write_detection_files
from scratchdet_caffe.metrics.results import (
    ClassScore,
    ImageResult,
    Results,
    read_results,
    score,
    write_results,
)
from scratchdet_caffe.metrics.summary import AREA, ELEVEN_POINT, summary
from scratchdet_caffe.metrics.voc import (
    SSD,
    VOC_PIXEL,
    Curve,
    Detections,
    Rule,
    Truth,
    ap_11point,
    ap_area,
    match,
    mean_ap,
    overlap,
)

__all__ = [
    "AP_VERSIONS",
    "AREA",
    "ELEVEN_POINT",
    "SSD",
    "VOC_PIXEL",
    "ClassScore",
    "Curve",
    "DetectionAccumulator",
    "DetectionEvaluation",
    "Detections",
    "ImageResult",
    "Results",
    "Rule",
    "Truth",
    "ap_11point",
    "ap_area",
    "match",
    "mean_ap",
    "overlap",
    "read_detection_file",
    "read_results",
    "score",
    "summary",
    "write_detection_files",
    "write_results",
]
