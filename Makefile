# A fresh machine with Python 3.11 or newer needs nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
IS_NEW_ENOUGH = import sys; sys.exit(sys.version_info < (3, 11))
VERSION = import sys; print("%d.%d" % sys.version_info[:2])
# Tests mostly wait: more processes than cores.
PROCESSES ?= 4
SOAK_MINUTES ?= 5
SOAK_STORE ?= one-node
# The longest that all fuzzers may take. An empty seed is chosen at random and printed.
FUZZ_SECONDS ?= 600
FUZZ_SEED ?=

.PHONY: run test soak fuzz lint format screenshots bench clean

run: $(VENV)/run.stamp
	$(BIN)/gateway demo

test: $(VENV)/dev.stamp
	$(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile $(TESTS)

soak: $(VENV)/dev.stamp
	$(BIN)/python -m tests.faults.soak --minutes $(SOAK_MINUTES) --store $(SOAK_STORE)

fuzz: $(VENV)/dev.stamp
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

screenshots: $(VENV)/dev.stamp
	$(BIN)/python -m tests.support.screenshots docs/images

bench: $(VENV)/dev.stamp
	$(BIN)/python bench/run.py

$(VENV)/run.stamp: pyproject.toml
	$(MAKE_VENV)
	$(PIP_INSTALL) --editable '.[all]'
	touch $@

$(VENV)/dev.stamp: pyproject.toml
	$(MAKE_VENV)
	$(PIP_INSTALL) --editable '.[dev]'
	touch $@ $(VENV)/run.stamp

# A folder that an older Python made, or that has no pip, is made anew. Nothing else is emptied.
define MAKE_VENV
@if $(BIN)/python -c '$(IS_NEW_ENOUGH)' 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1; then :; \
elif ! $(PYTHON) -c '$(IS_NEW_ENOUGH)'; then \
	echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -c '$(VERSION)' 2>/dev/null || echo missing)." >&2; \
	echo "Name a newer one: make $(or $(MAKECMDGOALS),run) PYTHON=python3.13" >&2; \
	exit 1; \
else \
	$(PYTHON) -m venv $$(test ! -f $(VENV)/pyvenv.cfg || echo --clear) $(VENV); \
fi
endef

clean:
	rm -rf $(VENV) gateway-data gateway-demo fuzz-failures .pytest_cache .mypy_cache .ruff_cache
