# Every line of this file also works on a bare Debian 12: .ci/need installs the tools that are missing, pip the packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)
PYTEST := $(BIN)/pytest -q
# Seconds for `make fuzz`; packets for `make fuzz-long`; messages for `make fuzz-dns`; rounds for `make bench`; more arguments for `make run` (ARGS='-c /etc/nat64d/nat64d.toml').
SECONDS ?= 60
ROUNDS ?= 3
PACKETS ?= 1000000
MESSAGES ?= 10000000
ARGS ?=

export PYTHON
.DEFAULT_GOAL := help
.NOTPARALLEL:

##@ Use
run: $(VENV)/.run  ## run the gateway on this host (built-in default; ARGS='-c FILE' for a config)
	$(AS_ROOT) $(BIN)/nat64d run $(ARGS)

demo: $(VENV)/.run tools-demo  ## show it without touching the host: everything in network namespaces
	$(AS_ROOT) $(BIN)/nat64d demo

##@ Develop
test: check test-jit test-nojit test-bounds  ## everything CI runs: check, then the suite three ways
	@echo "== all green"

check: $(VENV)/.test  ## formatter, linter, types
	@echo "== check: ruff format, ruff, mypy"
	@$(BIN)/ruff format --check --quiet . || { echo "Run: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

test-jit: $(VENV)/.test tools-e2e  ## the suite as it runs in production, with the end-to-end part when root
	@echo "== suite, compiled"
	@$(PYTEST)

test-nojit: $(VENV)/.test  ## the unit part in plain Python, with branch coverage
	@echo "== unit part, plain Python"
	@NUMBA_DISABLE_JIT=1 $(PYTEST) -m "not e2e and not bench and not slow" --ignore=tests/test_architecture.py \
		--cov --cov-report=term:skip-covered

test-bounds: $(VENV)/.test  ## whatever runs compiled code, with bounds checks
	@echo "== compiled code, with bounds checks"
	@NUMBA_BOUNDSCHECK=1 $(PYTEST) tests/translator tests/fuzz tests/test_golden.py tests/test_oracle.py \
		tests/nat64d/test_coalesce.py tests/nat64d/test_replay*.py

e2e: $(VENV)/.test tools-e2e  ## only the end-to-end part (root)
	@$(AS_ROOT) $(PYTEST) -m e2e

fuzz: $(VENV)/.test  ## hostile packets for SECONDS=60, plain and with bounds checks
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)
	@NUMBA_BOUNDSCHECK=1 $(BIN)/python -m tests.fuzz --seconds $(SECONDS)

fuzz-dns: $(VENV)/.test  ## MESSAGES=10000000 hostile DNS messages, to both sides of the name server, on all cores
	@$(BIN)/python -m tests.fuzz.dns --messages $(MESSAGES)

fuzz-long: $(VENV)/.test  ## PACKETS=1000000 packets through the translator and the oracle, on all cores
	@$(BIN)/python -m tests.fuzz_long --packets $(PACKETS)

bench: $(VENV)/.test tools-bench  ## against kernel forwarding, tayga and (names) unbound, ROUNDS=3 alternating rounds (root)
	@$(AS_ROOT) $(BIN)/python -m tests.bench --rounds $(ROUNDS)

replay: $(VENV)/.run  ## every golden capture through the pipeline, byte for byte
	@$(BIN)/python -m tests.golden

replay-generic: $(VENV)/.run  ## the same with code compiled for another processor, which must make no difference
	@NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES= NAT64D_CACHE=$(VENV)/generic $(BIN)/python -m tests.golden

bench-dns: $(VENV)/.test tools-bench  ## only the name server against unbound, ROUNDS=3 (root)
	@$(AS_ROOT) $(BIN)/python -m tests.bench.dns --rounds $(ROUNDS)
	@$(AS_ROOT) $(BIN)/python -m tests.bench.beside --rounds $(ROUNDS)

bench-replay: $(VENV)/.test  ## how fast a million packets replay
	@$(BIN)/python -m tests.bench.replay

readme: $(VENV)/.test  ## write the generated tables of README.md anew
	@$(BIN)/python -m tests.readme

side: $(VENV)/.test tools-e2e  ## nat64d's name server, unbound and BIND before one difficult server: writes docs/dns64.md
	@$(BIN)/python -m tests.dns64.side --write

clean:  ## remove what the other targets made
	rm -rf $(VENV) build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

# The two installations: what the gateway needs, and what its tests need on top. Made again when pyproject.toml changes.
$(VENV)/.run: pyproject.toml $(BIN)/python
	@echo "Installing nat64d into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: pyproject.toml $(BIN)/python
	@echo "Installing nat64d and its test tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $(VENV)/.run $@

# On x86_64 every package comes ready-made; elsewhere python-pytun is compiled.
COMPILER := $(if $(filter x86_64,$(shell uname -m)),,python3-dev gcc libc6-dev)

$(BIN)/python:
	@.ci/need python3 python3-venv ca-certificates $(COMPILER)
	@$(PYTHON) -m venv $(VENV)

tools-demo:
	@.ci/need iproute2 curl

tools-e2e:
	@[ "$$(id -u)" != 0 ] || .ci/need iproute2 curl iputils-ping traceroute ethtool nftables openssl unbound bind9 bind9-dnsutils radvd

tools-bench:
	@.ci/need iproute2 iperf3 tayga ethtool unbound dnsperf

.PHONY: run demo test check test-jit test-nojit test-bounds e2e fuzz fuzz-dns fuzz-long bench bench-dns replay replay-generic bench-replay readme side clean help tools-demo tools-e2e tools-bench
