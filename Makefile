# Everything runs from .venv, which each target makes or completes by itself; nothing has to be activated.
# A stamp in .venv says which set of packages is installed, and is renewed when its inputs change.

VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
INPUTS := pyproject.toml constraints.txt watcherd/__init__.py

# The first interpreter that is new enough; PYTHON=... on the command line chooses another.
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$candidate && break; done)

MODELS ?= pim_models
WORKERS ?= 2
BENCH  ?= [!_]*
ARGS   ?=
# How many processes run the tests; many of those wait for other processes. ARGS="-n 0" is one, for a debugger.
JOBS   ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test test-slow test-workers check format bench screenshots setup clean

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run-stamp ## serve pim_models on http://127.0.0.1:8000 (MODELS=directory ARGS="--port 9000" for others)
	$(BIN)/watcherd serve --models $(MODELS) $(ARGS)

test: $(VENV)/.test-stamp ## every test but the slow ones (ARGS="tests/unit -k name" for fewer)
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(JOBS) --dist loadfile $(ARGS)

test-slow: $(VENV)/.test-stamp ## the slow tests
	$(BIN)/python -m pytest -m slow $(ARGS)

test-workers: $(VENV)/.test-stamp ## the tests of real processes, each daemon with two workers (WORKERS=4 for more)
	TEST_WORKERS=$(WORKERS) $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile tests/e2e $(ARGS)

check: $(VENV)/.check-stamp ## ruff, mypy, the layers, the sample models, the list of scenarios
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/watcherd check pim_models
	$(BIN)/python tests/scenarios.py --check

format: $(VENV)/.check-stamp ## bring the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench-stamp ## measure what benchmarks/ measures, on this machine (BENCH=throughput ARGS="--rounds 3" for less)
	@set -e; for script in benchmarks/$(BENCH).py; do \
		test -e "$$script" || { echo "benchmarks/ has no script."; exit 0; }; \
		echo "== $$script"; $(BIN)/python "$$script" $(ARGS); done

screenshots: $(VENV)/.test-stamp ## take the pictures of the dashboard, with a Chromium that is installed
	$(BIN)/python tests/e2e/screenshots.py

setup: $(VENV)/.run-stamp $(VENV)/.test-stamp $(VENV)/.check-stamp ## install everything at once

clean: ## remove .venv and what the tools have left behind; stored data (.watcherd) stays
	rm -rf $(VENV) build dist .coverage htmlcov .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find watcherd tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.run-stamp: $(VENV)/.made $(INPUTS)
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test-stamp: $(VENV)/.made $(INPUTS)
	$(PIP) install --constraint constraints.txt --editable ".[test]"
	@touch $@

$(VENV)/.bench-stamp: $(VENV)/.made $(INPUTS)
	$(PIP) install --constraint constraints.txt --editable ".[test,bench]"
	@touch $@

$(VENV)/.check-stamp: $(VENV)/.made $(INPUTS)
	$(PIP) install --constraint constraints.txt --editable ".[check]"
	@touch $@

# An interrupted `venv` leaves a .venv without pip: the stamp is what counts, not the directory.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { \
		echo "watcherd needs Python 3.11 or newer, and found: $$(python3 --version 2>&1 || echo none)." >&2; \
		echo "Install one (Debian 12, Ubuntu 24.04 or newer: apt install python3 python3-venv)," >&2; \
		echo "or name one: make $(firstword $(MAKECMDGOALS)) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments: its venv module is missing or incomplete." >&2; \
		echo "Install it (Debian, Ubuntu: apt install python3-venv), then run make again." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
