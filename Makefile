# The one task runner. Every target sets up what it needs in .venv; nothing has to be installed by hand.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEV = $(VENV)/.dev-installed
RUN = $(VENV)/.run-installed
DOCS = $(VENV)/.docs-installed

.PHONY: demo test nightly lint docs bench gpu study clean help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUN): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[all]'
	@touch $@

$(DEV): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[dev]'
	@touch $@

$(DOCS): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[docs]'
	@touch $@

demo: $(RUN)  ## the main job on bundled SPC/E water: fit, simulate, g(r) with error bars, exports, report
	$(BIN)/bayescg demo --output demo

test: $(DEV)  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --durations 20

nightly: $(DEV)  ## all tests on other instruction sets, threads and seeds: takes hours
	tests/nightly.sh

lint: $(DEV)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

docs: $(DOCS)  ## build the documentation site into site/
	$(BIN)/mkdocs build --strict

bench: $(DEV)  ## benchmarks, beside csg_fmatch where it is installed
	BAYESCG_TESTS_OPTIMIZED=1 $(BIN)/python -m pytest tests/benchmarks --benchmark-only -n 0 -s -W default --jaxtyping-packages=

gpu: $(DEV)  ## all that runs on a GPU, beside the CPU; needs a JAX that sees one (pip install 'jax[cuda12]')
	$(BIN)/python -m tests.benchmarks.gpu

study: $(DEV)  ## slow statistical studies; results belong in docs/studies.md
	$(BIN)/python -m tests.studies

clean:  ## remove build outputs
	rm -rf $(VENV) site demo build dist
