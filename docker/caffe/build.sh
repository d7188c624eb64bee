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
"${PYTHON:-python3}" "$own/python_proto.py" \
    "$source/src/caffe/proto/caffe.proto" "$target/python/caffe/proto/caffe_pb2.py"
cp "$source/LICENSE" "$target/"
strip --strip-unneeded "$target"/build/lib/libcaffe.so.* "$target"/build/tools/*

# Libraries that these files name -> the packages that hold them. What has no package of the
# distribution's (CUDA, the driver) comes with the base image.
files() { find "$target" -type f \( -name '*.so*' -o -path '*/build/tools/*' \) -exec "$@" {} +; }
needed=$(files readelf --dynamic | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u)
files ldd | awk '$2 == "=>" && $3 ~ "^/" { print $1, $3 }' | sort -u |
    while read -r soname library; do
        echo "$needed" | grep -qxF "$soname" || continue
        # dpkg may know the one name and ldd say the other, of a link or since /usr was merged.
        dpkg -S "$(readlink -f "$library")" "$library" 2>/dev/null | cut -d: -f1
    done | sort -u | grep -vE '^(cuda|libcu(blas|dnn|rand)|libnccl|libc6$)' >"$target/packages.txt"
test -s "$target/packages.txt"
