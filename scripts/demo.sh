#!/bin/sh
# The whole of the project in a few CPU minutes: a synthetic set, a net, training, mAP, a report.
# Runs on what is there: a second run goes on from the newest snapshot.
set -eu
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python}"
job=runs/root_resnet18/shapes/demo

[ -f data/shapes/labelmap.prototxt ] || "$PYTHON" -m scratchdet_caffe.prepare shapes --out data/shapes
"$PYTHON" -m scratchdet_caffe.gen --arch root_resnet18 --dataset data/shapes --recipe mini \
    --job demo --out runs --set solver.random_seed=1
"$PYTHON" -m scratchdet_caffe.train --solver "$job/solver.prototxt" --resume
"$PYTHON" -m scratchdet_caffe.evaluate "$job" --min-map 0.75
"$PYTHON" -m scratchdet_caffe.report "$job"
