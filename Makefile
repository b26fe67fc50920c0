# `make demo` and `make test` need Python 3.11+, make, a C compiler and a package index; nothing else.
PYTHON ?= python3
BIN := .venv/bin
# Without an NVIDIA GPU the CPU build of torch is wanted, not gigabytes of CUDA.
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
GPU := $(shell command -v nvidia-smi 2>/dev/null)

.PHONY: install demo test bench lint format clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
ifeq ($(GPU),)
	$(BIN)/python -m pip install --quiet "torch==$(TORCH)+cpu" || \
		{ echo "No CPU build of torch $(TORCH) in your package index: see 'Installing' in README.md"; exit 1; }
endif
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,lint]"
	touch $@

demo: install
	$(BIN)/python launch.py demo

test: install
	$(BIN)/python -m pytest -n 2

bench: install
	$(BIN)/python -m tests.benchmarks

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build *.egg-info
