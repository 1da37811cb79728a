# Everything goes through .venv; PYTHON is the interpreter that makes it.
# Hundreds of processes are started by the tests; each would compile our modules again if it could not keep what it made.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
ARGS ?=

# Read here and written to .venv/.installed: set up again only when what is to be installed has changed.
INSTALLED := .venv/.installed
# There until .venv has all it needs: one whose making was interrupted is made anew.
UNFINISHED := .venv/.unfinished
# svc-infra and fin-infra live here: they want other versions of some packages than those that we are tested with.
BESIDE := .venv-integrations/bin/python -m
# The generators of clients, and below node those that npm installs.
CLIENTS := .venv-clients
FUZZ := .venv-fuzz
PACKAGES := api benchmarks core milepost schedules worker

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test properties test-integrations test-clients fuzz check sync-client bench bench-days bench-manager bench-worst bench-banks bench-deliveries berka chaos clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED) ## make .venv and install Milepost in it (the other targets do it when needed)
	@:

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: Python 3.11 or newer is needed; name one with PYTHON=..."; exit 1; }
	@if test -e $(UNFINISHED) || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then \
		echo "making .venv"; \
		rm -rf .venv && mkdir .venv && touch $(UNFINISHED) && $(PYTHON) -m venv .venv; \
	fi
	@.venv/bin/python scripts/install.py -e '.[dev]' -c constraints.txt
	@rm -f $(UNFINISHED) && touch $(INSTALLED)

run: setup ## start everything with a demo to look at; Ctrl-C ends it (ARGS="--port 0 --data-dir DIR")
	@exec .venv/bin/milepost up --demo $(ARGS)

test: setup ## run the tests (ARGS="tests/unit -k money")
	@exec .venv/bin/python -m pytest $(ARGS)

properties: setup ## run the property tests with twenty times as many examples
	@EXAMPLES_TIMES=20 exec .venv/bin/python -m pytest -m hypothesis $(ARGS)

# With PINNED=1 the versions are those that these tests last passed with. Else the two are looked up first and then asked
# for by number, or older ones would be taken without a word. All that they want takes pip a quarter of an hour to fit
# together, and uv two seconds.
test-integrations: ## run the tests beside the newest svc-infra and fin-infra (PINNED=1: those of .ci/run)
	@$(BESIDE) pip --version >/dev/null 2>&1 || \
		{ echo "making .venv-integrations"; rm -rf .venv-integrations; $(PYTHON) -m venv .venv-integrations; }
ifdef PINNED
	@.venv-integrations/bin/python scripts/install.py -e . hypothesis pytest svc-infra fin-infra \
		-c constraints-integrations.txt
else
	@echo "looking up svc-infra and fin-infra"
	@$(BESIDE) pip install --quiet --disable-pip-version-check --upgrade --no-deps svc-infra fin-infra
	@.venv-integrations/bin/python scripts/install.py -e . hypothesis pytest \
		$$($(BESIDE) pip list --format=freeze | grep -E '^(svc|fin)-infra==')
endif
	@exec $(BESIDE) pytest -o addopts= -q --strict-markers --import-mode=importlib tests/integrations $(ARGS)

test-clients: setup ## generate clients from the OpenAPI text in Python and TypeScript, use them, and run the examples of Node.js (needs npm)
	@command -v npm >/dev/null || { echo "make: npm is needed, and with it Node.js 20 or newer"; exit 1; }
	@$(CLIENTS)/bin/python -m pip --version >/dev/null 2>&1 || \
		{ echo "making $(CLIENTS)"; rm -rf $(CLIENTS); $(PYTHON) -m venv $(CLIENTS); }
	@$(CLIENTS)/bin/python scripts/install.py mypy openapi-python-client -c constraints-clients.txt
	@mkdir -p $(CLIENTS)/node && cp tests/clients/typescript/package*.json $(CLIENTS)/node
	@echo "installing with npm"
	@npm ci --prefix $(CLIENTS)/node --no-audit --no-fund --loglevel=error
	@CLIENTS=$(CURDIR)/$(CLIENTS) exec .venv/bin/python -m pytest -n 0 tests/clients tests/delivery/test_examples.py $(ARGS)

fuzz: setup ## schemathesis against a running Milepost (ARGS="--seconds 600 --seed 1")
	@$(FUZZ)/bin/python -m pip --version >/dev/null 2>&1 || \
		{ echo "making $(FUZZ)"; rm -rf $(FUZZ); $(PYTHON) -m venv $(FUZZ); }
	@$(FUZZ)/bin/python scripts/install.py schemathesis==4.32.5
	@exec .venv/bin/python -m tests.fuzz $(CURDIR)/$(FUZZ)/bin/schemathesis $(ARGS)

check: setup ## lint, types and import contracts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

sync-client: setup ## generate milepost/sync from milepost/client
	@.venv/bin/python -m tests.sync_client

bench: setup ## measure how fast events are applied (ARGS="--quick")
	@exec .venv/bin/python -m benchmarks $(ARGS)

bench-days: setup ## measure what closing days and late facts cost (ARGS="--goals 100000 --late 2000")
	@exec .venv/bin/python -m benchmarks.days $(ARGS)

bench-manager: setup ## measure how fast the Python interface sets amounts (ARGS="--rounds 1000")
	@exec .venv/bin/python -m benchmarks.manager $(ARGS)

bench-worst: setup ## measure what the least usual batches cost (ARGS="--rows 5000 --history 20000")
	@exec .venv/bin/python -m benchmarks.worst $(ARGS)

bench-banks: setup ## count the amounts that stay wrong as banks give dates only (ARGS="--accounts 100")
	@exec .venv/bin/python -m benchmarks.banks $(ARGS)

bench-deliveries: setup ## measure how fast messages reach endpoints (ARGS="--messages 20000 --for-s 30")
	@exec .venv/bin/python -m benchmarks.deliveries $(ARGS)

berka: setup ## replay real bank data in five ways and check every figure (ARGS="FOLDER --accounts 25")
	@exec .venv/bin/python -m tests.berka $(ARGS)

chaos: setup ## kill everything in turn under load and check every amount (ARGS="--seed 1 --minutes 10")
	@exec .venv/bin/python -m tests.chaos $(ARGS)

clean: ## remove .venv, caches and build products (not the data)
	@rm -rf .venv .venv-integrations $(CLIENTS) $(FUZZ) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find $(PACKAGES) tests examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
