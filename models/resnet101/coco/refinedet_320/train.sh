#!/bin/sh
# Train resnet101_coco_refinedet_320, going on from the newest snapshot if there is one.
# Run it from the folder that models/resnet101/coco/refinedet_320 is relative to.
exec "${PYTHON:-python}" -m scratchdet_caffe.train --solver models/resnet101/coco/refinedet_320/solver.prototxt --resume --weights models/ResNet/ResNet-101-model.caffemodel "$@"
