# Two commands matter: `make demo` and `make test`. Both set up .venv on first use.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY     := .venv/bin/python
STAMP  := .venv/.installed
# Idle OpenMP threads that spin slow every other process on a shared machine.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup demo test test-all test-image lint proto clean
setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[torch,dev]'
	touch $@

demo: setup
	PYTHON=$(PY) scripts/demo.sh

# Two test processes on two cores: each computes with one thread. `test` tries the same examples
# of a property each time, so that what fails is what was changed; `test-all` looks for new ones.
test test-all: export OMP_NUM_THREADS = 1
test: lint
	$(PY) -m pytest -n 2 -m 'not slow' --hypothesis-profile=fixed

test-all: lint
	$(PY) -m pytest -n 2

# Builds the Dockerfile without Docker and tries it: needs root, buildah and debootstrap, takes long.
test-image:
	docker/test.sh

lint: setup
	$(PY) -m ruff check .
	$(PY) -m mypy

# After an edit of caffe.proto: the compiled schema and its types.
PROTO := scratchdet_caffe/caffeproto
proto: setup
	$(PY) -m grpc_tools.protoc -I $(PROTO) --descriptor_set_out=$(PROTO)/caffe.desc \
	  --pyi_out=$(PROTO) caffe.proto

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache
