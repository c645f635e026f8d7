# Every target makes the virtual environment it needs; nothing is installed by hand.
VENV := .venv
OLDEST := .venv-oldest
PYTHON ?= python3
BIN := $(VENV)/bin
WORKERS ?= 2
DEMO ?= demo-out
STAMP := $(VENV)/.installed
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test quick check docs format bench bench-scale bench-gpu fuzz oldest slow schema golden clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

$(VENV)/.test: $(STAMP)
	$(INSTALL) -e '.[test]'
	@touch $@

$(VENV)/.dev: $(STAMP)
	$(INSTALL) -e '.[dev,test]'
	@touch $@

$(VENV)/.docs: $(STAMP)
	$(INSTALL) -e '.[docs]'
	@touch $@

$(VENV)/.bench: $(STAMP)
	$(INSTALL) -e '.[bench]'
	@touch $@

$(VENV)/.network: $(STAMP)
	$(INSTALL) -e '.[network]'
	@touch $@

demo: $(VENV)/.network  ## made-up raw archives of every source through the whole factory
	$(BIN)/python -m demo $(DEMO) --workers $(WORKERS)

# Tests start hundreds of processes, which would each compile the package where Python may not
# write bytecode of its own accord.
COMPILE := $(BIN)/python -m compileall -q uls_data

test: $(VENV)/.test  ## all tests but the long ones; needs no GPU, network or real data
	$(COMPILE)
	$(BIN)/python -m pytest -n $(WORKERS)

quick: $(VENV)/.test  ## the tests that take under a second each (not what tests/slow.txt names)
	$(COMPILE)
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

check: $(VENV)/.dev  ## format, lint, spelling, prose, types, layers, what is handed out
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/python -m tools.prose
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py tests/test_imports.py tests/test_package.py
	rm -rf $(VENV)/dist
	$(BIN)/python -m build --no-isolation --outdir $(VENV)/dist . >$(VENV)/build.log
	$(BIN)/python -m twine check --strict $(VENV)/dist/*

format: $(VENV)/.dev  ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Quiet is the advertisement of a successor that the theme prints at every build.
docs: $(VENV)/.docs  ## the documentation as a site: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: $(VENV)/.bench  ## speed and memory against a MONAI pipeline, growth to 1,000 VOIs, a large scan
	$(BIN)/python -m benchmarks.voi
	$(BIN)/python -m benchmarks.cpu
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.increment
	$(BIN)/python -m benchmarks.fetch
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.dicom
	$(BIN)/python -m benchmarks.pseudomask
	$(BIN)/python -m benchmarks.store
	$(BIN)/python -m benchmarks.query
	$(BIN)/python -m benchmarks.report

bench-scale: $(VENV)/.bench  ## a million rows through engine and manifest; commands on a million rows
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.million
	$(BIN)/python -m benchmarks.passport

bench-gpu: $(VENV)/.bench  ## the network, prediction and a training step on the GPU, against nnU-Net's way
	$(BIN)/python -m benchmarks.gpu --tta --compile

fuzz: $(VENV)/.test  ## the long runs: 8,000 hostile inputs, 2,000 damaged archives, 100 kills, random examples
	$(COMPILE)
	ULS_DATA_HOSTILE=2000 ULS_DATA_HOSTILE_DICOM=3000 ULS_DATA_HOSTILE_XML=1000 \
		ULS_DATA_HOSTILE_CSV=1000 ULS_DATA_HOSTILE_CROWDS=1000 ULS_DATA_KILLS=100 ULS_DATA_RELEASE_FAULTS=500 ULS_DATA_INVENTORY=2000 ULS_DATA_FETCH_KILLS=20 \
		ULS_DATA_HOSTILE_RELEASES=1000 $(BIN)/python -m pytest -n $(WORKERS) \
		--hypothesis-profile=fuzz -m "not real" tests

oldest:  ## all tests with the oldest versions that pyproject.toml allows, in an environment of its own
	$(PYTHON) -m venv $(OLDEST)
	$(PYTHON) -m tools.oldest > $(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c $(OLDEST)/oldest.txt -e '.[test]'
	$(OLDEST)/bin/python -m pytest -n $(WORKERS)

slow: $(VENV)/.test  ## rewrite tests/slow.txt, from the durations of all tests
	$(COMPILE)
	$(BIN)/python -m pytest -n $(WORKERS) --junitxml=$(VENV)/durations.xml
	$(BIN)/python -m tools.slow $(VENV)/durations.xml

schema: $(STAMP)  ## write the recipe's JSON Schema and README's column table
	$(BIN)/python -m tools.document

golden: $(VENV)/.test  ## rewrite the golden rows; look at the diff before committing it
	$(BIN)/python -m pytest tests/test_recipes.py --update-golden

clean:  ## remove what the targets made
	rm -rf $(VENV) $(OLDEST) $(DEMO) bench-out site .mypy_cache .ruff_cache .pytest_cache .hypothesis
