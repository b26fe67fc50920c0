# `make demo` and `make test` need Python 3.11+, make, a C compiler and a package index; nothing else.
PYTHON ?= python3
BIN := .venv/bin
# Without an NVIDIA GPU the CPU build of torch is wanted, not gigabytes of CUDA.
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
GPU := $(shell command -v nvidia-smi 2>/dev/null)

.PHONY: install demo test peers bench docs lint format clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
ifeq ($(GPU),)
	$(BIN)/python -m pip install --quiet "torch==$(TORCH)+cpu" || \
		{ echo "No CPU build of torch $(TORCH) in your package index: see 'Installing' in README.md"; exit 1; }
endif
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,lint]"
	$(BIN)/python -m workers.kernels
	touch $@

demo: install
	$(BIN)/python launch.py demo

test: install
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# Senders and readers that other people wrote, each with its packages in an environment of its own.
PEERS := $(patsubst tests/peers/requirements/%.txt,.peers/%/installed,$(wildcard tests/peers/requirements/*.txt))

peers: install $(PEERS)
	$(BIN)/python -m pytest tests/peers

.peers/%/installed: tests/peers/requirements/%.txt
	rm -rf .peers/$*
	$(PYTHON) -m venv .peers/$*
	grep -v '^--no-deps$$' $< | .peers/$*/bin/python -m pip install --quiet \
		--disable-pip-version-check $$(grep '^--no-deps$$' $<) -r /dev/stdin
	touch $@

bench: install
	$(BIN)/python -m tests.benchmarks

# The pages in docs/reference are made from the code.
docs: install
	$(BIN)/python docs/make_reference.py --write docs/reference

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .peers build *.egg-info
