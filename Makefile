# pairloom: what can be made here. `make help` lists it.

PYTHON ?= python3
VENV ?= .venv
# A requirement for torch that is installed before all else, options of pip included: TORCH="torch==2.13.0"
TORCH ?=
# What pytest runs: TESTS="tests/test_house.py -x"
TESTS ?= tests
# `make lock UPGRADE=1` takes the newest versions; without it, only what pyproject.toml asks for changes.
UPGRADE ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORDS_OF_TORCH := $(foreach word,$(TORCH),'$(word)')

.DELETE_ON_ERROR:
.PHONY: help quickstart test lint format lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  PYTHON=$(PYTHON)   VENV=$(VENV)   TORCH="torch==2.13.0" installs that torch first   TESTS=tests/test_house.py'

quickstart: $(VENV)/.quickstart  ## install into .venv, train a first model on dates, and show what it does
	$(BIN)/pairloom quickstart

test: lint  ## all checks: ruff, mypy, pytest
	$(BIN)/python -m pytest $(TESTS)

lint: $(VENV)/.checks  ## only ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.checks  ## let ruff put imports and layout right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv, caches and builds; trained models in runs/ stay
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# -- how they are made -------------------------------------------------------------------------------------------------

$(VENV)/.made:
	@command -v $(PYTHON) > /dev/null || { \
	  echo 'There is no $(PYTHON) here. pairloom needs Python 3.11 or newer: install it, or name it: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "pairloom needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2> /dev/null || { \
	  echo '$(PYTHON) has no ensurepip, so it cannot make an environment. On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Editable, so that a `git pull` needs no new installation; pyproject.toml says when it does.
$(VENV)/.quickstart: $(VENV)/.made pyproject.toml
	$(if $(TORCH),$(PIP) install $(WORDS_OF_TORCH))
	$(PIP) install --editable '.[quickstart]'
	@touch $@

# Exactly what the lock says, every file checked against its hash; torch.txt tells why torch comes apart.
$(VENV)/.checks: $(VENV)/.made pyproject.toml requirements/checks.txt requirements/torch.txt
	$(PIP) install --quiet --require-hashes --requirement requirements/checks.txt
	$(PIP) install --quiet $(or $(WORDS_OF_TORCH),--requirement requirements/torch.txt)
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	$(PIP) check
	@touch $@

# Run it where pip finds a CPU build of torch: CUDA's packages must not get into the lock of those who have no GPU.
LOCK := $(VENV)/lock
lock: $(VENV)/.made  ## compute requirements/checks.txt anew from pyproject.toml (minutes)
	$(PYTHON) -m venv $(LOCK)
	$(LOCK)/bin/python -m pip install --quiet 'pip-tools==7.6.2'
	cp requirements/checks.txt $(LOCK)/checks.txt
	$(LOCK)/bin/pip-compile --quiet --generate-hashes --strip-extras $(if $(UPGRADE),--upgrade) \
	  --extra test --extra data --extra plot --extra quickstart --extra fast --extra serve --all-build-deps \
	  --constraint requirements/torch.txt --unsafe-package torch \
	  --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --output-file $(LOCK)/checks.txt pyproject.toml
	@! grep -E '^(nvidia|cuda|triton)' $(LOCK)/checks.txt || { \
	  echo 'pip took a torch with CUDA: make its CPU build known to pip first (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL)' >&2; exit 1; }
	{ printf '# Made by `make lock`: everything that the checks install, except torch (see torch.txt). Do not edit.\n'; \
	  grep -v '^#' $(LOCK)/checks.txt; } > requirements/checks.txt
