# Every target makes and fills the environment that it needs; nothing has to be active or installed but Python.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Small nets on several test processes: more threads would only fight.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint clean

demo: $(VENV)/installed
	$(BIN)/python -m benchmarks.demo

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv* .pytest_cache .mypy_cache .ruff_cache .hypothesis
