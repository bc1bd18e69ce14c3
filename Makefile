# Two commands: `make study` runs the study, `make test` runs the tests. Each installs what it needs into .venv first.
PYTHON ?= python3
DATA ?=
OUT ?= results
JOBS ?= 2

BIN := .venv/bin
GPU := $(shell nvidia-smi -L 2>/dev/null | head -1)
# the smaller TensorFlow without GPU support, where it exists and suffices
TRAIN := $(if $(GPU),train-gpu,$(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),train-cpu,train))

.PHONY: help study test bench export clean
help:
	@echo "make study              run the study on the embedded pictures (DATA=folder: on yours), results in results/"
	@echo "make test               house style, notebook tests, pytest (notebooks in sync among them)"
	@echo "make bench              measure the speed of every codec on this machine"
	@echo "make export             after editing a notebook: export, clean, rebuild README.md"
	@echo "make clean              remove .venv and results"

.venv/installed: settings.ini setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"gan_compress needs Python 3.11 or newer, {sys.executable} is {v[0]}.{v[1]}; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "== installing gan_compress[$(TRAIN),jax,export,anchors,judge,study,dev,dask] into .venv, a few minutes the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar off -e ".[$(TRAIN),jax,export,anchors,judge,study,dev,dask]"
	@touch $@

study: .venv/installed
	$(BIN)/gan-compress study --output "$(OUT)" --jobs $(JOBS) $(if $(DATA),--data "$(DATA)")

test: .venv/installed
	@echo "== house style"
	$(BIN)/ruff check --config .ci/ruff.toml nbs tests .ci setup.py
	@echo "== notebooks"
	$(BIN)/nbdev_test --n_workers 2 --timing
	@echo "== pytest"
	$(BIN)/python -m pytest -n 2 --durations 40 --durations-min 5 tests

bench: .venv/installed
	$(BIN)/gan-compress bench

export: .venv/installed
	$(BIN)/python .ci/house.py
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

clean:
	rm -rf .venv build dist *.egg-info
	git clean -fdXq "$(OUT)"
