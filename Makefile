# Every target does its own set-up; `make help` lists them.

PYTHON ?= python3.11
# By default the corpus of the preset.
CORPUS ?=
PRESET ?= demo
ROOT   ?= runs
# A model is called after the file name of its corpus.
MODEL  ?= $(or $(firstword $(subst ., ,$(notdir $(CORPUS:/=)))),stdlib)
ARGS   ?=

VENV   := .venv
READY  := $(VENV)/.installed
BIN    := $(VENV)/bin
FLINK  := .flink

export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help run test test-flink lint format tensorboard serve bench docs clean

help: ## List the targets and the variables
	@echo "make TARGET [CORPUS=$(or $(CORPUS),stdlib)] [PRESET=$(PRESET)] [ROOT=$(ROOT)] [ARGS=\"--steps 100\"]"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 16

run: $(READY) ## Run every stage on CORPUS with PRESET, serve the model, print a text it wrote
	@$(BIN)/python -m pipeline run $(if $(CORPUS),--corpus "$(CORPUS)") --preset "$(PRESET)" --root "$(ROOT)" $(ARGS)

test: $(READY) ## Run the tests
	$(BIN)/python -m pytest $(ARGS)

test-flink: $(READY) $(FLINK)/.installed ## Run the data stages on a Flink cluster, and kill parts of it
	$(BIN)/python -m pytest tests/pipeline/data/test_flink.py --flink "$(FLINK)" $(ARGS)

lint: $(READY) ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Fix style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

tensorboard: $(READY) ## Watch the trainings under ROOT at http://localhost:6006
	$(BIN)/tensorboard --logdir "$(ROOT)"

serve: $(READY) ## Serve the model of CORPUS at ports 8500 (gRPC) and 8501 (REST)
	$(BIN)/python -m serving serve --port 8500 --rest_api_port 8501 --model_name "$(MODEL)" \
	  --model_base_path "$(ROOT)/serving/$(MODEL)" $(ARGS)

bench: $(VENV)/.benchmarks ## Time training steps of this project and of PyTorch, JAX and Keras
	$(BIN)/python -m benchmarks.suite $(ARGS)

docs: $(VENV)/.docs ## Build the documentation into site/; warnings fail
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict $(ARGS)

clean: ## Remove all that was installed and all artifacts under ROOT
	rm -rf $(VENV) $(FLINK) site "$(ROOT)"

$(READY): requirements.txt constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed; install Python 3.11 or set PYTHON=" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.benchmarks: benchmarks/requirements.txt $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

$(VENV)/.docs: docs/requirements.txt $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	@touch $@

$(FLINK)/.installed: tests/pipeline/data/flink/requirements.txt tests/pipeline/data/flink/pom.xml $(READY)
	@{ command -v mvn && command -v java; } >/dev/null || { echo "error: Maven or Java is not installed; install Maven and Java 17" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target $(FLINK)/libraries -r tests/pipeline/data/flink/requirements.txt
	mvn --quiet --batch-mode -f tests/pipeline/data/flink/pom.xml -Dtarget="$(CURDIR)/$(FLINK)/job-server" package
	@touch $@
