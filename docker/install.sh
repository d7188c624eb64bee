#!/bin/sh
# install.sh torch | package FOLDER | pycaffe: install into /opt/venv, in the pinned versions.
#
# A pip configuration that is mounted as the secret "pip" is used and does not stay in the image.
set -eu
own=$(cd "$(dirname "$0")" && pwd)
if [ -s /run/secrets/pip.conf ]; then
    export PIP_CONFIG_FILE=/run/secrets/pip.conf
fi

install() {
    /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --root-user-action=ignore --constraint "$own/constraints.txt" "$@"
}

case $1 in
    torch)
        python3 -m venv /opt/venv
        install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch
        ;;
    package)
        # In the environment itself, so that what builds the package is pinned as well.
        install hatchling
        install --no-build-isolation "$2[torch]"
        ;;
    # What SSD-Caffe's Python files import.
    pycaffe) install scikit-image six ;;
    *)
        echo "install.sh: '$1' is none of torch, package, pycaffe" >&2
        exit 2
        ;;
esac
