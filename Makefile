# Every target installs what it needs into .venv; only Python (3.11 or newer) and make must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/inference-autoscaler
TOOLS_VERSION := v1.36.3
TRACES ?= ../shared/traces
SIDE_BY_SIDE := -n auto --dist worksteal
SEEDS ?= 1000
FIRST ?= 0
OUTPUT ?= simulations/SCOREBOARD.md

.PHONY: help install demo quick test check seeded e2e nightly scoreboard scoreboard-page cluster-tools lock clean

help: ## what there is
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

install: $(STAMP) ## the locked environment, in .venv

$(STAMP): locks/dev.txt pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  VIRTUAL_ENV=$(VENV) uv pip install --quiet --require-hashes -r locks/dev.txt && \
	  VIRTUAL_ENV=$(VENV) uv pip install --quiet --no-deps --no-build-isolation -e . ; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch $@

demo: $(STAMP) ## the real daemon on a cluster in a box, then a day against the baselines
	$(BIN)/autoscaler demo
	$(BIN)/autoscaler simulate generate:diurnal \
	  --policy inference-aware --policy static-peak --policy hpa --policy keda

check: $(STAMP) ## lint, format, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

quick: $(STAMP) ## every test that is not marked slow, on all cores: under a minute
	$(BIN)/pytest -m "not slow" $(SIDE_BY_SIDE) -q

test: check ## check, then every test that needs no cluster, on all cores
	$(BIN)/pytest -m "not alone" $(SIDE_BY_SIDE)
	$(BIN)/pytest -m alone

seeded: $(STAMP) ## the whole daemon in simulated time, faults drawn from a seed: SEEDS=1000, FIRST=0 (20 minutes)
	$(BIN)/python -m tests.seeded --seeds $(SEEDS) --first $(FIRST)

e2e: $(STAMP) ## end to end on a real cluster (root, runc; see tests/e2e/README.md)
	tests/e2e/run

nightly: check ## what test and e2e run, all of it: every row, ten times the examples (an hour)
	TESTS=night $(BIN)/pytest -m "not alone" $(SIDE_BY_SIDE)
	TESTS=night $(BIN)/pytest -m alone
	TESTS=night $(MAKE) e2e

scoreboard: $(STAMP) ## every policy on every recording (hours; resumes): TRACES=folder, ONLY="entry …" to see some, OURS=1 for our rows alone
	@$(BIN)/python -m simulations.studies.scoreboard --traces $(TRACES) $(addprefix --only ,$(ONLY)) \
	  $(addprefix --rows ,$(ROWS)) $(if $(OURS),--ours) -o $(OUTPUT)

scoreboard-page: $(STAMP) ## the scoreboard's page of the rows that are kept, without a run
	@$(BIN)/python -m simulations.studies.scoreboard --page --readme README.md -o $(OUTPUT)

cluster-tools: ## Kubernetes and containerd as Go tools, into a cache outside the clone (10 minutes once)
	tests/e2e/cluster/build-kubernetes.sh --nodes $(CACHE)/cluster-tools-$(TOOLS_VERSION) $(TOOLS_VERSION)

lock: $(STAMP) ## pin anew: versions and hashes, no index
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" pyproject.toml --extra dev locks/build.in -o locks/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" pyproject.toml locks/build.in -o locks/daemon.txt

clean: ## the environment and all caches inside the clone
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
