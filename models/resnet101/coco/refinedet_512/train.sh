#!/bin/sh
# Train resnet101_coco_refinedet_512, going on from the newest snapshot if there is one.
# Run it from the folder that models/resnet101/coco/refinedet_512 is relative to.
exec "${PYTHON:-python}" -m scratchdet_caffe.train --solver models/resnet101/coco/refinedet_512/solver.prototxt --resume --weights models/ResNet/ResNet-101-model.caffemodel "$@"
