# `make quickstart` and `make test` make .venv themselves; `make help` lists the rest.
# PYTHON=python3.12 chooses the interpreter (3.11 or newer), V=1 shows what pip does.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check $(if $(V),,-qq)
# The exact version: an open range can make an index send gigabytes of CUDA libraries.
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help install quickstart test lint format constraints clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## make .venv with the package and the tools for working on it

quickstart: $(STAMP) ## fetch the default judge, sweep 40 prompts in minutes, compare seed and winner
	@$(BIN)/promptopt models pull smollm2-135m
	@$(BIN)/promptopt sweep experiment=quickstart

test: lint ## lint, then every test, those that load the default judge included
	$(BIN)/python -m pytest -q --durations=10

lint: $(STAMP) ## style, types, directions of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## put the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: $(STAMP) ## upgrade everything but torch, and pin what was found in constraints.txt
	$(PIP) install --upgrade --upgrade-strategy eager '$(TORCH)' --editable . --group dev
	@$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/freeze.txt
	@if grep -n '@' $(VENV)/freeze.txt; then echo 'these come from a file or an address and cannot be pinned' >&2; exit 1; fi
	@# torch itself pins the CUDA libraries that some of its builds need.
	@{ grep '^#' constraints.txt; sed -e '/^nvidia-/d' -e '/^cuda-/d' -e '/^triton=/d' -e 's/+[^+]*$$//' $(VENV)/freeze.txt; } \
		> $(VENV)/constraints.txt
	@mv $(VENV)/constraints.txt constraints.txt
	@touch $(STAMP)

clean: ## remove caches and build output; runs/ and .venv stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "[1/3] a current pip"
	@$(PIP) install --upgrade 'pip>=25.1'
	@echo "[2/3] $(TORCH), the largest download"
	@$(PIP) install '$(TORCH)'
	@echo "[3/3] promptopt and everything else it needs"
	@$(PIP) install --constraint constraints.txt --editable . --group dev
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "promptopt needs Python 3.11 or newer; name one with PYTHON=..." >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
