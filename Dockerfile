# Two images: `torch`, this package with its embedded engine, and `caffe`, the same with SSD-Caffe
# built from source beside it. docs/docker.md says how to build and run them.
#
#   docker build --target torch -t scratchdet .
#   docker build --target caffe -t scratchdet-caffe .                        # CPU
#   docker build --target caffe -t scratchdet-caffe --build-arg CPU_ONLY=0 \
#     --build-arg BASE_IMAGE=nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04 \
#     --build-arg BUILD_IMAGE=nvidia/cuda:12.6.3-cudnn-devel-ubuntu24.04 .   # CUDA
#
# Every stage stands on those before it, so that a builder that builds all of them up to its target
# builds nothing in vain.

ARG BASE_IMAGE=debian:bookworm-20250520-slim
ARG BUILD_IMAGE=${BASE_IMAGE}

# ---- base: Python, a user without rights, the two volumes ----
FROM ${BASE_IMAGE} AS base
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --user-group scratchdet \
    && mkdir -p /data /runs \
    && chown scratchdet:scratchdet /data /runs
ENV PATH=/opt/venv/bin:/opt/scratchdet/scripts:${PATH} \
    PYTHON=/opt/venv/bin/python \
    MPLCONFIGDIR=/tmp/matplotlib \
    OMP_WAIT_POLICY=PASSIVE \
    DATA=/data \
    RUNS=/runs

# ---- python: what PyPI has, the exact versions of constraints.txt ----
# TORCH_INDEX is another index for torch alone: its CPU build, or that of another CUDA.
FROM base AS python
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY docker/constraints.txt docker/install.sh /tmp/install/
ARG TORCH_INDEX=
RUN --mount=type=secret,id=pip,target=/run/secrets/pip.conf \
    /tmp/install/install.sh torch
WORKDIR /tmp/package
COPY pyproject.toml README.md LICENSE CITATION.cff ./
COPY templates templates
COPY scratchdet_caffe scratchdet_caffe
RUN --mount=type=secret,id=pip,target=/run/secrets/pip.conf \
    /tmp/install/install.sh package /tmp/package

# ---- torch: the slim image ----
FROM base AS torch
LABEL org.opencontainers.image.title="scratchdet-caffe" \
      org.opencontainers.image.description="Single-shot detectors from scratch on Caffe's file formats: the embedded engine" \
      org.opencontainers.image.licenses="BSD-2-Clause"
COPY --from=python /opt/venv /opt/venv
COPY scripts /opt/scratchdet/scripts
RUN selftest.sh torch
USER 10001:10001
WORKDIR /runs
VOLUME ["/data", "/runs"]
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s --retries=3 CMD ["healthcheck.sh"]
ENTRYPOINT ["tini", "--"]
CMD ["train.sh", "--help"]

# ---- toolchain: what SSD-Caffe is compiled with ----
FROM ${BUILD_IMAGE} AS toolchain
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        build-essential ca-certificates git python3-dev python3-venv \
        libboost-filesystem-dev libboost-python-dev libboost-regex-dev libboost-system-dev \
        libboost-thread-dev libgflags-dev libgoogle-glog-dev libhdf5-dev libleveldb-dev \
        liblmdb-dev libopenblas-dev libopencv-dev libprotobuf-dev libsnappy-dev \
        protobuf-compiler \
    && rm -rf /var/lib/apt/lists/*
# numpy's headers, of the version that the image runs with.
COPY --from=python /opt/venv /opt/venv
COPY docker/caffe /opt/build

# ---- caffe-build: the pinned source, our few edits, the library ----
FROM toolchain AS caffe-build
# RefineDet's fork, for nets with ARM and ODM: CAFFE_URL=https://github.com/sfzhang15/RefineDet
# CAFFE_COMMIT=52b6fe23dc1a160fe710b7734576dca509bf4fae. Any mirror that git reads will do.
ARG CAFFE_URL=https://github.com/weiliu89/caffe
ARG CAFFE_COMMIT=4817bf8b4200b35ada8ed0dc378dceaf38c539e4
RUN /opt/build/fetch.sh "${CAFFE_URL}" "${CAFFE_COMMIT}" /opt/source \
    && /opt/build/edit.py /opt/source
# Compute capabilities from Pascal (60) to Hopper (90); CUDA 13 knows none before Turing (75).
ARG CPU_ONLY=1
ARG CUDA_ARCHS="60 61 70 75 80 86 89 90"
RUN PYTHON=/opt/venv/bin/python /opt/build/build.sh /opt/source /opt/caffe

# ---- caffe: both engines ----
FROM torch AS caffe
ARG DEBIAN_FRONTEND=noninteractive
LABEL org.opencontainers.image.description="Single-shot detectors from scratch on Caffe's file formats: SSD-Caffe and the embedded engine"
USER 0
COPY --from=caffe-build /opt/caffe /opt/caffe
COPY docker/constraints.txt docker/install.sh /tmp/install/
RUN apt-get update \
    && xargs -a /opt/caffe/packages.txt apt-get install -y --no-install-recommends \
    && rm -rf /var/lib/apt/lists/*
# glog 0.6 puts the year into its lines unless told not to; tools that read Caffe's logs want none.
ENV PATH=/opt/caffe/build/tools:${PATH} \
    PYTHONPATH=/opt/caffe/python \
    GLOG_log_year_in_prefix=0
RUN --mount=type=secret,id=pip,target=/run/secrets/pip.conf \
    /tmp/install/install.sh pycaffe \
    && rm -r /tmp/install \
    && selftest.sh caffe
USER 10001:10001
