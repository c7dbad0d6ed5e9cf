# make install  the virtual environment, with the pinned dependencies and the project
# make run      the pipeline on its default configuration
# make test     the tests that need nothing but the clone
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= 2

.PHONY: install run test check lint proto lock oracle test-all bench clean

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

run: install
	$(BIN)/snakemake --cores $(CORES)

test: install
	$(BIN)/pytest -m "not oracle and not slow"

# What .ci/run checks beside the tests.
check: install lint
	$(BIN)/mypy
	$(BIN)/lint-imports

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

test-all: install
	$(BIN)/pytest

# BVLC's own build of Caffe 1.0, from Debian 11's packages; needs root and debootstrap.
oracle: install
	$(BIN)/python tests/bvlc.py build

bench: install
	$(BIN)/python benchmarks/training_step.py

proto: install
	cd src/recaffe/proto && ../../../$(BIN)/python -m grpc_tools.protoc \
	  --proto_path=. --descriptor_set_out=caffe.protoset caffe.proto

# Resolve the dependencies afresh. torch is named with its version, since a bare
# "torch" resolves to a CUDA build of several gigabytes on a machine without a GPU.
lock:
	$(BIN)/pip-compile --quiet --strip-extras --extra dev --no-emit-index-url \
	  --no-emit-find-links --no-header --allow-unsafe \
	  --output-file requirements.lock pyproject.toml requirements.in
	sed -i "s/^\\(torch==[0-9.]*\\)+cpu/\\1/" requirements.lock

clean:
	rm -rf results .snakemake
