# make demo | test | lint | bench | fuzz | soak : each does its own set-up.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.stamp

.PHONY: setup demo test lint bench fuzz soak peers clean
setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt scripts/setup.sh scripts/console-files.sh guidance/console/package-lock.json
	@sh scripts/setup.sh "$(PYTHON)"
	@touch $(STAMP)

demo: setup
	$(BIN)/guidance demo $(PROCEDURE) $(ARGS)

peers: setup
	@sh scripts/install-peers.sh

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Side by side what only computes, then alone what needs its time. Words in ARGS may leave one of the two empty.
PYTEST = $(BIN)/python -m pytest
OR_NONE = $(if $(ARGS),|| [ $$? -eq 5 ])
test: peers lint
	$(PYTEST) -m "not live" -n logical --maxprocesses 4 --dist worksteal $(ARGS) $(OR_NONE)
	$(PYTEST) -m live $(ARGS) $(OR_NONE)

bench: setup
	$(BIN)/guidance bench $(ARGS)

fuzz: setup
	$(BIN)/python -m pytest tests/fuzz --fuzz $(ARGS)

soak: setup
	$(BIN)/python -m pytest tests/soak --soak $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
