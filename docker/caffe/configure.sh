#!/bin/sh
# configure.sh CAFFE_ROOT: write Makefile.config for what this machine has.
#
# CPU_ONLY=1 leaves CUDA out. Else CUDA_ARCHS lists compute capabilities, e.g. "60 70 80 90", and
# CUDA_DIR is where CUDA lies (default /usr/local/cuda). PYTHON is the interpreter that pycaffe is
# for, numpy installed (default python3).
set -eu
root=$1
python=${PYTHON:-python3}
cuda=${CUDA_DIR:-/usr/local/cuda}

ask() { "$python" -c "$1"; }
version=$(ask 'import sys; print("%d.%d" % sys.version_info[:2])')
python_include=$(ask 'import sysconfig; print(sysconfig.get_path("include"))')
numpy_include=$(ask 'import numpy; print(numpy.get_include())')
python_lib=$(ask 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')
boost=boost_python$(echo "$version" | tr -d .)
multiarch=$(gcc -print-multiarch)

{
    echo "# Written by configure.sh."
    if [ "${CPU_ONLY:-0}" = 1 ]; then
        echo "CPU_ONLY := 1"
    else
        echo "USE_CUDNN := 1"
        echo "CUDA_DIR := $cuda"
        printf 'CUDA_ARCH :='
        for arch in ${CUDA_ARCHS:?name the GPU generations, such as \"60 70 80 90\"}; do
            printf ' -gencode arch=compute_%s,code=sm_%s' "$arch" "$arch"
            newest=$arch
        done
        # Newer GPUs compile the intermediate code of the last generation when they start.
        echo " -gencode arch=compute_$newest,code=compute_$newest"
        # CUDA 12's own headers want C++17, and warn of nvcc flags that Caffe does not use.
        echo "NVCCFLAGS := -std=c++17 -Wno-deprecated-gpu-targets"
    fi
    cat <<CONFIG
# OpenCV 4 has the libraries that the Makefile knows from 3 on.
OPENCV_VERSION := 3
BLAS := open
CUSTOM_CXX := g++
CXXFLAGS := -std=c++14 -Wno-deprecated-declarations
WITH_PYTHON_LAYER := 1
PYTHON_LIBRARIES := $boost python$version
PYTHON_INCLUDE := $python_include $numpy_include
PYTHON_LIB := $python_lib
INCLUDE_DIRS := \$(PYTHON_INCLUDE) /usr/include/opencv4 /usr/include/hdf5/serial
LIBRARY_DIRS := \$(PYTHON_LIB) /usr/lib/$multiarch/hdf5/serial
BUILD_DIR := build
DISTRIBUTE_DIR := distribute
Q ?= @
CONFIG
} > "$root/Makefile.config"
