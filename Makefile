# What people and machines call. Everything else is cargo.

# The order of the steps matters: zfl carries the firmware images, so they are
# built before it.
.NOTPARALLEL:
.DEFAULT_GOAL := help

# make demo EXPERIMENT=examples/mnist.toml ARGS='--set rounds=5'
EXPERIMENT ?= examples/digits.toml
ARGS ?=

# The demo needs the boards that its experiment names and no others: to build
# for all takes minutes more.
DEMO_BOARDS = $(sort $(shell sed -n 's/^ *board = "\([a-z0-9-]*\)".*/\1/p' $(EXPERIMENT)))

ZFL := $(or $(CARGO_TARGET_DIR),target)/release/zfl
RUN_CAMPAIGN = $(dir $(ZFL))examples/campaign $(ZFL)
# Of the dependencies that are built anyway: those of zfl, or those of the tests.
PROFILE ?= --release
XTASK = cargo run --quiet $(PROFILE) --package xtask --

.PHONY: help
help: ## shows this
	@echo 'usage: make TARGET'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '  %-10s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: ## installs what is missing, builds, and runs examples/digits.toml
	@scripts/setup demo $(DEMO_BOARDS)
	@$(MAKE) --no-print-directory build-firmware BOARDS='$(DEMO_BOARDS)'
	cargo build --release --package zfl
	$(ZFL) run $(EXPERIMENT) $(ARGS)

.PHONY: test
test: ## installs what is missing, and passes all tests, those in QEMU included
	@scripts/setup test
	@scripts/test-setup
	@$(MAKE) --no-print-directory build-firmware PROFILE=
	cargo test --workspace --no-fail-fast
	cargo test --no-fail-fast --manifest-path firmware/Cargo.toml --package zfl-board-build --package zfl-firmware \
		--package zfl-bare-metal
	@$(MAKE) --no-print-directory test-browser

# Of the zfl that the tests have built.
.PHONY: test-browser
test-browser:
	cargo build --package zfl
	npm --prefix browser ci --no-audit --no-fund
	npm --prefix browser test
	scripts/check-dashboard

.PHONY: bench
bench: ## measures
	@scripts/setup demo
	@$(MAKE) --no-print-directory build-firmware
	cargo build --release --package zfl
	$(XTASK) bench $(ARGS)

# make campaign CAMPAIGN='native --seed 7 --runs 1'; both kinds where none is named.
CAMPAIGN ?=
.PHONY: campaign
campaign: ## lets everything go wrong: 200 native runs and 20 emulated ones
	@scripts/setup demo
	@$(MAKE) --no-print-directory build-firmware BOARDS=mps2-an386
	cargo build --release --package zfl
	cargo build --release --package zfl-lab --example campaign
	$(if $(CAMPAIGN),$(RUN_CAMPAIGN) $(CAMPAIGN),$(RUN_CAMPAIGN) native && $(RUN_CAMPAIGN) emulated)

.PHONY: fuzz
fuzz: ## searches for inputs that break it: ARGS='--seconds 600 --target idx'
	@scripts/setup fuzz
	cargo xtask fuzz $(ARGS)

.PHONY: setup
setup: ## installs what is missing for demo, test and lint
	@scripts/setup test
	@scripts/setup lint

.PHONY: firmware
firmware: ## builds the firmware images: target/firmware/BOARD.elf
	@scripts/setup firmware
	@$(MAKE) --no-print-directory build-firmware

# With the compiler that scripts/setup has found; all BOARDS where none is named.
BOARDS ?=
.PHONY: build-firmware
build-firmware:
	ZFL_FIRMWARE_TOOLCHAIN=$$(cat target/firmware-toolchain) $(XTASK) firmware $(BOARDS:%=--board %)

.PHONY: lint
lint: ## checks format, clippy, documents and scripts
	@scripts/setup lint
	cargo fmt --all --check
	cargo fmt --all --check --manifest-path firmware/Cargo.toml
	shellcheck $(filter-out %.txt,$(wildcard scripts/*)) .ci/run fuzz/instrument examples/fedavg-paper/grid.sh bench/device-time/run.sh
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/lint-firmware
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps
