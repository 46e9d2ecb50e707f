# Everything a person or CI runs. Each target installs what it needs (Debian packages, and Python clients into target/venv).

SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
VENV := $(TARGET)/venv

.PHONY: help
help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: demo
demo: packages build ## A cluster on this machine runs a guestbook: apply, reach, scale, roll out, roll back
	PONTOON=$(TARGET)/debug/pontoon examples/guestbook/demo.sh

.PHONY: test
test: packages clients ## All tests: unit, property, scripted, and end to end with real clients
	PONTOON_VENV=$(abspath $(VENV)) $(CARGO) test --workspace

.PHONY: quick
quick: packages ## The tests that need no cluster: about a minute once built
	$(CARGO) test --workspace --lib

.PHONY: verify
verify: packages clients ## Only looks: format, lints, documentation, tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
	PONTOON_VENV=$(abspath $(VENV)) $(CARGO) test --workspace

.PHONY: fix
fix: packages ## Formats, and applies what clippy can mend
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

# The same packages each time, so that dependencies get the same features and are built once.
MEASURED := -p pontoon -p pontoon-dns -p pontoon-scheduler -p pontoon-tests

.PHONY: bench
bench: ## Measures; docs/benchmarks.md says what and how. BENCH="writes --quick" for a part of it
	@deploy/packages.sh --bench
	$(CARGO) build --release $(MEASURED) --bin pontoon --bench throughput --bench queries --bench cluster
	$(CARGO) bench $(MEASURED) --bench throughput --bench queries
	$(CARGO) bench $(MEASURED) --bench cluster -- $(BENCH)

.PHONY: sim
sim: packages ## Simulated clusters under faults: SEEDS=10000 of them, each a run of its own
	$(CARGO) run --profile sim -p pontoon-sim -- --seeds $(or $(SEEDS),1000) --keep-going $(SIM)

.PHONY: seeded-bugs
seeded-bugs: packages ## Builds known mistakes in, one after the other: the simulation must catch each
	$(CARGO) test --profile sim -p pontoon-sim --features seeded-bugs --test seeded_bugs

.PHONY: chaos
chaos: packages ## Breaks three real servers for ten minutes with root, and judges what clients saw: CHAOS="--seed 1"
	$(CARGO) build -p pontoon -p pontoon-campaign
	$(TARGET)/debug/chaos --servers 3 --seconds 600 --out $(TARGET)/chaos $(CHAOS)

.PHONY: build
build: packages
	$(CARGO) build -p pontoon

.PHONY: packages
packages:
	@deploy/packages.sh

.PHONY: clients
clients: $(VENV)/.ready

$(VENV)/.ready: tests/clients.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement tests/clients.txt
	touch $@
