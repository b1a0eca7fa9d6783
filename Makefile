# The one task runner. `make help` lists what there is; CI types nothing that you cannot.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARCHIVES ?= model_repository/archives
PORT ?= 8080
SERVE_FLAGS ?=
GPU_ARCHIVES ?= model_repository/gpu-archives
CHECK_FLAGS ?=
BENCH_FLAGS ?=
TRITON := .triton
# Long files first, so that none is left over when the other worker is done.
WAITING_TESTS := tests/integration tests/differential tests/gpu tests/blackbox

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.runtime: pyproject.toml $(wildcard server/engines/embedded/split_products/*.[ch])
	@echo "== environment: creating $(VENV) (torch's CPU build is the largest part; about two minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[builders,dali,demo]"
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "== environment: test tools"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[builders,dali,demo,dev]"
	@touch $@

.PHONY: setup
setup: $(VENV)/.dev ## make the environment, with everything a developer needs

.PHONY: archives
archives: $(VENV)/.runtime ## build the demo archives (real all-MiniLM-L6-v2) into model_repository/archives
	@$(BIN)/roundhouse build demo --output $(ARCHIVES)

.PHONY: serve
serve: archives ## build what is missing and serve the demo archives on port 8080
	@$(BIN)/roundhouse serve --store $(ARCHIVES) --port $(PORT) $(SERVE_FLAGS)

.PHONY: demo
demo: archives ## start a server on a free port, send the README's requests, print the answers, stop
	@$(BIN)/roundhouse demo --store $(ARCHIVES)

$(TRITON)/.installed: | $(VENV)/.runtime
	@$(BIN)/python -m server.engines.triton.install $(TRITON)
	@touch $@

.PHONY: triton
triton: $(TRITON)/.installed ## install a real Triton (the one inside the nvidia-pytriton wheel) into .triton

.PHONY: format
format: $(VENV)/.dev ## rewrite the code in the house's format
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

.PHONY: check
check: $(VENV)/.dev ## format, lint, types and layers, without running a test
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check .
	@$(BIN)/mypy server builders benchmarks
	@$(BIN)/lint-imports --no-cache

.PHONY: test
test: $(VENV)/.dev ## make the environment and run all tests
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check archives triton
	@$(BIN)/pytest -n 2 --dist loadfile tests/architecture tests/contract tests/property tests/unit
	@$(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder $(WAITING_TESTS)

.PHONY: test-fast
test-fast: $(VENV)/.dev ## the tests that need neither Triton nor a built model
	@$(BIN)/pytest -m "not triton and not builders and not slow"

.PHONY: golden
golden: $(VENV)/.dev ## rewrite the golden files; read the diff before you commit it
	@ROUNDHOUSE_REWRITE_GOLDEN=1 $(BIN)/pytest -q tests/unit tests/architecture -k golden

$(VENV)/.bench: $(VENV)/.dev
	@echo "== environment: MLPerf's load generator"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[bench]"
	@touch $@

.PHONY: wrk
wrk: $(VENV)/.runtime ## unpack wrk, a load generator in C, into var/wrk (needs apt, not root)
	@$(BIN)/python -m benchmarks.load.install

.PHONY: bench
bench: archives $(VENV)/.bench ## measure every scenario in small (a quarter of an hour); report in benchmarks/results/quick
	@$(BIN)/python -m benchmarks.load.install || echo "== without wrk: closed loops by a client in Python"
	@$(BIN)/python -m benchmarks --quick $(BENCH_FLAGS)

.PHONY: many-models
many-models: archives $(VENV)/.dev ## serve a week of traffic for 2,000 archives from room for 8 bases (40 minutes)
	@$(BIN)/python -m benchmarks.scenarios.many_models

.PHONY: simulate
simulate: $(VENV)/.runtime ## replay a week of traffic on ten thousand archives against each eviction policy (a minute)
	@$(BIN)/python -m benchmarks.simulate

.PHONY: full-size
full-size: archives ## build, serve and ask each full-size model once (half an hour, 12 GB); recorded in benchmarks/results
	@$(BIN)/python -m benchmarks.full_size

.PHONY: gpu-archives
gpu-archives: $(VENV)/.runtime ## build archives for a GPU host (needs no GPU)
	@$(BIN)/roundhouse build sentence-embedding --name minilm --target gpu --precision fp16 -o $(GPU_ARCHIVES)/minilm.tar.gz
	@$(BIN)/roundhouse build image-classification --weights efficientnet-lite0 --target gpu -o $(GPU_ARCHIVES)/efficientnet-lite0.tar.gz

.PHONY: gpu-check
gpu-check: archives gpu-archives ## on a GPU host with Docker: parity and speed of each family, one report
	@docker/gpu_check.sh $(GPU_ARCHIVES) $(ARCHIVES) $(CHECK_FLAGS)

.PHONY: ci
ci: test ## what CI runs

.PHONY: clean
clean: ## remove environment, Triton, archives and caches
	rm -rf $(VENV) $(TRITON) $(ARCHIVES) var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
