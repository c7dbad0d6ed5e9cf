# make run      the pipeline on its default configuration
# make test     the tests that need nothing but the clone
# Both first do `make install`: the virtual environment, the pinned dependencies, the project.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= 2
# Each job and many a test is a process, and would compile every module afresh.
unexport PYTHONDONTWRITEBYTECODE
# A file's tests run in one process, since they share what its fixtures made; one thread each.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(CORES) --dist loadfile

.PHONY: install run test check bvlc test-slow test-all bench rates proto lock clean

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

run: install
	$(BIN)/snakemake --cores $(CORES)

test: install
	$(PYTEST) -m "not oracle and not slow and not browser"

# What .ci/run checks beside the tests.
check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --lint --configfile config/detection/digits.yaml

# BVLC's own build of Caffe 1.0, from Debian 11's packages; needs root and debootstrap.
bvlc: install
	$(BIN)/python -m caffetools.bvlc build

test-all: install
	$(PYTEST)

# What make test leaves out.
test-slow: install
	$(PYTEST) -m "oracle or slow or browser"

# A training step against BVLC's build and a bare PyTorch loop, in one run.
bench: install
	$(BIN)/python benchmarks/training_step.py

# Each experiment's own best learning rate; after make run.
rates: install
	$(BIN)/python benchmarks/learning_rates.py

proto: install
	cd src/recaffe/proto && ../../../$(BIN)/python -m grpc_tools.protoc \
	  --proto_path=. --descriptor_set_out=caffe.protoset caffe.proto

# Resolve the dependencies afresh. torch is named with its version, since a bare
# "torch" resolves to a CUDA build of several gigabytes on a machine without a GPU.
lock: install
	$(BIN)/pip-compile --quiet --strip-extras --extra dev --no-emit-index-url \
	  --no-emit-find-links --no-header --allow-unsafe \
	  --output-file requirements.lock pyproject.toml requirements.in
	sed -i "s/^\(torch==[0-9.]*\)+cpu/\1/" requirements.lock

clean:
	rm -rf results .snakemake
