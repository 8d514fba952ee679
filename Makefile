# The two commands of a fresh machine: `make train` and `make test`. Both set everything up first.
# A machine needs Python 3.11 or newer, g++ and make; the rest comes from PyPI.

PYTHON ?= python3
VENV   ?= .venv
# The CUDA back end: AUTO (if nvcc is found), ON or OFF.
INSIGHT_CUDA ?= AUTO
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --constraint constraints.txt
CONFIG ?= configs/addition.yaml
SOURCES := setup.py CMakeLists.txt $(shell find csrc -type f 2>/dev/null)

FUZZ   ?= 60

.PHONY: train test lint types tests sanitize bench clean FORCE

train: $(VENV)/.built
	$(BIN)/python -m lightning_integration.experiment --config $(CONFIG)

test: lint types tests

lint: $(VENV)/.built
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.built
	$(BIN)/mypy

tests: $(VENV)/.built
	$(BIN)/python -m pytest

# The CPU kernel alone, without Python: each sanitizer, a pool past 2^31, FUZZ seconds of random inputs.
sanitize:
	for kind in address undefined thread; do tests/csrc/run.sh $$kind brief || exit 1; done
	tests/csrc/run.sh plain check
	tests/csrc/run.sh plain fuzz $(FUZZ)

bench: $(VENV)/.built
	$(BIN)/python -m benchmarks

$(VENV)/.built: pyproject.toml constraints.txt $(VENV)/.cuda $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) setuptools pybind11 cmake ninja
	$(PIP) --no-build-isolation --editable '.[dev]'
	touch $@

# The setting of the latest build, rewritten only when it changes.
$(VENV)/.cuda: FORCE
	@mkdir -p $(@D)
	@echo '$(INSIGHT_CUDA)' | cmp -s - $@ || echo '$(INSIGHT_CUDA)' > $@

# What is removed here is built again by the next command.
clean:
	rm -rf build dist *.egg-info insight_ext/*.so $(VENV)/.built
