#!/bin/sh
# The whole of the project in a few CPU minutes: a synthetic set, a net, training, mAP, a report.
# Runs on what is there: a second run goes on from the newest snapshot.
set -eu
cd "$(dirname "$0")/.."
exec scripts/train.sh --arch root_resnet18 --dataset shapes --recipe mini \
    --job demo --set solver.random_seed=1 --min-map 0.75
