# Ferry. `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-nights soak model lint format stack stop bench docs lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_PROCESSES ?= 4
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1
# All servers are on this machine: a proxy elsewhere reaches none of them.
THEIRS := $(or $(no_proxy),$(NO_PROXY))
COMMA := ,
export NO_PROXY := $(if $(filter *,$(THEIRS)),*,$(if $(THEIRS),$(THEIRS)$(COMMA))127.0.0.1,localhost)
export no_proxy := $(NO_PROXY)
# What is compiled once is kept, whatever this machine says: the tests' own processes are hundreds.
export PYTHONDONTWRITEBYTECODE :=

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and "Ferry needs Python 3.11 to 3.14 (3.14 is untested); try: make PYTHON=python3.12 …")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "Installing what Ferry needs into $(VENV) (once)…"
	@PIP_USER=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	@echo "Installing what its tests need into $(VENV) (once)…"
	@PIP_USER=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

demo: $(VENV)/.installed ## Carry a small shop from SQLite to DuckDB, and tell the story
	@$(BIN)/python -m deployments.demo

test-fast: $(VENV)/.installed-dev ## Test what needs no program but Python, for every save (two minutes)
	$(BIN)/python -m pytest -m embedded -n 2 --dist worksteal tests/ferry tests/blocks tests/tasks tests/flows $(ARGS)

test: $(VENV)/.installed-dev ## Set up everything for the tests, and run them
	@$(PYTHON) -m deployments.local.programs
	@$(PYTHON) -m deployments.local.mysql_program
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

test-nights: $(VENV)/.installed-dev ## Run what takes long: chance, kills, nights, many examples (docs/reliability.md)
	@$(PYTHON) -m deployments.local.programs
	@$(PYTHON) -m deployments.local.mysql_program
	$(BIN)/python -m pytest -m nights $(ARGS)
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=nights $(ARGS)

soak: $(VENV)/.installed-dev ## Kill and restart everything for an hour (ARGS="--minutes 60 --seed 7")
	@$(PYTHON) -m deployments.local.programs
	$(BIN)/python -m tests.soak $(ARGS)

model: $(VENV)/.installed-dev ## Let thousands of simulated fortnights pass (ARGS="--worlds 100 --seed 7")
	$(BIN)/python -m tests.model $(ARGS)

lint: $(VENV)/.installed-dev ## ruff, mypy, the import boundaries, and what keeps the pages true
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@echo "every test can be imported"; found=$$($(BIN)/python -m pytest -q --collect-only 2>&1) || { echo "$$found" | tail -40; exit 1; }
	$(BIN)/python -m pytest -q tests/deployments/test_map.py tests/deployments/test_described.py tests/test_links.py tests/test_guarantees.py tests/test_nights.py

format: $(VENV)/.installed-dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

stack: $(VENV)/.installed-dev ## Bring up MariaDB, S3, the Redshift double, Prefect and its workers
	@$(PYTHON) -m deployments.local.programs
	@$(BIN)/python -m deployments.local.stack up

stop: ## Take down what `make stack` started
	@$(BIN)/python -m deployments.local.stack down

bench: $(VENV)/.installed-dev ## Measure speed and memory against the floor and the peers
	@$(PYTHON) -m deployments.local.programs
	$(BIN)/python -m deployments.bench $(ARGS)

docs: $(VENV)/.installed ## Write the map of the code, the tables and the JSON Schemas anew
	$(BIN)/python -m deployments.map
	$(BIN)/python -m deployments.export_schema

lock: ## Resolve the dependencies anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## Remove the demo's data and the virtual environment
	rm -rf .ferry/demo $(VENV)
