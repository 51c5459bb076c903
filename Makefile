# Everything a contributor or an operator types. `make` alone prints the list.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that is new enough; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo up test lint bench lock clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment in .venv/ (the others do it by themselves)

demo: setup ## start the platform and run its whole flow on real data, until Ctrl-C
	@$(BIN)/energy demo

up: setup ## run the platform in the foreground
	@$(BIN)/energy up

test: setup lint ## lint, type check and test
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: setup ## ruff and mypy only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: setup ## measure speed against named baselines (a quarter of an hour)
	@$(BIN)/python -m benchmarks

lock: setup ## pin the newest versions of everything in requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --extra dev pyproject.toml -o requirements.txt
	@echo uv | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header -c requirements.txt - -o requirements-setup.txt

clean: ## remove the environment; data in .energy/ stays
	rm -rf $(VENV)

$(READY): pyproject.toml requirements.txt requirements-setup.txt
	@test -n "$(PYTHON)" || { echo "setup: Python 3.11 or newer is missing; install it, or name one: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "setup: $(PYTHON) has no venv module; install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "setup: making $(VENV)/ with $(PYTHON) (about a minute, once)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-setup.txt
	@UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)
