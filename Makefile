# Two commands for a newcomer: `make demo` and `make test`; `make docs` builds the documentation, and
# `make lock` renews the versions that all three install.
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo
TORCH = $(shell $(PYTHON) -c "print(*(line for line in open('constraints.txt') if line.startswith('torch==')))")

.PHONY: demo test docs lock

# Torch first and by its pinned version, so that nothing else pulls in a larger build of it.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[film,explore]'
	@echo > $@

.venv/installed-test: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@echo > $@

demo: .venv/installed
	$(BIN)/mechgrok train --out $(DEMO) $$(test ! -e $(DEMO)/config.json || echo --resume)
	$(BIN)/mechgrok info $(DEMO)
	$(BIN)/mechgrok analyze accuracy $(DEMO)
	$(BIN)/mechgrok analyze fourier $(DEMO)
	@echo "Open the figures in a browser: $(DEMO)/analysis/accuracy.html and $(DEMO)/analysis/fourier.html"
	@echo "To go on by yourself: source .venv/bin/activate, then mechgrok"

test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

.venv/installed-docs: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@echo > $@

docs: .venv/installed-docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

# In an environment of its own, made without the pins that it replaces.
lock:
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/pip install --quiet --disable-pip-version-check $(TORCH)
	.venv-lock/bin/pip install --quiet --disable-pip-version-check -e '.[test,film,explore,docs]'
	.venv-lock/bin/python .ci/lock.py
	rm -r .venv-lock
