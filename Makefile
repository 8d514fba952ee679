# The two commands of a fresh machine: `make train` and `make test`. Both set everything up first.
# A machine needs Python 3.11 or newer, g++ and make; the rest comes from PyPI.

PYTHON ?= python3
VENV   ?= .venv
# The CUDA back end: AUTO (if nvcc is found), ON or OFF.
INSIGHT_CUDA ?= AUTO
# Whoever builds with make works on it: warnings are errors.
export INSIGHT_WERROR ?= ON
BIN    := $(VENV)/bin
PIP    := -m pip install --quiet
# What a constraints file names, exactly these files, and nothing beside them.
LOCKED := --require-hashes --no-deps --requirement
# For a CPU, for CUDA: which file this is depends on the machine, so it has no hash.
TORCH  ?= torch==2.13.0
# vLLM wants other versions of some packages, so its tests have an environment of their own.
VLLM   := .venv-vllm
# TRL likewise.
TRL    := .venv-trl
# verl likewise.
VERL   := .venv-verl
# Trinity-RFT likewise.
TRINITY := .venv-trinity
DOCS   := .venv-docs
# What builds wheels, and a place for one to be tried in.
WHEEL  := .venv-wheel
FRESH  := $(WHEEL)/fresh
CONFIG ?= configs/addition.yaml
SOURCES := setup.py CMakeLists.txt $(shell find csrc -type f 2>/dev/null)

FUZZ   ?= 60

# What is attacked with real processes, by existing tests.
ATTACKED := tests/insight_ext/kernel/test_hostile.py tests/insight_ext/data/test_malformed.py \
    tests/lightning_integration/test_kill.py tests/lightning_integration/test_checkpoint.py \
    tests/insight_ext/data/test_yaml_file.py tests/lightning_integration/grpo/test_rewards.py \
    tests/lightning_integration/grpo/test_scorer_pool.py \
    tests/lightning_integration/rollouts/test_http_client.py \
    tests/lightning_integration/rollouts/test_checks.py \
    tests/lightning_integration/demo/test_experiment.py

.PHONY: train demo test lint types tests test-vllm bench-vllm test-trl bench-trl test-verl bench-verl test-trinity test-arm wheel sanitize attack bench evidence docs lock clean FORCE

train: $(VENV)/.built
	$(BIN)/python -m lightning_integration.demo --config $(CONFIG)

# In a minute, without a model: what choosing prompts is, what it saves, what to write.
demo: $(VENV)/.built
	$(BIN)/insight-ext demo

test: lint types tests

lint: $(VENV)/.built
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.built
	$(BIN)/mypy

tests: $(VENV)/.built
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

# Rollouts by the real vLLM, in its build for CPUs.
test-vllm: $(VLLM)/.built
	$(VLLM)/bin/python -m pytest tests/vllm

bench-vllm: $(VLLM)/.built
	$(VLLM)/bin/python -m benchmarks.bench_vllm

# Chosen prompts in the real TRL, on the CPU.
test-trl: $(TRL)/.built
	$(TRL)/bin/python -m pytest tests/trl insight_ext/adapters

bench-trl: $(TRL)/.built
	$(TRL)/bin/python -m benchmarks.bench_trl

# Chosen prompts in the real verl and its Ray, on the CPU.
test-verl: $(VERL)/.built
	$(VERL)/bin/python -m pytest tests/verl

bench-verl: $(VERL)/.built
	$(VERL)/bin/python -m benchmarks.bench_verl

# Chosen prompts in the data path of the real Trinity-RFT.
test-trinity: $(TRINITY)/.built
	$(TRINITY)/bin/python -m pytest tests/trinity

# The CPU kernel for 64-bit Arm, compiled by clang and run by qemu-aarch64 if that is there.
test-arm: $(VENV)/.built
	$(BIN)/python $(PIP) $(LOCKED) constraints-arm.txt
	$(BIN)/python -m pytest tests/csrc/test_arm.py

# The CPU kernel alone, without Python: each sanitizer, with FUZZ seconds of random inputs, and a pool
# past 2^31.
sanitize:
	for kind in address undefined thread; do \
	    tests/csrc/run.sh $$kind brief && tests/csrc/run.sh $$kind fuzz $(FUZZ) || exit 1; done
	tests/csrc/run.sh plain check
	tests/csrc/run.sh plain fuzz $(FUZZ)

# A wheel in dist/ for this Python and this C library or a newer one, from a source archive, as users
# build it; tried where there is neither a compiler nor the sources. Then what a release would hold.
wheel: $(WHEEL)/.built
	rm -rf dist $(FRESH)
	INSIGHT_WERROR=OFF $(WHEEL)/bin/python -m build --no-isolation --outdir dist/built
	PATH=$(abspath $(WHEEL)/bin):$$PATH auditwheel repair --wheel-dir dist dist/built/*.whl
	$(PYTHON) -m venv $(FRESH)
	sed '/--hash/d; s/ *\\$$//' constraints.txt > $(FRESH)/constraints.txt
	$(FRESH)/bin/python $(PIP) --constraint $(FRESH)/constraints.txt dist/*.whl $(TORCH) hypothesis pytest scipy
	tests/wheel.sh $(FRESH)/bin/python
	ls -l dist/*.whl
	$(WHEEL)/bin/cibuildwheel --print-build-identifiers --platform linux --archs x86_64,aarch64

# The documentation as a site, in build/site; a warning is an error.
docs: $(DOCS)/.built
	$(DOCS)/bin/mkdocs build --strict --quiet

# GRPO on a pretrained model: hours on two cores. A finished run is not made again.
evidence: $(VENV)/.evidence
	$(BIN)/python -m benchmarks.evidence --task arithmetic
	$(BIN)/python -m benchmarks.evidence --task sorting

# Hostile input by the thousand, then the tests with real processes, servers and kills.
attack: $(VENV)/.built
	$(BIN)/python -m benchmarks.attack
	$(BIN)/python -m pytest $(ATTACKED)

bench: $(VENV)/.built
	$(BIN)/python -m benchmarks

$(VENV)/.built: pyproject.toml constraints.txt $(VENV)/.cuda $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) $(LOCKED) constraints.txt
	$(BIN)/python $(PIP) $(TORCH)
	$(BIN)/python $(PIP) --no-build-isolation --editable '.[dev]'
	touch $@

$(VENV)/.evidence: $(VENV)/.built constraints-evidence.txt
	$(BIN)/python $(PIP) $(LOCKED) constraints-evidence.txt
	touch $@

$(VLLM)/.built: pyproject.toml constraints-vllm.txt $(SOURCES)
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python $(PIP) $(LOCKED) constraints-vllm.txt
	$(VLLM)/bin/python $(PIP) $(TORCH)
	$(VLLM)/bin/python $(PIP) --no-build-isolation --editable '.[lightning,reasoning-gym]'
	touch $@

$(TRL)/.built: pyproject.toml constraints-trl.txt $(SOURCES)
	test -x $(TRL)/bin/python || $(PYTHON) -m venv $(TRL)
	$(TRL)/bin/python $(PIP) $(LOCKED) constraints-trl.txt
	$(TRL)/bin/python $(PIP) $(TORCH)
	$(TRL)/bin/python $(PIP) --no-build-isolation --editable '.[trl]'
	touch $@

$(VERL)/.built: pyproject.toml constraints-verl.txt $(SOURCES)
	test -x $(VERL)/bin/python || $(PYTHON) -m venv $(VERL)
	$(VERL)/bin/python $(PIP) $(LOCKED) constraints-verl.txt
	$(VERL)/bin/python $(PIP) $(TORCH)
	$(VERL)/bin/python $(PIP) --no-build-isolation --no-deps --editable .
	touch $@

$(TRINITY)/.built: pyproject.toml constraints-trinity.txt $(SOURCES)
	test -x $(TRINITY)/bin/python || $(PYTHON) -m venv $(TRINITY)
	$(TRINITY)/bin/python $(PIP) $(LOCKED) constraints-trinity.txt
	$(TRINITY)/bin/python $(PIP) $(TORCH)
	$(TRINITY)/bin/python $(PIP) --no-build-isolation --editable .
	touch $@

$(DOCS)/.built: constraints-docs.txt
	test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python $(PIP) $(LOCKED) constraints-docs.txt
	touch $@

$(WHEEL)/.built: constraints-wheel.txt
	test -x $(WHEEL)/bin/python || $(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/python $(PIP) $(LOCKED) constraints-wheel.txt
	touch $@

# The hashes of every file of a release, after a version was changed. Needs uv.
lock:
	for file in constraints.txt constraints-vllm.txt constraints-trl.txt constraints-verl.txt \
	    constraints-trinity.txt constraints-docs.txt constraints-evidence.txt constraints-wheel.txt \
	    constraints-arm.txt; do \
	    uv pip compile --quiet --generate-hashes --no-deps --universal --python-version 3.11 \
	        --no-annotate --no-header $$file --output-file $$file || exit 1; done

# The setting of the latest build, rewritten only when it changes.
$(VENV)/.cuda: FORCE
	@mkdir -p $(@D)
	@echo '$(INSIGHT_CUDA)' | cmp -s - $@ || echo '$(INSIGHT_CUDA)' > $@

# What is removed here is built again by the next command.
clean:
	rm -rf build dist *.egg-info insight_ext/*.so $(VENV)/.built $(VLLM)/.built $(TRL)/.built \
	    $(VERL)/.built $(TRINITY)/.built
