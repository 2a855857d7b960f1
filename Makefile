# The project's commands. Everything is installed into $(VENV), by pip, with the pins of constraints.txt; vLLM has an
# environment beside it, $(VENV)-vllm, and its own list, constraints-vllm.txt. pip's own settings (PIP_INDEX_URL,
# PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, pip.conf ...) pass through. PYTHONWARNINGS keeps from the screen what setuptools
# advises about any editable installation.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
VLLM := $(VENV)-vllm
PYTEST_WORKERS ?= auto
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
INSTALL = PYTHONWARNINGS=ignore::UserWarning $(BIN)/python $(PIP_INSTALL) -c constraints.txt

# Has glibc keep freed memory instead of giving it back at each step, which is a tenth of a training's time.
KEEPS := MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-vllm check format pocket bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.model ## play the embedded model and classical agents on the same luck, and write a report
	$(BIN)/icrl run examples/demo.yaml --out runs/demo
	$(BIN)/icrl report runs/demo

# A process per core, and one thread in each; who has nothing left to do takes from the others.
test: $(VENV)/.test ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal

# vLLM's own warnings are not ours to mend, so they are shown and are no errors.
test-vllm: $(VLLM)/.test $(VENV)/.train ## run the tests of the real vLLM, on the CPU, in an environment of its own
	@rm -rf $(VLLM)/distilled
	$(BIN)/python tests/backends/distil.py $(VLLM)/distilled
	ICRL_DISTILLED=$(VLLM)/distilled HF_HUB_OFFLINE=1 $(VLLM)/bin/python -m pytest -W default tests/backends

check: $(VENV)/.lint ## lint, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict -p icrl

format: $(VENV)/.lint ## format the code and mend what the linter can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

pocket: $(VENV)/.train ## train the embedded model from scratch; the same command again continues
	$(KEEPS) $(BIN)/python -m icrl.finetune.pocket runs/pocket

bench: $(VENV)/.model ## time icrl beside its peers
	@set -e; for script in benchmarks/*.py; do echo $(BIN)/python $$script; $(BIN)/python $$script; done

clean: ## remove caches and build outputs; the environment and runs/ stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -not -path './$(VENV)*' -prune -exec rm -rf {} +

# What is installed, one stamp per set: a set is installed again when pyproject.toml or the pins are newer.

$(VENV)/.pip: constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { $(PYTHON) -c "$$NEEDS" && $(PYTHON) -m venv $(VENV); }
	@echo "Installing into $(VENV); the first time this takes a few minutes."
	$(INSTALL) --upgrade pip
	@touch $@

$(VENV)/.model: $(VENV)/.pip pyproject.toml
	$(INSTALL) -e ".[model]"
	@touch $@

$(VENV)/.train: $(VENV)/.pip pyproject.toml
	$(INSTALL) -e ".[train]"
	@touch $@

$(VENV)/.test: $(VENV)/.pip pyproject.toml
	$(INSTALL) -e ".[qlora,http,steer]" --group test --group build
	@touch $@

$(VENV)/.lint: $(VENV)/.pip pyproject.toml
	$(INSTALL) -e ".[train,http,steer]" --group lint
	@touch $@

# Nothing is resolved: constraints-vllm.txt is the whole environment, and says why.
$(VLLM)/.test: constraints-vllm.txt pyproject.toml
	@$(VLLM)/bin/python -m pip --version >/dev/null 2>&1 || { $(PYTHON) -c "$$NEEDS" && $(PYTHON) -m venv $(VLLM); }
	@echo "Installing into $(VLLM); the first time this takes a few minutes."
	$(VLLM)/bin/python $(PIP_INSTALL) --no-deps -r constraints-vllm.txt
	PYTHONWARNINGS=ignore::UserWarning $(VLLM)/bin/python $(PIP_INSTALL) --no-deps -e .
	@touch $@

define NEEDS
import sys
if sys.version_info < (3, 11):
    sys.exit("icrl needs Python 3.11 or newer, but $(PYTHON) is %d.%d: name another, e.g. PYTHON=python3.12" % sys.version_info[:2])
endef
export NEEDS
