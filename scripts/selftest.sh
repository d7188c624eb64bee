#!/bin/sh
# selftest.sh torch|caffe: does this engine work here? Which one it is, a net of SSD's layers, two
# solver steps on pictures, a snapshot, its score. Leaves nothing behind.
set -eu
engine=${1:-torch}
python=${PYTHON:-python}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"$python" -c "
from scratchdet_caffe.engines import describe, load_engine
print('selftest:', describe(load_engine('$engine')))"
"$python" -m scratchdet_caffe.prepare shapes --out data/shapes --train 8 --test 4 --size 48 >log
"$python" -m scratchdet_caffe.gen --arch root_resnet18 --dataset data/shapes --recipe mini \
    --size 48 --batch 4 --job selftest --out runs --set backbone.width=0.0625 \
    --set solver.max_iter=2 --set solver.snapshot=2 --set solver.display=1 \
    --set solver.test_interval=2 --set solver.random_seed=1 >>log
job=runs/root_resnet18/shapes/selftest
if ! "$python" -m scratchdet_caffe.train --engine "$engine" --solver "$job/solver.prototxt" 2>>log
then
    cat log >&2
    echo "selftest: FAILED: two solver steps with engine '$engine'" >&2
    exit 1
fi
"$python" -m scratchdet_caffe.evaluate "$job" --engine "$engine" >>log
grep -E '(Iteration 1, loss|detection_eval) = ' "$job/train.log" | sed 's/.*\] */selftest: /'
echo "selftest: passed with engine '$engine'"
