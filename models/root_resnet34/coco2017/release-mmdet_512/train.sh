#!/bin/sh
# Train root_resnet34_coco2017_release-mmdet_512, going on from the newest snapshot if there is one.
# Run it from the folder that models/root_resnet34/coco2017/release-mmdet_512 is relative to.
exec "${PYTHON:-python}" -m scratchdet_caffe.train --solver models/root_resnet34/coco2017/release-mmdet_512/solver.prototxt --resume "$@"
