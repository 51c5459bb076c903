# The commands of contributors and operators. `make` alone lists them.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that is new enough. PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
READY := $(VENV)/.ready
# Further options of pytest: `make test PYTEST_OPTIONS="-k rules"`.
PYTEST_OPTIONS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo up test lint bench tour vendor lock clean

help: ## list these commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create the environment in .venv/ (every other command does so if needed)

demo: setup ## start the platform and run its whole flow on real data; Ctrl-C stops it
	@$(BIN)/energy demo

up: setup ## run the platform in the foreground; Ctrl-C stops it
	@$(BIN)/energy up

test: setup lint ## lint, type check and test; REQUIRE_SERVERS=1 adds the slow tests
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

lint: setup ## run ruff and mypy only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: setup ## measure speed against baselines, and the models on real data (a quarter of an hour)
	@$(BIN)/python -m benchmarks

tour: setup ## take pictures of the demo's pages and report into .tour/, to be looked at
	@$(BIN)/python -m tests.support.tour .tour

vendor: setup ## fetch the pages' browser libraries and the reports' fonts as their manifests name them
	@$(BIN)/python -m tests.support.vendor

lock: setup ## pin the newest version of every dependency in requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --extra dev pyproject.toml -o requirements.txt
	@echo uv | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header -c requirements.txt - -o requirements-setup.txt

clean: ## remove the environment; the data in .energy/ stay
	rm -rf $(VENV)

$(READY): pyproject.toml requirements.txt requirements-setup.txt
	@test -n "$(PYTHON)" || { echo "setup: Python 3.11 or newer was not found; install it, or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "setup: $(PYTHON) has no venv module; install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "setup: creating $(VENV)/ with $(PYTHON) (about a minute, once)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-setup.txt
	@UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)
