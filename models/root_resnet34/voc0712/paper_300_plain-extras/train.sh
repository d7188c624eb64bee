#!/bin/sh
# Train root_resnet34_voc0712_paper_300_plain-extras, going on from the newest snapshot if there is one.
# Run it from the folder that models/root_resnet34/voc0712/paper_300_plain-extras is relative to.
exec "${PYTHON:-python}" -m scratchdet_caffe.train --solver models/root_resnet34/voc0712/paper_300_plain-extras/solver.prototxt --resume "$@"
