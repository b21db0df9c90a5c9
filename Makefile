# Every target does its own set-up; `make help` lists them.

## PYTHON: Interpreter that the environment is made with, of Python 3.11. Default: python3.11
PYTHON ?= python3.11
## CORPUS: Text to train on: a file, a directory, a glob, a URL or a name. Default: that of PRESET
CORPUS ?=
## PRESET: Name or path of the settings. Default: demo
PRESET ?= demo
## ROOT: Directory of all artifacts. Default: runs
ROOT   ?= runs
## MODEL: Name of the model to serve. Default: the file name of CORPUS without its suffixes
MODEL  ?= $(or $(firstword $(subst ., ,$(notdir $(CORPUS:/=)))),stdlib)
## ARGS: Further arguments of the command, as in ARGS="--steps 100"
ARGS   ?=

VENV   := .venv
READY  := $(VENV)/.installed
BIN    := $(VENV)/bin
FLINK  := .flink

export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help run install lock test test-slow test-all test-flink lint format tensorboard serve bench docs clean

help: ## List the targets and the variables
	@echo 'make TARGET [VARIABLE=VALUE ...]'
	@printf '\nTargets\n'
	@sed -nE 's/^([a-z-]+):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16
	@printf '\nVariables\n'
	@sed -nE 's/^## ([A-Z]+): /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: $(READY) ## Run every stage on CORPUS with PRESET, serve the model, print a text it wrote
	@$(BIN)/python -m pipeline run $(if $(CORPUS),--corpus "$(CORPUS)") --preset "$(PRESET)" --root "$(ROOT)" $(ARGS)

install: $(VENV)/.tests ## Install what the commands, the experiments and the tests need

lock: $(VENV)/.uv ## Renew requirements.lock, with hashes, after a change of the requirements
	for folder in . pipeline/worker; do $(VENV)/uv/bin/uv pip compile --quiet --generate-hashes --no-annotate \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_28 --custom-compile-command "make lock" \
	  $$folder/requirements.txt -o $$folder/requirements.lock || exit; done

test: $(VENV)/.tests ## Run the tests but those that are slow; ARGS="--seed N" replays a run
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: $(VENV)/.tests ## Run the tests that are slow; ARGS="--minutes N" ends after N minutes
	$(BIN)/python -m pytest -m slow $(ARGS)

test-all: $(VENV)/.tests ## Run all tests
	$(BIN)/python -m pytest $(ARGS)

test-flink: $(VENV)/.tests $(FLINK)/.installed ## Run the data stages on a Flink cluster, and kill parts of it
	$(BIN)/python -m pytest tests/pipeline/data/test_flink.py --flink "$(FLINK)" $(ARGS)

lint: $(VENV)/.tests ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.tests ## Fix style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

tensorboard: $(READY) ## Watch the trainings under ROOT at http://localhost:6006
	$(BIN)/tensorboard --logdir "$(ROOT)"

serve: $(READY) ## Serve the model of CORPUS at ports 8500 (gRPC), 8501 (REST) and 8502 (OpenAI API)
	$(BIN)/python -m serving serve --port 8500 --rest_api_port 8501 --gateway_port 8502 \
	  --model_name "$(MODEL)" --model_base_path "$(ROOT)/serving/$(MODEL)" $(ARGS)

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

# In an environment of its own, as the lock must not depend on what is installed here.
$(VENV)/.uv: $(READY)
	$(PYTHON) -m venv $(VENV)/uv
	$(VENV)/uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
	@touch $@

$(VENV)/.experiments: experiments/requirements.txt $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r experiments/requirements.txt
	@touch $@

$(VENV)/.tests: tests/requirements.txt $(VENV)/.experiments
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

$(VENV)/.benchmarks: benchmarks/requirements.txt $(VENV)/.experiments
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

$(VENV)/.docs: docs/requirements.txt $(VENV)/.experiments
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	@touch $@

$(FLINK)/.installed: tests/pipeline/data/flink/requirements.txt tests/pipeline/data/flink/pom.xml $(READY)
	@{ command -v mvn && command -v java; } >/dev/null || { echo "error: Maven or Java is not installed; install Maven and Java 17" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target $(FLINK)/libraries -r tests/pipeline/data/flink/requirements.txt
	mvn --quiet --batch-mode -f tests/pipeline/data/flink/pom.xml -Dtarget="$(CURDIR)/$(FLINK)/job-server" package
	@touch $@
