# The two commands a newcomer needs: `make demo` and `make test`. Both set up what they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= demo

.PHONY: demo test test-backends test-engines test-arm lint format wheel clean help

help:
	@echo "make demo    train, export, verify and run a small road model; results in $(DEMO)/"
	@echo "make test    all tests"
	@echo "make test-backends  the same losses on JAX and PyTorch; downloads both"
	@echo "make test-engines   the contract of engines on tflite_runtime and OpenVINO, in environments of their own"
	@echo "make test-arm       doctor, verify and that contract on emulated Arm boards; takes qemu-user-static and proot"
	@echo "make lint    format, lint, types, import rules"
	@echo "make wheel   the wheel, in dist/"

# Installed again only when the project's metadata changes: the repeat costs nothing.
$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed -e ".[dev]"
	@touch $@

demo: $(STAMP)
	$(BIN)/orilla demo --out $(DEMO)

# What computes is spread over two processes; what waits and measures time has the machine to itself.
COMPUTES := tests/train tests/export tests/contract

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal $(COMPUTES)
	$(BIN)/python -m pytest $(addprefix --ignore=,$(COMPUTES))

test-backends: $(STAMP)
	$(BIN)/python -m pip install --quiet -e ".[dev,backends]"
	$(BIN)/python -m pytest tests/train/test_backends.py

# Each of these engines shuts another out: tflite_runtime takes numpy 1, OpenVINO's build replaces ONNX Runtime.
test-engines: wheel
	$(PYTHON) -m venv build/engines/tflite
	build/engines/tflite/bin/pip install --quiet tflite-runtime==2.14.0 "numpy<2" "opencv-python-headless<5" msgspec rich pytest
	build/engines/tflite/bin/pip install --quiet --no-deps --force-reinstall dist/orilla-*.whl
	ORILLA_ENGINES="litert tflite" build/engines/tflite/bin/python -m pytest tests/contract/test_engines.py
	$(PYTHON) -m venv build/engines/openvino
	build/engines/openvino/bin/pip install --quiet onnxruntime-openvino opencv-python-headless msgspec rich pytest
	build/engines/openvino/bin/pip install --quiet --no-deps --force-reinstall dist/orilla-*.whl
	ORILLA_ENGINES="onnx onnx:openvino" build/engines/openvino/bin/python -m pytest tests/contract/test_engines.py

test-arm: wheel
	$(PYTHON) tests/arm/run.py

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
