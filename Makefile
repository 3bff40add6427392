# SPDX-License-Identifier: GPL-2.0-only
# Needs git, make, python3 (3.11 or newer) and root or sudo; installs the rest.

PYTHON ?= python3
BOOT   := .tox/bootstrap
TOX    := $(BOOT)/bin/tox
SUDO   := $(if $(filter 0,$(shell id -u)),,sudo)

.DEFAULT_GOAL := help
.PHONY: help compare test lint dev clean

help:   ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' Makefile

compare: $(TOX) ## build, boot, run, print the comparison, write the report
	@$(TOX) -q run -e dev,compare

test: $(TOX) ## lint, the harness's own tests, every case on both kernels
	@$(TOX) -q run -e dev,lint,test

lint: $(TOX) ## ruff and mypy --strict
	@$(TOX) -q run -e dev,lint

dev: $(TOX) ## .venv with everything in it
	@$(TOX) -q run -e dev

clean:  ## remove environments and run folders; caches stay
	rm -rf .tox .venv results/2*

# Debian's python3 comes without ensurepip, and a venv made without it has no pip.
$(TOX):
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(SUDO) apt-get -qq update && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3-venv ; }
	@$(PYTHON) -m venv $(BOOT)
	@$(BOOT)/bin/python -m pip install -q --disable-pip-version-check 'tox>=4.11'
