# Every target makes and fills the environment that it needs; nothing has to be active or installed but Python.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DOCS_VENV := .venv-docs
OLDEST_VENV := .venv-oldest
# Small nets on several test processes: more threads would only fight.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-oldest lint docs check-docs clean

demo: $(VENV)/installed
	$(BIN)/python -m benchmarks.demo

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --cov

# The oldest of everything that pyproject.toml admits, but for torch; PYTHON=python3.11 is the oldest Python.
test-oldest: $(OLDEST_VENV)/installed
	$(OLDEST_VENV)/bin/python -m pytest -n 2

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Examples run at the build; pages are in docs/_build/html.
docs: $(DOCS_VENV)/installed
	$(DOCS_VENV)/bin/python -m sphinx -W --keep-going docs docs/_build/html

# Opens every page in Chromium, which must be installed with its driver.
check-docs: docs
	$(DOCS_VENV)/bin/python docs/check_pages.py

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[plot]" pandas
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

$(OLDEST_VENV)/installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_VENV)/bin/python -m pip install --quiet --constraint constraints-oldest.txt torch
	$(OLDEST_VENV)/bin/python -m pip install --quiet --constraint constraints-oldest.txt --editable ".[test]"
	touch $@

$(DOCS_VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(DOCS_VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

clean:
	rm -rf .venv* docs/_build docs/auto_examples docs/generated docs/sg_execution_times.rst .pytest_cache .mypy_cache .ruff_cache .hypothesis
