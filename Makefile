# The two commands: `make parity` (the main job) and `make test`. Each makes its own environment.
PYTHON ?= python3
# Peers whose tests must run, not be skipped; CI adds browser.
REQUIRE ?= keras,torch,jax,reference
# Pairs that make parity checks at a time.
JOBS ?= 2
# TORCH=cuda: the same commands with PyTorch's CUDA build and its triton, in an environment of its own.
# The third equals sign leaves out builds that are marked +cpu.
ifeq ($(TORCH),cuda)
VENV := .venv-cuda
PIN := s/^torch==/torch===/
override REQUIRE := $(REQUIRE),triton
else ifneq ($(TORCH),)
$(error TORCH must be cuda or left out; got TORCH=$(TORCH))
else
VENV := .venv
PIN :=
endif
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: env parity test check bench zoo gpu gpu-wheels wheel docs notebooks lint types clean

$(VENV)/.made: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	sed '$(PIN)' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/pip install -q -c $(VENV)/constraints.txt -e '.[dev]'
	$(BIN)/pip install -q --no-deps DLStudio==2.5.8  # the lecture's own code, for the reference tests
	$(BIN)/pip install -q --no-deps --upgrade --target build/torchvision torchvision==0.29.2  # its definitions alone
	$(BIN)/pip install -q --no-deps --upgrade --target build/axe axe-playwright-python==0.1.8  # axe-core's script alone
	touch $@

env: $(VENV)/.made

parity: env
	$(BIN)/python -m datasets.purdue_shapes generate --out build/data --train 20 --test 20 --seed 0
	$(BIN)/parity check --all --jobs $(JOBS) --data build/data --json build/parity/report.json --html build/parity/report.html

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: env
	$(BIN)/mypy

# One worker a core, so one thread a worker: more of them only wait for one another. Of the longest tables a share of the
# rows is tried; WHOLE=1 tries every one.
test: export OMP_NUM_THREADS := 1
test: export TF_NUM_INTRAOP_THREADS := 1
test: lint types
	$(BIN)/pytest -n auto --dist worksteal --durations=25 --require=$(REQUIRE) $(if $(WHOLE),--whole)

# Triton and TensorFlow in one process, with the real triton; without TORCH=cuda it is installed aside.
check: env
	$(BIN)/python -c 'import triton' 2>/dev/null || [ -d build/triton ] || \
		$(BIN)/pip install -q --no-deps --target build/triton triton==3.7.1
	$(BIN)/pytest -n $(JOBS) --require=triton tests/unit/test_triton.py
	$(BIN)/parity check SkipBlockDN --gradients --train-steps 1
	$(BIN)/parity doctor

bench: env
	$(BIN)/python benchmarks/speed.py
	OMP_NUM_THREADS=$(JOBS) $(BIN)/python benchmarks/training_speed.py

# Public pairs: keras-hub and keras.applications against transformers, timm, diffusers and torchvision. The environment
# is installed as it is listed; only torch brings what its build needs.
ZOO := build/zoo
$(ZOO)/.made: tests/public/requirements.txt
	$(PYTHON) -m venv $(ZOO)
	$(ZOO)/bin/pip install -q -c tests/public/requirements.txt torch
	$(ZOO)/bin/pip install -q --no-deps -r tests/public/requirements.txt
	touch $@

zoo: $(ZOO)/.made
	$(ZOO)/bin/python -m tests.public --json docs/records/zoo.json; status=$$?; $(ZOO)/bin/python docs/zoo.py; exit $$status

# The catalogue and mUnet's training step on a GPU. It needs no environment and no network: PYTHON has PyTorch and JAX,
# and what else is missing lies in WHEELS, which `make gpu-wheels` fills on a machine with a network.
DEVICE ?= gpu
BUDGET ?= 420
WHEELS ?= build/gpu-wheels
GPU_OUT ?= build/gpu

gpu-wheels:
	$(PYTHON) benchmarks/gpu/wheels.py fetch $(WHEELS)

gpu:
	$(PYTHON) benchmarks/gpu/wheels.py install $(WHEELS) $(GPU_OUT)/site
	PYTHONPATH=$(GPU_OUT)/site $(PYTHON) -m benchmarks.gpu --device $(DEVICE) --budget $(BUDGET) --out $(GPU_OUT) $(if $(SMOKE),--smoke)

# The wheel, in dist/: the same bytes from the same commit, wherever and whenever it is built. It names the remote's
# address, where that is no folder.
PROJECT_HOME ?= $(shell git remote get-url origin 2>/dev/null)
wheel: export PROJECT_HOME := $(PROJECT_HOME)
wheel: env
	rm -rf build/wheel-source dist
	git archive --prefix=build/wheel-source/ HEAD | tar x
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --wheel --no-isolation --outdir dist build/wheel-source
	$(BIN)/twine check --strict dist/*
	sha256sum dist/*

# The pages of the networks, the picture of docs/architecture.md, the table of defaults, and the site in build/site.
# Notebooks whose sources changed are run first; `make notebooks` runs all.
RAN := $(patsubst examples/%.py,build/%.ipynb,$(wildcard examples/notebooks/*.py))
build/notebooks/%.ipynb: examples/notebooks/%.py | env
	$(BIN)/python docs/notebooks.py $*

docs: export NO_MKDOCS_2_WARNING := 1
docs: env $(RAN)
	$(BIN)/python docs/build.py
	$(BIN)/python docs/rooms.py --draw
	$(BIN)/python docs/defaults.py
	$(BIN)/mkdocs build --strict --quiet

# The notebooks of examples/notebooks, run, as .ipynb and .html in build/notebooks.
notebooks: env
	$(BIN)/python docs/notebooks.py

clean:
	rm -rf .venv .venv-cuda build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
