#!/usr/bin/env bash
# From the name of a net and of a data set to a scored and reported detector: prepares the data,
# renders the net, trains it, scores it, writes the report. The same command again goes on where it
# was; SIGINT and SIGTERM (docker stop) write a snapshot first.
set -euo pipefail
own=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python
    [ ! -x "$own/.venv/bin/python" ] || PYTHON=$own/.venv/bin/python
fi

usage() {
    cat <<'USAGE'
usage: train.sh --arch A --dataset D [options] [options of gen]

  --arch A        backbone, e.g. root_resnet34
  --dataset D     shapes (made here), voc0712 or coco (from DATA/VOCdevkit and DATA/coco), or
                  what `prepare` has made: NAME in DATA, or a folder with a slash in its name
  --recipe R      release-caffe unless given; mini is small enough for a CPU
  --engine E      torch (default) or caffe, an installed SSD-Caffe
  --gpus G        all (default), none, or numbers: 0,1
  --processes N   on a CPU: train in N processes (torch)
  --data DIR      folder of data sets (default: $DATA, or data)
  --runs DIR      folder of runs (default: $RUNS, or runs)
  --weights F     start from these .caffemodel files, if there is no snapshot yet
  --min-map X     exit with 1 if the 11-point mAP is lower

All other options go to gen: --size, --batch, --max-iter, --job, --set solver.base_lr=0.01, ...

example:
  scripts/train.sh --arch root_resnet18 --dataset shapes --recipe mini
USAGE
}

fail() {
    echo "train.sh: error: $1" >&2
    exit 2
}

data=${DATA:-data} runs=${RUNS:-runs}
engine=torch gpus=all processes=1 dataset='' weights=''
gen=() evaluate=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --*=*)
            set -- "${1%%=*}" "${1#*=}" "${@:2}"
            continue
            ;;
    esac
    case $1 in
        --engine | --gpus | --processes | --data | --runs | --dataset | --weights | --min-map)
            [ $# -ge 2 ] || fail "$1 needs a value"
            ;;
    esac
    case $1 in
        --engine) engine=$2 ;;
        --gpus) gpus=$2 ;;
        --processes) processes=$2 ;;
        --data) data=$2 ;;
        --runs) runs=$2 ;;
        --dataset) dataset=$2 ;;
        --weights) weights=$2 ;;
        --min-map) evaluate+=(--min-map "$2") ;;
        *)
            gen+=("$1")
            shift
            continue
            ;;
    esac
    shift 2
done
[ -n "$dataset" ] || fail "which data? give --dataset, see --help"
case $engine in torch | caffe) ;; *) fail "--engine '$engine' is neither torch nor caffe" ;; esac
case $processes in '' | *[!0-9]* | 0) fail "--processes '$processes' is no number from 1 on" ;; esac

# A job of its own, so that signals reach it from here alone, once, and when it is ready for them.
set -m
child='' translated='' signalled='' stopped=''
forward() {
    signalled=$1
    [ "$1" = HUP ] || stopped=$1
    [ -z "$child" ] || kill -s "${translated:-$1}" "$child" 2>/dev/null || true
}
trap 'forward INT' INT
trap 'forward TERM' TERM
trap 'forward HUP' HUP

# run COMMAND...: wait for it, whatever signals come; end as it ends, unless that is well.
run() {
    local status=0 again
    "$@" &
    child=$!
    wait "$child" || status=$?
    # A signal ends the wait, not the child: wait for what that makes of it.
    while [ -n "$signalled" ]; do
        signalled='' again=0
        wait "$child" 2>/dev/null || again=$?
        [ "$again" -eq 127 ] || status=$again
    done
    child=''
    [ "$status" -eq 0 ] || exit "$status"
    [ -z "$stopped" ] || exit $((128 + $(kill -l "$stopped")))
}

module() {
    local name=$1
    shift
    run "$PYTHON" -m "scratchdet_caffe.$name" "$@"
}

"$PYTHON" -c 'import scratchdet_caffe' 2>/dev/null ||
    fail "'$PYTHON' has no scratchdet_caffe: run \`make setup\` in $own, or set PYTHON"

# ---- data ----
prepared() { [ -f "$1/test_name_size.txt" ] && [ -f "$1/labelmap.prototxt" ]; }

case $dataset in
    */*) folder=$dataset ;;
    *) folder=$data/$dataset ;;
esac
if [ "$dataset" = shapes ]; then
    prepared "$folder" || module prepare shapes --out "$folder"
elif [ "$dataset" = voc0712 ] && [ -d "$data/VOCdevkit" ]; then
    prepared "$folder" || module prepare voc --root "$data/VOCdevkit" --split 07+12 --out "$folder"
elif [ "$dataset" = coco ] && [ -d "$data/coco/annotations" ]; then
    folder=$data/coco_lmdb
    prepared "$folder" || module prepare coco --root "$data/coco" --split 2017 --out "$folder"
fi
if ! prepared "$folder"; then
    case $dataset in
        voc0712) fail "there is neither $folder, as \`prepare voc\` makes it, nor $data/VOCdevkit" ;;
        coco) fail "there is neither $folder, as \`prepare coco\` makes it, nor $data/coco/annotations" ;;
        *) fail "$folder holds no data set: make it with \`$PYTHON -m scratchdet_caffe.prepare\`" ;;
    esac
fi

# ---- net ----
# The last line of gen says where; a mistake in it ends here.
said=$(mktemp)
trap 'rm -f "$said"' EXIT
module gen --dataset "$folder" --out "$runs" "${gen[@]}" >"$said"
cat "$said"
job=$(sed -n 's/^wrote \(.*\); train with its train\.sh$/\1/p' "$said")
[ -n "$job" ] || fail "gen did not say where it wrote the job"
solver=$job/solver.prototxt

# ---- training ----
case $gpus in
    all) gpus=$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null | paste -sd, - || true) ;;
    none) gpus='' ;;
    *[!0-9,]*) fail "--gpus '$gpus' is none of all, none, 0,1" ;;
esac
device=cpu
if [ -n "$gpus" ]; then
    device=cuda
    list=${gpus//[!,]/}
    processes=$((${#list} + 1))
fi
start=(--resume)
if [ -n "$weights" ] && ! compgen -G "$job/*_iter_*.solverstate*" >/dev/null; then
    start=(--weights "$weights")
fi

# Where the health check looks.
echo "$PWD/$job/train.log" >"${TMPDIR:-/tmp}/scratchdet-caffe.training" || true

many_caffes() {
    local state
    state=$("$PYTHON" -m scratchdet_caffe.engines.ready "$solver")
    if [ -n "$state" ]; then
        start=(-snapshot "$state")
    elif [ -n "$weights" ]; then
        start=(-weights "$weights")
    else
        start=()
    fi
    exec "${CAFFE:-caffe}" train -solver "$solver" -gpu "$gpus" "${start[@]}" \
        > >(exec tee -a "$job/train.log") 2>&1
}

train=(-m scratchdet_caffe.train --solver "$solver" --engine "$engine" --device "$device" "${start[@]}")
if [ "$processes" -eq 1 ]; then
    [ -z "$gpus" ] || export CUDA_VISIBLE_DEVICES=$gpus
    run "$PYTHON" "${train[@]}"
elif [ "$engine" = torch ]; then
    [ -z "$gpus" ] || export CUDA_VISIBLE_DEVICES=$gpus
    run "$PYTHON" -m torch.distributed.run --standalone --nproc-per-node "$processes" "${train[@]}"
elif [ -z "$gpus" ]; then
    fail "SSD-Caffe trains in several processes on GPUs alone: leave out --processes"
else
    # SSD-Caffe takes no notice of SIGTERM; SIGINT makes it write a snapshot and stop.
    translated=INT
    run many_caffes
    translated=''
fi
rm -f "${TMPDIR:-/tmp}/scratchdet-caffe.training"

# ---- score and report ----
module evaluate "$job" --engine "$engine" --device "$device" "${evaluate[@]}"
module report "$job"
