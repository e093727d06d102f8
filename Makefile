# Two commands for a fresh machine with Python 3.11+: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_FLAGS := --quiet --disable-pip-version-check

LOWEST := .venv-lowest
# Models that ship: those of models/ that have been made (docs/models.md).
SHIPPED := $(wildcard models/*/pyproject.toml)
# What `make test-lowest` hands to pytest besides, e.g. TESTS=tests/serving.
TESTS :=

.PHONY: install demo test test-lowest lint docs site clean
.DEFAULT_GOAL := install

install: $(STAMP)

# constraints.txt pins every package, torch among them: an open range may pull gigabytes of CUDA libraries.
# natasha comes without its requirements, which own the same module as pymorphy3's: its files are all we read.
$(STAMP): pyproject.toml constraints.txt $(SHIPPED)
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "slonik needs Python 3.11 or newer"'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt --no-deps natasha
	$(foreach model,$(dir $(SHIPPED)),$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps -e ./$(model) &&) true
	touch $(STAMP)

demo: install
	$(BIN)/slonik demo

# As many processes as processors, one thread each.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

# The tests on the lowest versions that pyproject.toml declares (torch excepted, see .ci/lowest.py).
test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest $(TESTS)

$(LOWEST)/.installed: pyproject.toml constraints.txt .ci/lowest.py $(SHIPPED)
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python .ci/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install $(PIP_FLAGS) -c $(LOWEST)/constraints.txt -e '.[dev]'
	$(LOWEST)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt --no-deps natasha
	$(foreach model,$(dir $(SHIPPED)),$(LOWEST)/bin/python -m pip install $(PIP_FLAGS) --no-deps -e ./$(model) &&) true
	touch $(LOWEST)/.installed

lint: install
	$(BIN)/ruff check src tests benchmarks recipes
	$(BIN)/mypy --num-workers auto

# The site, offline; a warning is an error.
docs: install
	$(BIN)/sphinx-build -q -W --keep-going -b html docs site

# The same, and beside it in site/board the board of everything that was measured here (runs/, models/).
site: docs
	$(BIN)/slonik board runs models --out site/board --title "slonik's board" --overwrite \
		--about "Everything measured in this repository, beside what others published."

clean:
	rm -rf $(VENV) $(LOWEST) site .ruff_cache .mypy_cache
