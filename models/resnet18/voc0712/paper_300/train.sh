#!/bin/sh
# Train resnet18_voc0712_paper_300, going on from the newest snapshot if there is one.
# Run it from the folder that models/resnet18/voc0712/paper_300 is relative to.
exec "${PYTHON:-python}" -m scratchdet_caffe.train --solver models/resnet18/voc0712/paper_300/solver.prototxt --resume "$@"
