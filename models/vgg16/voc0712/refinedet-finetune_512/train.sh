#!/bin/sh
# Train vgg16_voc0712_refinedet-finetune_512, going on from the newest snapshot if there is one.
# Run it from the folder that models/vgg16/voc0712/refinedet-finetune_512 is relative to.
exec "${PYTHON:-python}" -m scratchdet_caffe.train --solver models/vgg16/voc0712/refinedet-finetune_512/solver.prototxt --resume --weights models/VGGNet/VOC0712/refinedet_vgg16_512x512_coco/coco_refinedet_vgg16_512x512.caffemodel "$@"
