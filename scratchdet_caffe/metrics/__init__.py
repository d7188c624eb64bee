"""Average precision over numpy arrays; each number says the rule it was made by."""

from scratchdet_caffe.metrics.coco import (
    BOUNDS,
    SIZES,
    CocoScore,
    check_bounds,
    coco_json,
    coco_score,
    coco_score_of,
)
from scratchdet_caffe.metrics.coco_files import (
    read_coco_results,
    read_instances,
    results_of,
    write_coco_results,
)
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
    PIXEL_INCLUSIVE,
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
    "BOUNDS",
    "ELEVEN_POINT",
    "PIXEL_INCLUSIVE",
    "SIZES",
    "SSD",
    "VOC_PIXEL",
    "ClassScore",
    "CocoScore",
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
    "check_bounds",
    "coco_json",
    "coco_score",
    "coco_score_of",
    "match",
    "mean_ap",
    "overlap",
    "read_coco_results",
    "read_detection_file",
    "read_instances",
    "read_results",
    "results_of",
    "score",
    "summary",
    "write_coco_results",
    "write_detection_files",
    "write_results",
]
