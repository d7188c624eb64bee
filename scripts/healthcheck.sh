#!/bin/sh
# healthcheck.sh: is the training of this container getting on? Well as long as no training is
# under way, or its log was written to within the last HEALTH_MINUTES (60: a test on a large set,
# without a line, may take as long).
set -eu
note=${TMPDIR:-/tmp}/scratchdet-caffe.training
[ -f "$note" ] || exit 0
log=$(cat "$note")
[ -f "$log" ] || log=$note # just begun
if [ -z "$(find "$log" -mmin "-${HEALTH_MINUTES:-60}")" ]; then
    echo "healthcheck.sh: nothing was written to $log for ${HEALTH_MINUTES:-60} minutes" >&2
    exit 1
fi
