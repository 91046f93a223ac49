# A fresh machine with Python 3.11 or newer needs nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
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
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[all]'
	touch $@

$(VENV)/dev.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV) gateway-data fuzz-failures .pytest_cache .mypy_cache .ruff_cache
