# SPDX-License-Identifier: GPL-2.0
# The Rust DRBD. `make help` lists what can be made.

MAKEFLAGS += --no-print-directory
KEEP ?=
KDIR ?=
DESTDIR ?=
PREFIX ?= /usr
SCRIPTS := qemu-testbed/scripts
CARGO_TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help all setup module tools testbed install install-module install-utils deb test test-fast test-vm test-debug test-cluster debug-kernel test-sim soak torture fuzz demo bench console fmt lint clean

help: ## this list
	@echo "The Rust DRBD: an in-kernel successor of the C drbd.ko, and its tools."
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | column -t -s '|'
	@echo
	@echo "  KDIR=/path/to/prepared/kernel/tree   make module and make install build against it"
	@echo "  KEEP=1                               make demo leaves the machines up"
	@echo "  DRBD_RS_CACHE=...                    where the build root and images are kept"

all: module tools ## drbd.ko (in the testbed's build root, or against KDIR) and the tools

ifeq ($(KDIR),)
module: setup ## build/drbd.ko for the stock Debian kernel
	@mkdir -p build
	@path=$$($(SCRIPTS)/build-module.sh stock) && { cmp -s "$$path" build/drbd.ko || cp "$$path" build/drbd.ko; }
else
module:
	@packaging/dkms/build $(KDIR) modules
	@mkdir -p build && cp drbd.ko build/drbd.ko
endif

tools: ## build/drbdadm, also callable as drbdsetup and drbdmeta
	@cargo build --quiet --release -p drbdadm
	@mkdir -p build && cp $(CARGO_TARGET)/release/drbdadm build/drbdadm

testbed:
	@cargo build --quiet -p qemu-testbed

setup: ## install and prepare everything the other targets need (once, a few minutes)
	@$(SCRIPTS)/setup.sh

ifeq ($(KDIR),)
install install-module: export KDIR := /lib/modules/$(shell uname -r)/build
endif
install: install-module install-utils ## install drbd.ko for KDIR, tools, scripts and units into DESTDIR

install-module:
	@packaging/dkms/build "$$KDIR" modules
	@packaging/dkms/build "$$KDIR" INSTALL_MOD_PATH=$(DESTDIR) INSTALL_MOD_DIR=updates CONFIG_MODULE_SIG_ALL= modules_install

install-utils: tools
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) packaging/install

deb: tools ## build/drbd-rs-utils_*.deb and build/drbd-rs-dkms_*.deb
	@packaging/build-deb

.PHONY: test-packages
test-packages: setup deb ## the packages on a fresh Debian 13, and the administrator's guide as a reader types it
	@packaging/tests/packages
	@$(SCRIPTS)/setup.sh cluster
	@path=$$($(SCRIPTS)/build-module.sh full) && cp "$$path" build/drbd-full.ko
	@cargo test -p drbd-tests --features vm --test guide -- --nocapture

test: all test-fast test-vm ## every test: unit, property, simulation, virtual machines

test-fast: ## tests on the host only: unit, property, fixtures, simulation
	@tests/fast.sh

test-vm: all ## tests in virtual machines: life cycle, pairs, interop with the C driver (JOBS at a time, ONLY=words)
	@tests/vm.sh $(ONLY)

.PHONY: test-transcripts
test-transcripts: all ## the recorded transcripts of the C driver, played with our tools on our driver (4 minutes); not part of make test
	@tests/vm.sh transcripts::

debug-kernel: setup ## a kernel with lockdep and other checkers (about 10 minutes, once)
	@$(SCRIPTS)/debug-kernel.sh

test-debug: all ## the virtual machine tests on the debug kernel, or with KERNEL=kasan on that
	@$(SCRIPTS)/$(or $(KERNEL),debug)-kernel.sh
	@path=$$($(SCRIPTS)/build-module.sh $(or $(KERNEL),debug)) && cp "$$path" build/drbd-$(or $(KERNEL),debug).ko
	@DRBD_RS_FLAVOUR=$(or $(KERNEL),debug) tests/vm.sh $(or $(ONLY),debug_)

test-cluster: tools ## Pacemaker with MariaDB, and the tutorials, on two complete Debian machines (ONLY=name)
	@$(SCRIPTS)/setup.sh cluster
	@mkdir -p build && path=$$($(SCRIPTS)/build-module.sh full) && cp "$$path" build/drbd-full.ko
	@cargo test -p drbd-tests --features vm --test cluster -- --test-threads $(or $(JOBS),1) --nocapture $(ONLY)

test-sim: ## the simulation with SEEDS (100000) histories
	@SIMULATION_SEEDS=$(or $(SEEDS),100000) nice cargo test -p drbd-tests --test simulation -- --nocapture no_history

soak: ## the simulation with a million histories (half an hour of processor time)
	@$(MAKE) test-sim SEEDS=1000000

torture: all ## random I/O under faults for MINUTES (10): PAIRING=rust-rust|rust-c|c-rust, SEED, KERNEL=debug|kasan
	@$(if $(filter debug kasan,$(KERNEL)),$(SCRIPTS)/$(KERNEL)-kernel.sh && cp "$$($(SCRIPTS)/build-module.sh $(KERNEL))" build/drbd-$(KERNEL).ko)
	@TORTURE_PAIRING=$(or $(PAIRING),rust-rust) TORTURE_MINUTES=$(or $(MINUTES),10) TORTURE_SEED=$(SEED) DRBD_RS_FLAVOUR=$(KERNEL) \
		cargo test -p drbd-tests --features vm --test torture -- --nocapture

fuzz: ## libFuzzer on the decoders and the configuration parser: RUNS (10^8) each, needs cargo-fuzz and a nightly compiler
	@cd fuzz && for target in wire netlink metadata configuration; do mkdir -p target/found/$$target; \
		nice cargo +nightly fuzz run -s none $$target target/found/$$target corpus/$$target -- \
		-runs=$(or $(RUNS),100000000) -max_len=$$([ $$target = configuration ] && echo 600 || echo 256) -entropic=0 -max_total_time=$(or $(SECONDS),0) || exit; done

demo: all testbed ## two machines: full sync, role switch, a lost node and its return
	@$(CARGO_TARGET)/debug/testbed demo $(if $(KEEP),--keep)

console:
	@$(CARGO_TARGET)/debug/testbed console $(SOCKET)

bench: all ## cost per operation of our module and of the C module
	@$(SCRIPTS)/bench.sh

# Crates in the layout of rustfmt; the others keep longer lines.
FORMATTED := $(addprefix -p ,drbdadm drbd-config netlink-api)

fmt: ## format the crates of the tools
	@cargo fmt $(FORMATTED)

lint: ## clippy on everything, layout of the crates of the tools (make test-fast checks unsafe and file sizes)
	@cargo fmt $(FORMATTED) --check
	@cargo clippy --quiet --workspace --all-targets --features drbd-tests/vm -- -D warnings

clean: ## remove what was built here (not the cache)
	@rm -rf build
	@cargo clean --quiet
