#!/bin/sh
# Train vgg16_coco_refinedet_512, going on from the newest snapshot if there is one.
# Run it from the folder that models/vgg16/coco/refinedet_512 is relative to.
exec "${PYTHON:-python}" -m scratchdet_caffe.train --solver models/vgg16/coco/refinedet_512/solver.prototxt --resume --weights models/VGGNet/VGG_ILSVRC_16_layers_fc_reduced.caffemodel "$@"
