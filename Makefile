# The project's commands. Everything is installed into $(VENV), by pip, with the pins of constraints.txt; pip's own
# settings (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, pip.conf ...) pass through. PYTHONWARNINGS keeps from the
# screen what setuptools advises about any editable installation.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALL = PYTHONWARNINGS=ignore::UserWarning $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Has glibc keep freed memory instead of giving it back at each step, which is a tenth of a training's time.
KEEPS := MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test check format pocket bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.model ## play the embedded model and classical agents on the same luck, and write a report
	$(BIN)/icrl run examples/demo.yaml --out runs/demo
	$(BIN)/icrl report runs/demo

test: $(VENV)/.test ## run the tests
	$(BIN)/python -m pytest

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
	find . -name __pycache__ -not -path './.venv*' -not -path './$(VENV)/*' -prune -exec rm -rf {} +

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

$(VENV)/.test: $(VENV)/.train
	$(INSTALL) --group test --group build
	@touch $@

$(VENV)/.lint: $(VENV)/.train
	$(INSTALL) --group lint
	@touch $@

define NEEDS
import sys
if sys.version_info < (3, 11):
    sys.exit("icrl needs Python 3.11 or newer, but $(PYTHON) is %d.%d: name another, e.g. PYTHON=python3.12" % sys.version_info[:2])
endef
export NEEDS
