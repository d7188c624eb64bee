#!/usr/bin/env bash
# Build the images without a Docker engine, with buildah, and try them; needs root, buildah,
# debootstrap and about 20 GB. What remains is removed.
#
#   docker/test.sh            target torch, and of target caffe (CPU) all up to the checkout
#   CAFFE_URL=... docker/test.sh   target caffe to its end, from this repository or mirror of it
#
# BASE_IMAGE: an image to build on, instead of one that debootstrap makes. CAFFE_COMMIT: another
# commit. The settings of this machine's pip (an index, a certificate) serve the build.
set -euo pipefail
cd "$(dirname "$0")/.."
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot} STORAGE_DRIVER=${STORAGE_DRIVER:-vfs}
work=$(mktemp -d)
name=scratchdet-test-$$
made=()

clean_up() {
    for container in "${made[@]}"; do buildah rm "$container" >/dev/null 2>&1 || true; done
    buildah images --format '{{.Name}}:{{.Tag}}' | grep "$name" | xargs -r buildah rmi -f >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT

say() { printf '\n== %s\n' "$*"; }

if [ -z "${BASE_IMAGE:-}" ]; then
    say "a base image of Debian 12"
    debootstrap --variant=minbase bookworm "$work/root" >"$work/debootstrap.log" 2>&1 ||
        { tail "$work/debootstrap.log" >&2; exit 1; }
    # As in Debian's own images: what is unpacked here need not survive a power cut.
    echo force-unsafe-io >"$work/root/etc/dpkg/dpkg.cfg.d/unsafe-io"
    container=$(buildah from scratch)
    made+=("$container")
    buildah add --quiet "$container" "$work/root" / >/dev/null
    BASE_IMAGE=localhost/$name-base:1
    buildah commit --quiet --rm "$container" "$BASE_IMAGE" >/dev/null
    rm -rf "$work/root"
fi

# pip's settings as a secret; the files and folders that they name lie elsewhere in the image.
python3 -m pip config list 2>/dev/null |
    python3 docker/pip_settings.py /host "$work/pip.conf" "$work/volumes"
options=(--secret "id=pip,src=$work/pip.conf" --build-arg "BASE_IMAGE=$BASE_IMAGE")
while read -r volume; do options+=(--volume "$volume"); done <"$work/volumes"

build() {
    local target=$1
    shift
    say "target $target"
    buildah build --format docker "${options[@]}" --target "$target" -t "localhost/$name-$target:1" "$@" .
}

# in IMAGE COMMAND...: run it in the image as its user.
within() {
    local container status=0
    container=$(buildah from "localhost/$name-$1:1")
    made+=("$container")
    buildah run "$container" -- "${@:2}" || status=$?
    buildah rm "$container" >/dev/null
    return "$status"
}

build torch
say "the image's own user, its self-test; a short training, stopped as docker does, and gone on with"
[ "$(within torch id -u)" = 10001 ]
within torch selftest.sh torch
# shellcheck disable=SC2016 # for the shell inside
within torch bash -euc '
    job=/runs/root_resnet18/shapes/mini_64
    train=(train.sh --arch root_resnet18 --dataset shapes --recipe mini --max-iter 60
        --set solver.display=5)
    tini -s -- "${train[@]}" &
    until grep -qs "Iteration 10, loss" "$job/train.log"; do sleep 0.2; done
    healthcheck.sh
    kill -TERM $!
    status=0
    wait $! || status=$?
    [ "$status" = 143 ]
    ls "$job"/*.solverstate
    "${train[@]}"
    grep "Resuming from" "$job/train.log"
    ls -l /data/shapes/trainval_lmdb "$job/report.html"
    healthcheck.sh'

if [ -z "${CAFFE_URL:-}" ]; then
    build toolchain
    within toolchain sh -c 'g++ --version | head -1; protoc --version; ls /opt/build'
else
    case $CAFFE_URL in /*) options+=(--volume "$CAFFE_URL:$CAFFE_URL:ro") ;; esac
    build caffe --build-arg "CAFFE_URL=$CAFFE_URL" ${CAFFE_COMMIT:+--build-arg "CAFFE_COMMIT=$CAFFE_COMMIT"}
    within caffe selftest.sh caffe
    say "a short training with SSD-Caffe, and both engines on its net"
    within caffe sh -ec '
        train.sh --engine caffe --arch root_resnet18 --dataset shapes --recipe mini --max-iter 20
        cd /runs/root_resnet18/shapes/mini_64
        python -m scratchdet_caffe.parity train.prototxt ./*_iter_20.caffemodel \
            --engines caffe,torch'
fi
say "the images build and run"
