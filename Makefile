# The two commands a newcomer needs: `make demo` and `make test`. Both set up what they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= demo

.PHONY: demo test test-backends lint format wheel clean help

help:
	@echo "make demo    train, export, verify and run a small road model; results in $(DEMO)/"
	@echo "make test    all tests"
	@echo "make test-backends  the same losses on JAX and PyTorch; downloads both"
	@echo "make lint    format, lint, types, import rules"
	@echo "make wheel   the wheel, in dist/"

# Installed again only when the project's metadata changes: the repeat costs nothing.
$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed -e ".[dev]"
	@touch $@

demo: $(STAMP)
	$(BIN)/orilla demo --out $(DEMO)

test: $(STAMP)
	$(BIN)/python -m pytest

test-backends: $(STAMP)
	$(BIN)/python -m pip install --quiet -e ".[dev,backends]"
	$(BIN)/python -m pytest tests/train/test_backends.py

lint: $(STAMP) build/typing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p orilla.devices -p orilla.runtime
	PYTHONPATH=build/typing $(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The namespace as the type checker and the import linter see it: they don't follow an editable install's map.
build/typing:
	mkdir -p $@/orilla
	for part in devices runtime export train; do ln -sfn ../../../$$part $@/orilla/$$part; done

wheel: $(STAMP)
	rm -rf dist build/lib
	$(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf $(VENV) build dist $(DEMO) *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
