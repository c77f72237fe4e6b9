# `make` alone prints the commands. Every command makes the Python environment first, where it is missing or old.
SHELL := /bin/sh
PYTHON := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help env up test lint docs lock

help:  ## print these commands
	@echo "make COMMAND [ARGS='…']"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env:  ## make .venv from requirements.lock (quick when nothing changed)
	@sh deploy/bootstrap.sh env

# exec: no shell stands between make and the platform, so one Ctrl-C is one signal and the exit code is its own.
up: env  ## run the whole platform on this machine; Ctrl-C stops it
	@exec $(PYTHON) -m deploy.local up $(ARGS)

# Two workers; the stories of one platform stay together on one (tests/conftest.py).
test: env  ## run every test (ARGS="tests/billing -k refund" runs some)
	@sh deploy/bootstrap.sh test-needs
	@exec $(PYTHON) -m pytest -n 2 --dist loadgroup $(ARGS)

lint: env  ## check style, likely bugs and types
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy

docs: env  ## write the generated documents again (events, AsyncAPI, OpenAPI)
	@$(PYTHON) -m deploy.catalogue $(ARGS)
	@exec $(PYTHON) -m deploy.openapi $(ARGS)

# No index address may enter the lock: the same file has to work with every machine's own registry settings.
lock: env  ## write requirements.lock again from pyproject.toml (ARGS="--upgrade" takes newer versions)
	@exec $(PYTHON) -m uv pip compile pyproject.toml --extra embedded --extra test --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet -o requirements.lock $(ARGS)
