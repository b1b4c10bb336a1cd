# Everything here also works on a bare Debian 12: .ci/need installs missing programs, pip the Python packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHIPPED := nat64d/dataplane/bpf/fastpath-*.bpf
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)
PYTEST := $(BIN)/pytest -q --durations=40
# Seconds of `make fuzz` and `make workers`, packets of `make fuzz-long`, files of `make mutants` and where their tests are, messages of `make fuzz-dns`, rounds of `make bench`;
# more arguments of `make run` and `make bench-path` (ARGS='-c /etc/nat64d/nat64d.toml').
SECONDS ?= 60
ROUNDS ?= 3
PACKETS ?= 1000000
MODULES ?=
TESTS ?= tests/translator
MESSAGES ?= 10000000
ARGS ?=
# How many passes of `make test` run at a time: three more than there are processors, as the end-to-end part mostly waits.
JOBS ?= $(shell expr $$(nproc) + 3)
# Passes that only compute leave the processors to those that others wait for: end to end, and what is compiled for it.
COMPUTES = $(if $(SIDE_BY_SIDE),nice -n 10)

export PYTHON
# Tests start hundreds of processes: without this, in some containers each of them would compile every module it imports.
export PYTHONDONTWRITEBYTECODE :=
.DEFAULT_GOAL := help
ifndef SIDE_BY_SIDE
.NOTPARALLEL:
endif

##@ Use
run: $(VENV)/.run  ## run the gateway on this host (built-in default; ARGS='-c FILE' for a config)
	$(AS_ROOT) $(BIN)/nat64d run $(ARGS)

demo: $(VENV)/.run tools-demo  ## show it without touching the host: everything in network namespaces
	$(AS_ROOT) $(BIN)/nat64d demo

wheel: $(VENV)/.run  ## dist/nat64d-VERSION-py3-none-any.whl, with the program of the fast path built in
	@rm -f $(SHIPPED)
	@$(BIN)/python -m nat64d.dataplane.bpf.kept
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .; made=$$?; rm -f $(SHIPPED); exit $$made

deb: tools-deb  ## dist/nat64d_VERSION_ARCHITECTURE.deb, for the release of Debian that this host has
	@config/debian/build dist

##@ Develop
test: $(VENV)/.test tools-e2e  ## everything CI runs: check, then the suite three ways, JOBS passes at a time
	@echo "== $(JOBS) passes at a time; each is shown when it ends"
	@$(MAKE) --no-print-directory --jobs=$(JOBS) --keep-going --output-sync=target SIDE_BY_SIDE=yes $(PASSES)
	@echo "== all green"

# The longest come first, and before them what e2e waits for. test-jit, test-rest and both parts of e2e wait for `compiled`; test-bounds compiles code of its own, test-nojit none.
PASSES := tools-e2e compiled test-bounds plain-branches e2e-others test-jit test-rest e2e-services plain-traffic check covered
# The tests that run code of the data plane; all others test code that is plain Python in every pass, and run once (test-rest).
# Too many packets for plain Python.
FLOODS := tests/translator/test_error_limits.py tests/test_oracle_shares.py
# BRANCHES take every branch of translator/, so that in plain Python these alone are measured, which doubles their time.
BRANCHES := $(filter-out tests/translator/test_jit% $(FLOODS),$(wildcard tests/translator/test_*.py))
# Random packets, captures, and what replays them.
TRAFFIC := tests/fuzz/test_fuzz.py $(addprefix tests/test_,case.py engines.py golden.py oracle.py oracle_error_limits.py \
	oracle_lifetimes.py) $(addprefix tests/nat64d/test_,coalesce.py replay.py replay_captures.py replay_history.py)
# They compare compiled code with code that is plain Python in every pass, or one compiled process with another.
COMPARED := $(addprefix tests/nat64d/test_,explain.py explain_live.py explain_walk.py replay_determinism.py)
# End to end, a pass of their own: e2e is mostly waiting, and the longest.
SERVED := $(wildcard tests/e2e/test_service*.py) tests/e2e/test_announce.py tests/e2e/test_client_prefix.py
# What makes up packets, histories and tables by chance, more of them than plain Python can take, and what floods.
# (The same packet with the same index outside of its array is an IndexError in plain Python too: of cases plain-branches is enough.)
BOUNDED := $(shell grep -l hypothesis $(BRANCHES)) tests/translator/test_error_limits.py tests/translator/test_reassembly.py \
	tests/fuzz/test_fuzz.py tests/test_oracle.py tests/nat64d/test_coalesce.py

check: $(VENV)/.test  ## formatter, linter, types
	@echo "== check: ruff format, ruff, mypy"
	@$(BIN)/ruff format --check --quiet . || { echo "Run: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(COMPUTES) $(BIN)/mypy

compiled: $(VENV)/.test
	@echo "== data plane, compiled for the suite and the end-to-end part"
	@$(BIN)/python -m tests.compiled_types

test-jit: compiled  ## the tests of the data plane, compiled as in production
	@echo "== data plane, compiled"
	@$(COMPUTES) $(PYTEST) $(BRANCHES) $(TRAFFIC) $(COMPARED) $(FLOODS)

test-rest: compiled  ## all other tests: of what is plain Python in every pass
	@echo "== suite without the data plane"
	@COVERAGE_FILE=.coverage.rest $(PYTEST) -m "not e2e and not bench and not slow" --cov --cov-report= \
		$(addprefix --ignore=,$(BRANCHES) $(TRAFFIC) $(COMPARED) $(FLOODS))

e2e: e2e-others e2e-services  ## real programs in network namespaces (root)

e2e-others: compiled tools-e2e
	@echo "== end to end"
	@$(if $(SIDE_BY_SIDE),,$(AS_ROOT)) $(PYTEST) -m "e2e and not slow" tests/e2e tests/dns64 $(addprefix --ignore=,$(SERVED))

e2e-services: compiled tools-e2e
	@echo "== end to end, services"
	@$(if $(SIDE_BY_SIDE),,$(AS_ROOT)) $(PYTEST) -m "e2e and not slow" $(SERVED)

# Without what says of itself that the fast path is another one: sessions that are left by a kill are not kept with it.
e2e-fastpath: compiled tools-e2e  ## the end-to-end tests with a fast path in every daemon that can have one (root)
	@$(AS_ROOT) env NAT64D_E2E_FASTPATH=on $(PYTEST) -m "not slow and e2e" tests/e2e --ignore=tests/e2e/attack
	@$(AS_ROOT) env NAT64D_E2E_FASTPATH=clsact $(PYTEST) -m "not slow and e2e" tests/e2e/test_fastpath.py tests/e2e/test_fastpath_interfaces.py

test-systemd: $(VENV)/.test tools-systemd  ## the service under a real systemd, in a Debian of its own, which is unpacked once (root)
	@$(AS_ROOT) $(PYTEST) -s -m slow tests/systemd

# On x86_64.
test-kernel: $(VENV)/.test tools-e2e tools-kernel  ## the fast path on the kernel of this release of Debian (12: 6.1), emulated by qemu; half an hour (root)
	@$(AS_ROOT) $(PYTEST) -s -m slow tests/kernels

attack: compiled tools-e2e  ## every attack on pools of every size, and a table of what others noticed (root)
	@$(AS_ROOT) env NAT64D_ATTACK_ATTEMPTS=1 $(PYTEST) -m e2e tests/e2e/attack

shows-services: compiled tools-e2e  ## [[service]] under load, and large files over narrow paths; prints what each server got (root)
	@$(AS_ROOT) $(PYTEST) -s -m slow tests/e2e/test_services_load.py tests/e2e/test_services_flips.py

shows-kubernetes: compiled tools-e2e  ## a cluster before a gateway: how soon what it says is so, and what an API server that is away costs (root)
	@$(AS_ROOT) $(PYTEST) -s -m slow tests/e2e/test_service_kubernetes_shows.py tests/e2e/test_service_controller_shows.py

shows-fastpath: compiled tools-e2e  ## [fastpath]: flows over kill -9 and a restart, and from one way to the other; prints gaps, what was lost, late or sent again (root)
	@$(AS_ROOT) $(PYTEST) -s -m slow tests/e2e/test_fastpath_restart.py tests/e2e/test_fastpath_moves.py

shows-scale-out: compiled tools-e2e tools-routing  ## two gateways behind one router, with BIRD and FRR: how soon routes and connections go elsewhere (root)
	@$(AS_ROOT) $(PYTEST) -s -m slow tests/e2e/test_scale_out.py

test-nojit: plain-branches plain-traffic  ## the tests of the data plane in plain Python

plain-branches: $(VENV)/.test
	@echo "== data plane, plain Python: every branch"
	@COVERAGE_FILE=.coverage.plain NUMBA_DISABLE_JIT=1 $(COMPUTES) $(PYTEST) --cov --cov-report= $(BRANCHES) \
		tests/translator/test_error_limits.py::test_what_the_whole_refuses_costs_its_receiver_nothing

plain-traffic: $(VENV)/.test
	@echo "== data plane, plain Python: random packets and captures"
	@NUMBA_DISABLE_JIT=1 $(COMPUTES) $(PYTEST) $(TRAFFIC)

test-bounds: $(VENV)/.test  ## random packets and histories, and floods, compiled with bounds checks
	@echo "== data plane, compiled with bounds checks"
	@NUMBA_BOUNDSCHECK=1 $(COMPUTES) $(PYTEST) --warm $(BOUNDED)

covered: test-rest plain-branches  ## test-rest and what is measured of test-nojit, then their coverage: all of translator/, most of nat64d/
	@echo "== branches covered"
	@$(BIN)/coverage combine --quiet --keep .coverage.rest .coverage.plain
	@$(BIN)/coverage report --include='translator/*' --fail-under=100
	@$(BIN)/coverage report --include='nat64d/*' --fail-under=80

fuzz: $(VENV)/.test  ## hostile packets for SECONDS=60, plain and with bounds checks
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)
	@NUMBA_BOUNDSCHECK=1 $(BIN)/python -m tests.fuzz --seconds $(SECONDS)

workers: $(VENV)/.test  ## packets through two queues at once, and reloads, listings and flushes beside them, for SECONDS=60
	@$(BIN)/python -m tests.workers --seconds $(SECONDS)

fuzz-dns: $(VENV)/.test  ## MESSAGES=10000000 hostile DNS messages, to both sides of the name server, on all cores
	@$(BIN)/python -m tests.fuzz.dns --messages $(MESSAGES)

fuzz-long: $(VENV)/.test  ## PACKETS=1000000 packets through the translator and the oracle, on all cores
	@$(BIN)/python -m tests.fuzz_long --packets $(PACKETS)

mutants: $(VENV)/.test  ## what can be broken in MODULES='translator/session …' without a test of a matrix that notices
	@$(BIN)/python -m tests.mutants $(MODULES) --tests $(TESTS)

bench: bench-path bench-core readme  ## every figure of docs/performance.md and docs/measurements.md: bench-path, bench-core, readme (root)

bench-core: $(VENV)/.test tools-bench  ## the translator in memory, and the name server against unbound in ROUNDS=3 rounds, 10 minutes: writes docs/measurements.json (root)
	@$(AS_ROOT) $(BIN)/python -m tests.bench --rounds $(ROUNDS) --output docs/measurements.json

bench-path: $(VENV)/.test tools-bench  ## packets after RFC 8219 and 9693 within 25 minutes: writes docs/performance.json (root; ARGS=--quick: a minute, ARGS='--before CHECKOUT': beside another one; both write no file)
	@$(AS_ROOT) $(BIN)/python -m tests.bench.path $(if $(findstring --quick,$(ARGS))$(findstring --before,$(ARGS)),,--output docs/performance.json) $(ARGS)

replay: $(VENV)/.run  ## every golden capture through the pipeline, byte for byte
	@$(BIN)/python -m tests.golden

replay-generic: $(VENV)/.run  ## the same with code compiled for another processor, which must make no difference
	@NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES= NAT64D_CACHE=$(VENV)/generic $(BIN)/python -m tests.golden

bench-dns: $(VENV)/.test tools-bench  ## only the name server against unbound, ROUNDS=3 (root)
	@$(AS_ROOT) $(BIN)/python -m tests.bench.dns --rounds $(ROUNDS)
	@$(AS_ROOT) $(BIN)/python -m tests.bench.beside --rounds $(ROUNDS)

bench-replay: $(VENV)/.test  ## how fast a million packets replay
	@$(BIN)/python -m tests.bench.replay

readme: $(VENV)/.test  ## write the generated tables of README.md and docs/
	@$(BIN)/python -m tests.readme

side: $(VENV)/.test tools-e2e  ## nat64d's name server, unbound and BIND before one difficult server: writes docs/dns64.md
	@$(BIN)/python -m tests.dns64.side --write

clean:  ## remove what the other targets made
	rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
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
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[test]'
	@$(BIN)/python -m compileall -qq -j0 $(VENV)/lib || true  # what pip would do on one processor; some files are of other Pythons
	@touch $(VENV)/.run $@

# On x86_64 every package comes ready-made; elsewhere python-pytun is compiled.
COMPILER := $(if $(filter x86_64,$(shell uname -m)),,python3-dev gcc libc6-dev)

$(BIN)/python:
	@.ci/need python3 python3-venv ca-certificates $(COMPILER)
	@$(PYTHON) -m venv $(VENV)

tools-demo:
	@.ci/need iproute2 curl

tools-e2e:
	@[ "$$(id -u)" != 0 ] || .ci/need iproute2 curl iputils-ping traceroute mtr-tiny ethtool nftables openssl unbound bind9 bind9-dnsutils radvd iptables chromium chromium-driver

# For the Python of the release: the package has what it depends on beside it.
tools-deb:
	@PYTHON=/usr/bin/python3 .ci/need python3 python3-venv ca-certificates $(COMPILER)

tools-systemd:
	@[ "$$(id -u)" != 0 ] || .ci/need iproute2 iputils-ping nftables debootstrap systemd-container

tools-kernel:
	@.ci/need qemu-system-x86 kmod cpio

tools-routing:
	@.ci/need iproute2 bird2 frr

tools-bench:
	@.ci/need iproute2 iperf3 tayga ethtool unbound dnsperf nftables

.PHONY: run demo wheel deb test check compiled test-jit test-nojit plain-branches plain-traffic test-bounds covered e2e e2e-fastpath test-systemd test-kernel attack shows-services shows-kubernetes shows-fastpath shows-scale-out fuzz workers fuzz-dns fuzz-long mutants bench bench-path bench-core bench-dns replay replay-generic bench-replay readme side clean help tools-demo tools-deb tools-e2e tools-systemd tools-kernel tools-routing tools-bench
