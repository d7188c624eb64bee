"""ScratchDet on Caffe files: generate, train and score single-shot detectors from scratch."""

__version__ = "0.1.0"
