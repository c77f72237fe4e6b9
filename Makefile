# `make` alone prints the commands. Every command makes the Python environment first, where it is missing or old.
SHELL := /bin/sh
PYTHON := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help env test-env up test test-compose attack lint docs lock

help:  ## print these commands
	@echo "make COMMAND [ARGS='…']"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env:  ## make .venv from requirements.lock (quick when nothing changed)
	@sh deploy/bootstrap.sh env

# The same with the tests' tools. Without `##`: `test` and `lint` ask for it by themselves.
test-env:
	@sh deploy/bootstrap.sh test-env

# exec: no shell stands between make and the platform, so one Ctrl-C is one signal and the exit code is its own.
up: env  ## run the whole platform on this machine; Ctrl-C stops it
	@exec $(PYTHON) -m deploy.local up $(ARGS)

# Two workers; the stories of one platform stay together on one (tests/conftest.py).
test: test-env  ## run every test (ARGS="tests/billing -k refund" runs some)
	@sh deploy/bootstrap.sh test-needs
	@exec $(PYTHON) -m pytest -n 2 --dist loadgroup $(ARGS)

# Everything else about a run follows from its seed.
GIVEN_SEED := $(SEED)
SEED := $(or $(SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))
CASES ?= 100000
attack: test-env  ## send 100,000 generated requests (CASES=5000 fewer, SEED=7 the same ones again)
	@sh deploy/bootstrap.sh test-needs
	@echo "make attack CASES=$(CASES) SEED=$(SEED)"
	@ATTACK_CASES=$(CASES) ATTACK_SEED=$(SEED) exec $(PYTHON) -m pytest -n 2 --dist loadgroup \
		tests/attacks/test_generated_requests.py $(ARGS)

# What is killed when follows from the seed. `make test` kills the same each time, unless it is given another.
test: export CHAOS_SEED := $(or $(GIVEN_SEED),1)
chaos: export CHAOS_SEED := $(SEED)
chaos: export CHAOS_LONG := 1
chaos: test-env  ## kill every part under load, for long (SEED=7 the same kills again)
	@sh deploy/bootstrap.sh test-needs
	@exec $(PYTHON) -m pytest $(or $(filter tests/%,$(ARGS)),tests/chaos) $(filter-out tests/%,$(ARGS))

test-compose: test-env  ## run the stories against containers, one a service (deploy/compose); builds their images
	@exec $(PYTHON) -m pytest -m compose tests/journeys tests/compose $(ARGS)

lint: test-env  ## check style, likely bugs and types
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy

docs: env  ## write the generated documents again (events, AsyncAPI, OpenAPI, who may what)
	@$(PYTHON) -m deploy.catalogue $(ARGS)
	@$(PYTHON) -m deploy.openapi $(ARGS)
	@exec $(PYTHON) -m deploy.access_table $(ARGS)

# No index address may enter a lock: the same file has to work with every machine's own registry settings.
COMPILE = $(PYTHON) -m uv pip compile pyproject.toml --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --quiet
lock: test-env  ## write both locks again from pyproject.toml (ARGS="--upgrade" takes newer versions)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv  # only whoever renews the locks needs it
	@$(COMPILE) --extra embedded -o requirements.lock $(ARGS)
	@exec $(COMPILE) --extra embedded --extra test -c requirements.lock -o requirements-test.lock $(ARGS)
