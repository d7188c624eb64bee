#!/bin/sh
# Train vgg16_voc0712plus_ssd_300, going on from the newest snapshot if there is one.
# Run it from the folder that models/vgg16/voc0712plus/ssd_300 is relative to.
exec "${PYTHON:-python}" -m scratchdet_caffe.train --solver models/vgg16/voc0712plus/ssd_300/solver.prototxt --resume --weights models/VGGNet/VGG_ILSVRC_16_layers_fc_reduced.caffemodel "$@"
