# The project's commands. Each sets up what it needs: a virtual environment per purpose and Python, from a lock file.

PYTHON ?= python3
ARGS ?=
RUNS ?= 2000
SEED ?= 1
JOBS ?= 2
FAULT ?= none
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# no Python at all is told by scripts/venv; `make help` and `make clean` need none
version := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
demo := .venv/demo-$(version)
dev := .venv/dev-$(version)
peer := .venv/peer-$(version)
scan := .venv/scan-$(version)
packages := node_protocol verifier node_agent control_plane
programs := build/verify_image build/measure_image
checked := $(packages) tests benchmarks examples compile_bytecode.py $(programs)
# What a build of an image is told: the time and the name of the commit, so that it gives the same bytes again.
built := --build-arg SOURCE_DATE_EPOCH=$(shell git log -1 --format=%ct 2>/dev/null || echo 0) \
  --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null || echo unknown) --provenance=false

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20
	@echo 'PYTHON=python3.13 chooses another Python; ARGS="…" goes on to the command, as in make test ARGS="tests/node -k paper"'

# Of its own and smaller: a newcomer's first command should not wait for the tests' tools.
demo: ## a day of trading on loopback, live, and the attacks that must fail (below a minute)
	@scripts/venv $(PYTHON) demo $(demo)
	@$(demo)/bin/node-agent demo $(ARGS)

# Not every machine has a wheel of the peer, or of what scans; where one is missing, its tests say so.
test: develop ## all tests, with coverage
	@scripts/ensure-services $(PYTHON) test
	-@scripts/venv $(PYTHON) peer $(peer)
	-@scripts/venv $(PYTHON) scan $(scan)
	@$(dev)/bin/python -m pytest $(if $(ARGS),$(ARGS),-n auto --maxprocesses 8 --cov --cov-report=term:skip-covered)

check: develop ## format, lint, types, imports
	$(dev)/bin/ruff format --check $(checked)
	$(dev)/bin/ruff check $(checked)
	$(dev)/bin/mypy $(packages:%=-p %)
	$(dev)/bin/mypy tests benchmarks examples
	$(dev)/bin/mypy compile_bytecode.py
	for each in $(programs); do $(dev)/bin/mypy "$$each"; done
	$(dev)/bin/lint-imports

format: develop ## put the sources into their form
	$(dev)/bin/ruff check --fix-only --quiet $(checked)
	$(dev)/bin/ruff format $(checked)

bench: develop ## what a verification costs, beside its floor and its peers
	@$(dev)/bin/python -m benchmarks.verify $(ARGS)

# Not every machine has wheels for the peer; where they are missing, its lines say so.
footprint: develop ## how soon a node is ready and how large it is, beside ccxt and freqtrade
	-@scripts/venv $(PYTHON) freqtrade .venv/freqtrade-$(version)
	@$(dev)/bin/python -m benchmarks.footprint $(ARGS)

torture: develop ## kill nodes, RUNS=2000 times, and compare all books (SEED=1, JOBS=2, FAULT=none)
	@$(dev)/bin/python -m tests.torture --runs $(RUNS) --seed $(SEED) --jobs $(JOBS) --fault $(FAULT)

image: ## build the images of the node and of the control plane, and lay their SBOMs into dist/
	for each in node control-plane; do \
	  docker buildx build --load $(built) --target "$$each" --tag "trading-node/$$each:local" . && \
	  docker buildx build $(built) --target "$$each-papers" --output dist . || exit 1; \
	done

image-check: image ## open the images and show what they hold; print size, time to healthy, memory
	build/verify_image trading-node/control-plane:local --papers dist/control-plane
	build/verify_image trading-node/node:local --papers dist/node
	build/measure_image trading-node/node:local

up: ## start the site of build/compose.yaml: Caddy, control planes, databases (SITE=localhost, HTTPS_PORT=443, HTTP_PORT=80)
	@scripts/up

down: ## stop the site, and keep its data
	@scripts/up down

clean: ## take away what the other commands made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage*

develop:
	@scripts/venv $(PYTHON) dev $(dev)

.PHONY: help demo test check format bench footprint torture image image-check up down clean develop
