# The project's commands. Each sets up what it needs: a virtual environment per purpose and Python, from a lock file.

PYTHON ?= python3
ARGS ?=
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

version := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
demo_venv := .venv/demo-$(version)
dev_venv := .venv/dev-$(version)
bench_venv := .venv/bench-$(version)
packages := node_protocol verifier node_agent control_plane
checked := $(packages) tests benchmarks

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18
	@echo 'PYTHON=python3.13 chooses another Python; ARGS="…" goes on to the command, as in make test ARGS="tests/node -k paper"'

demo: $(demo_venv)/ready ## a day of trading on loopback, live, and the attacks that must fail (below a minute)
	@$(demo_venv)/bin/node-agent demo $(ARGS)

test: $(dev_venv)/ready ## all tests, with coverage
	@scripts/ensure-services $(PYTHON) test
	@$(dev_venv)/bin/python -m pytest $(if $(ARGS),$(ARGS),-n 2 --cov --cov-report=term:skip-covered)

check: $(dev_venv)/ready ## format, lint, types, imports
	$(dev_venv)/bin/ruff format --check $(checked)
	$(dev_venv)/bin/ruff check $(checked)
	$(dev_venv)/bin/mypy $(packages:%=-p %)
	$(dev_venv)/bin/mypy tests benchmarks
	$(dev_venv)/bin/lint-imports

format: $(dev_venv)/ready ## put the sources into their form
	$(dev_venv)/bin/ruff check --fix-only --quiet $(checked)
	$(dev_venv)/bin/ruff format $(checked)

bench: $(bench_venv)/ready ## what a verification costs, beside its floor and its peers
	@$(bench_venv)/bin/python -m benchmarks.verify $(ARGS)

clean: ## take away what the other commands made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage*

# A smaller environment for the demo: a newcomer's first command should not wait for the tests' tools.
.venv/%-$(version)/ready: build/requirements/%.txt pyproject.toml
	@scripts/ensure-services $(PYTHON) venv
	@echo "setting up .venv/$*-$(version)"
	@rm -rf $(@D) && $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@$(@D)/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

.PHONY: help demo test check format bench clean
