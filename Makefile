# make build: set everything up, then the shipped checkpoint to a bitstream.   make test: the same set-up and FINN, then all tests.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= build/lerp_psa_h96
CHECKPOINT ?= checkpoints/lerp_psa_h96.pt
CONFIG ?= ecp5_85f

.PHONY: build test setup finn lint resources sanitize clean

build: setup
	$(BIN)/psaflow build $(CHECKPOINT) --config $(CONFIG) --out $(OUT)
	@sed -n 1,16p $(OUT)/report.md

test: setup finn
	$(BIN)/python -m pytest

setup: $(VENV)/.installed
	@scripts/system_packages

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13) and "psaflow needs Python 3.11 or 3.12; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e '.[dev]'
	# Without its dependencies: torchvision pins another torch build.
	$(BIN)/python -m pip install -q --no-deps torchvision==0.28.0
	touch $@

# FINN as an extra, for `psaflow finn`: finn-plus (`finn` on PyPI is an empty placeholder). Without its dependencies, as it pins older
# brevitas, onnx and onnxruntime; scipy, at the version that finn-plus 1.6.1 asks for, and rich are what it imports and we do not have.
finn: setup $(VENV)/.finn

$(VENV)/.finn: $(VENV)/.installed
	$(BIN)/python -m pip install -q --no-deps finn-plus==1.6.1 scipy==1.17.1
	$(BIN)/python -m pip install -q "rich>=13.9.4,<14"
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

# Counts what yosys makes of every module and stores it; tests/accel/test_resources.py fails when one grows.
resources: setup
	$(BIN)/python -m tests.accel.resources

# The kernels' tests with a library that stops at the first bad address, overflow or misaligned access (-s: and says where).
sanitize: setup
	PSAFLOW_SANITIZE=1 LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0 $(BIN)/python -m pytest -s tests/ops

clean:
	rm -rf build
