# A new user needs two commands: `make demo` and `make test`. Both install everything that they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BASE := $(VENV)/.base
DEMO ?= demo

.PHONY: demo test test-fast test-slow soak coverage docs test-backends test-engines test-keras2 test-signing test-arm test-install lint lint-oldest format wheel sbom clean help

help:
	@echo "make demo    run the shipped road model, then train, export, verify and run a small one; the results are in $(DEMO)/"
	@echo "make test    all tests except the slow ones"
	@echo "make test-fast   tests of runtime and devices, without TensorFlow"
	@echo "make test-slow   tests that take many seconds and rarely fail"
	@echo "make soak    a million answers and 20 minutes of a camera that is lost again and again; fails on growth and loss"
	@echo "make coverage    all tests except the slow ones; fails if the test coverage is too low"
	@echo "make docs    build the documentation with the API reference in build/site"
	@echo "make test-backends  check that JAX and PyTorch give the same losses as TensorFlow, and import PyTorch networks; downloads both"
	@echo "make test-engines   the contract tests of the engines with tflite_runtime and OpenVINO, in separate environments"
	@echo "make test-keras2    all stored models of Keras 1 and 2, and their stored answers with tf_keras, in a separate environment"
	@echo "make test-signing   whether Orilla and model-signing accept each other's signatures"
	@echo "make test-arm       doctor, verify and the contract tests of the engines on emulated Arm boards; needs qemu-user-static and proot"
	@echo "make test-install   install the wheel in fresh environments: Python versions, OpenCV wheels, numpy 1 and 2, lowest and newest dependencies"
	@echo "make sbom    list the packages that the wheel installs, with their licences, in dist/; fails if a licence is missing"
	@echo "make lint    check format, style, types, imports and banned words"
	@echo "make wheel   build the source archive, and the wheel from it, in dist/"

# The installation is repeated only if pyproject.toml has changed.
$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed -e ".[dev]"
	@touch $@

# The base installation needs no TensorFlow, so the shipped model runs within a minute.
$(BASE): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

demo:
	@test -e $(STAMP) || $(MAKE) --no-print-directory $(BASE)
	@test -e $(DEMO)/shipped.mp4 || $(BIN)/orilla demo --quick --out $(DEMO)
	@test -e $(STAMP) || echo "installing TensorFlow and the other packages for training and export (some minutes)"
	@$(MAKE) --no-print-directory $(STAMP)
	$(BIN)/orilla demo --out $(DEMO)

# The tests of the runtime and the devices use the bundles in tests/bundles, so TensorFlow is not loaded. Tests that wait
# or measure time run only with `make test`.
FAST := tests/devices tests/runtime --ignore=tests/runtime/bench -m "not slow and not timing"

test-fast: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal $(FAST)

# `make test COVERAGE=yes` also measures the test coverage, and fails if it is below 91 %. When this limit was set, the
# coverage was 91.6 %.
COVERAGE :=
ifneq ($(COVERAGE),)
COVER := --cov=devices --cov=runtime --cov=export --cov=train
COVER_FIRST := $(COVER) --cov-report=
COVER_SECOND := $(COVER) --cov-append --cov-report=term --cov-fail-under=91
endif

# Most tests run two at a time. Tests that measure time run alone.
test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not timing" $(COVER_FIRST)
	$(BIN)/python -m pytest -m "timing and not slow" $(COVER_SECOND)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not timing"
	$(BIN)/python -m pytest -m "slow and timing"

# `make soak SOAK="--ticks 0 --minutes 600"` runs longer. Other programs on the machine change the times.
SOAK :=

soak: $(STAMP)
	$(BIN)/python tests/perf/soak.py $(SOAK)

coverage:
	$(MAKE) test COVERAGE=yes

docs: $(STAMP) build/typing
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	$(BIN)/mkdocs build --strict --quiet
	@echo "the documentation is in build/site/index.html"

test-backends: $(STAMP)
	$(BIN)/python -m pip install --quiet -e ".[dev,backends,torch]"
	$(BIN)/python -m pytest tests/train/test_backends.py tests/export/test_import_torch.py tests/contract/test_importers.py

# These engines need separate environments: tflite_runtime needs numpy 1, and OpenVINO's build replaces ONNX Runtime.
test-engines: wheel
	$(PYTHON) -m venv build/engines/tflite
	build/engines/tflite/bin/pip install --quiet tflite-runtime==2.14.0 "numpy<2" "opencv-python-headless<5" msgspec rich pytest
	build/engines/tflite/bin/pip install --quiet --no-deps --force-reinstall dist/orilla-*.whl
	ORILLA_ENGINES="litert tflite" build/engines/tflite/bin/python -m pytest tests/contract/test_engines.py
	$(PYTHON) -m venv build/engines/openvino
	build/engines/openvino/bin/pip install --quiet onnxruntime-openvino opencv-python-headless msgspec rich pytest
	build/engines/openvino/bin/pip install --quiet --no-deps --force-reinstall dist/orilla-*.whl
	ORILLA_ENGINES="onnx onnx:openvino" build/engines/openvino/bin/python -m pytest tests/contract/test_engines.py

# tf_keras cannot be installed beside Keras 3 without an influence on it, so it needs a separate environment.
test-keras2: $(STAMP)
	$(PYTHON) -m venv build/keras2
	build/keras2/bin/pip install --quiet tf-keras
	build/keras2/bin/python tests/export/keras2/check.py
	ORILLA_ALL_KERAS=1 $(BIN)/python -m pytest -n 2 tests/export/test_keras2_files.py

# model-signing installs some 30 packages that nothing else needs.
test-signing: $(STAMP)
	$(PYTHON) -m venv build/signing
	build/signing/bin/pip install --quiet "model-signing>=1.0" pyopenssl
	ORILLA_MODEL_SIGNING=build/signing/bin/model_signing $(BIN)/python -m pytest tests/runtime/bundle/test_signature.py

test-arm: wheel
	$(PYTHON) tests/arm/run.py

# About 40 environments, one after the other. `make test-install INSTALL="--python 3.10 --tests none"` selects some.
INSTALL :=

test-install: wheel
	$(PYTHON) tests/install/matrix.py $(INSTALL)

sbom: wheel
	$(PYTHON) tests/install/sbom.py

lint: $(STAMP) build/typing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p orilla.devices -p orilla.runtime -p orilla.export -p orilla.train
	MYPYPATH=build/typing:tests $(BIN)/mypy tests/helpers
	$(BIN)/python docs/words.py
	PYTHONPATH=build/typing $(BIN)/lint-imports

# The annotations of numpy need Python 3.11, so some results are `Any` here.
lint-oldest: $(STAMP) build/typing
	$(BIN)/mypy --python-version 3.10 --disable-error-code no-any-return -p orilla.devices -p orilla.runtime -p orilla.export -p orilla.train

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Links with which mypy and import-linter find the packages as `orilla.*`. Both tools cannot follow an editable install.
build/typing:
	mkdir -p $@/orilla
	for part in devices runtime export train; do ln -sfn ../../../$$part $@/orilla/$$part; done

wheel: $(STAMP)
	rm -rf dist build/lib
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) build dist $(DEMO) *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
