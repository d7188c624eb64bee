#!/bin/sh
# build.sh SOURCE TARGET: compile the edited SSD-Caffe in SOURCE and lay what runs into TARGET:
# build/lib, build/tools, python, and packages.txt, the distribution's packages that these need.
set -eu
source=$1 target=$2
own=$(cd "$(dirname "$0")" && pwd)

"$own/configure.sh" "$source"
make -C "$source" -j"$(nproc)" lib tools pycaffe

mkdir -p "$target/build/lib" "$target/build/tools"
cp -P "$source"/build/lib/libcaffe.so* "$target/build/lib/"
for tool in "$source"/build/tools/*.bin; do
    cp "$tool" "$target/build/tools/$(basename "$tool" .bin)"
done
cp -r "$source/python" "$target/python"
cp "$source/LICENSE" "$target/"
strip --strip-unneeded "$target"/build/lib/libcaffe.so.* "$target"/build/tools/*

# Libraries by file -> packages by name; what lies outside the distribution's packages (CUDA in
# NVIDIA's images has packages, the drivers' libcuda has none) comes with the base image.
find "$target" -type f \( -name '*.so*' -o -path '*/build/tools/*' \) -exec ldd {} + |
    sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | sort -u | while read -r library; do
    # dpkg knows /usr/lib/x, ldd may say /lib/x: the same file since /usr was merged.
    real=$(readlink -f "$library")
    dpkg -S "$real" "$library" 2>/dev/null | cut -d: -f1
done | sort -u | grep -vE '^(cuda|lib(cudnn|cublas|curand|nccl)|libc6$)' >"$target/packages.txt"
test -s "$target/packages.txt"
