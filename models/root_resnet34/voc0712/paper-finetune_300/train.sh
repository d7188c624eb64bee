#!/bin/sh
# Train root_resnet34_voc0712_paper-finetune_300, going on from the newest snapshot if there is one.
# Run it from the folder that models/root_resnet34/voc0712/paper-finetune_300 is relative to.
exec "${PYTHON:-python}" -m scratchdet_caffe.train --solver models/root_resnet34/voc0712/paper-finetune_300/solver.prototxt --resume --weights models/root_resnet34/coco/paper_300/coco_to_voc.caffemodel "$@"
