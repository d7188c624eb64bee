#!/bin/sh
# Train vgg16_voc0712plus_refinedet-finetune_320, going on from the newest snapshot if there is one.
# Run it from the folder that models/vgg16/voc0712plus/refinedet-finetune_320 is relative to.
exec "${PYTHON:-python}" -m scratchdet_caffe.train --solver models/vgg16/voc0712plus/refinedet-finetune_320/solver.prototxt --resume --weights models/VGGNet/VOC0712/refinedet_vgg16_320x320_coco/coco_refinedet_vgg16_320x320.caffemodel "$@"
