#!/bin/sh
# Train vgg16_voc0712_paper_300_bn-both, going on from the newest snapshot if there is one.
# Run it from the folder that models/vgg16/voc0712/paper_300_bn-both is relative to.
exec "${PYTHON:-python}" -m scratchdet_caffe.train --solver models/vgg16/voc0712/paper_300_bn-both/solver.prototxt --resume "$@"
