# Coffer. `make help` lists the targets; each CI job is one of them.
MODULE := build/libcoffer_pkcs11.so
GO     ?= go
export CGO_ENABLED = 1
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

# The library exports the C_ functions and nothing else; the linker script is named by its full path because the linker
# runs elsewhere.
EXPORTS := -extldflags=-Wl,--version-script=$(CURDIR)/cbridge/exports.map

# What a release calls itself: make VERSION=1.2.3. The library tells its first two numbers in CK_VERSION, core/release the default.
NAMED := $(if $(VERSION),-X github.com/coffer-hsm/coffer/core/release.version=$(VERSION))
ifneq ($(VERSION),$(shell printf %s '$(VERSION)' | grep -Ex '[0-9]{1,2}\.[0-9]{1,2}([.~+-][0-9A-Za-z.~+-]*)?'))
$(error VERSION=$(VERSION): expected one like 1.2.3, for it goes into a CK_VERSION too)
endif

.PHONY: all fips help deps deps-test demo demo-cluster cluster-test test check unit race conformance capi asan interop bench fuzz generate install uninstall clean FORCE
.DEFAULT_GOAL := all

all: $(MODULE) build/coffer build/cofferd build/coffer-bench ## build the library and the commands into build/

$(MODULE): FORCE
	$(GO) build -trimpath -buildmode=c-shared -ldflags '$(EXPORTS) $(NAMED)' -o $@ ./cbridge
	@rm -f build/libcoffer_pkcs11.h

build/coffer: FORCE
	$(GO) build -trimpath -ldflags '$(NAMED)' -o $@ ./cmd/coffer

build/cofferd: FORCE
	$(GO) build -trimpath -ldflags '$(NAMED)' -o $@ ./cmd/cofferd

# Go's certified cryptographic module, and FIPS mode from the start: a slot's or node's policy may say fips = true.
fips: FORCE ## build the library and the commands for FIPS 140-3 mode into build/fips/
	GOFIPS140=certified $(GO) build -trimpath -buildmode=c-shared -ldflags '$(EXPORTS) $(NAMED)' -o build/fips/$(notdir $(MODULE)) ./cbridge
	@rm -f build/fips/libcoffer_pkcs11.h
	GOFIPS140=certified $(GO) build -trimpath -ldflags '$(NAMED)' -o build/fips/coffer ./cmd/coffer
	GOFIPS140=certified $(GO) build -trimpath -ldflags '$(NAMED)' -o build/fips/cofferd ./cmd/cofferd

build/coffer-bench: FORCE
	@sh cmd/coffer-bench/build.sh $@

# A package for Debian sets PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu DESTDIR=...; FROM=build/fips is for what make fips has built.
PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
LIBDIR  ?= $(PREFIX)/lib
DATADIR ?= $(PREFIX)/share
FROM    ?= build
PLACES = PREFIX=$(PREFIX) BINDIR=$(BINDIR) LIBDIR=$(LIBDIR) DATADIR=$(DATADIR) DESTDIR=$(DESTDIR) FROM=$(FROM)

install: ## put what make has built under PREFIX (/usr/local), as root
	@$(PLACES) sh dist/install.sh install

uninstall: ## take it away again; tokens and configurations stay
	@$(PLACES) sh dist/install.sh uninstall

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

deps: ## install the Debian packages that the demos use
	@sh demo/deps.sh

deps-test: deps ## install those that the tests use
	@sh demo/deps.sh $$(sed 's/#.*//' tests/interop/packages)
	@sh tests/interop/unpack.sh build/debian $$(sed 's/#.*//' tests/interop/sources)

demo: deps all ## serve TLS from nginx with a key that lives in Coffer, and fetch a page
	@sh demo/demo.sh

demo-cluster: deps all ## three nodes on this machine; one is killed and replaced while OpenSSL signs
	@sh demo/cluster.sh

test: deps-test all check unit race ## everything that CI runs

check: ## vet, formatting, and that generated files are current
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags purego ./core/mech/rsa/...
	$(GO) run ./pkcs11/spec/gen -check
	$(GO) run ./cbridge/gen -check
	$(GO) run ./docs/gen -check
	@t=$$(mktemp -d) && $(GO) -C core/mech/rsa/kernel/gen run . -out $$t/z.s -stubs $$t/z.go -pkg kernel && \
	for f in s go; do tail -n +2 $$t/z.$$f | cmp - <(tail -n +2 core/mech/rsa/kernel/zkernel_amd64.$$f) || exit 1; done; rm -r $$t

BUILT = COFFER_MODULE=$(CURDIR)/$(MODULE) COFFER_BIN=$(CURDIR)/build/coffer COFFERD_BIN=$(CURDIR)/build/cofferd COFFER_BENCH=$(CURDIR)/build/coffer-bench

unit: all ## all tests, on the built library where they need it
	$(BUILT) $(GO) test -timeout 20m $$($(GO) list ./... | grep -v /tests/cluster/)
	$(BUILT) $(GO) test -p 1 -timeout 20m ./tests/cluster/... # alone: what it asks of time is measured against real clocks

# Under the race detector the suite runs on the stacks that differ in what runs at once; RACE_STACKS=. is all of them.
RACE_STACKS ?= ^(mem|node|three)$$

race: all ## the Go tests under the race detector
	$(GO) test -race -timeout 30m $$($(GO) list ./core/... ./pkcs11/... | grep -v /cluster/member)
	$(GO) test -race -timeout 20m ./core/cluster/member # alone: its nodes have to hear from each other in time
	$(GO) test -race -timeout 30m ./tests/conformance -run '//$(RACE_STACKS)'

conformance: all ## one suite over every stack; prints what was executed
	COFFER_MODULE=$(CURDIR)/$(MODULE) $(GO) test -v -count=1 -timeout 20m ./tests/conformance | grep -v '^ *=== \|^ *--- PASS'

cluster-test: deps-test all ## real nodes under faults, as root; COFFER_FAULT_TIME=10m is how long, COFFER_SEED repeats a run
	COFFER_BIN=$(CURDIR)/build/coffer COFFERD_BIN=$(CURDIR)/build/cofferd $(GO) test -v -count=1 -timeout 0 ./tests/cluster/faults

interop: deps-test all ## real clients against the built library: a line for each, and a total; VERSIONS=record for docs/clients
	COFFER_INTEROP=whole COFFER_INTEROP_VERSIONS=$(if $(VERSIONS),$(CURDIR)/tests/interop/clients/versions.txt) \
		$(BUILT) $(GO) test -v -count=1 -timeout 60m ./tests/interop | grep -v '^ *=== '
	@test -z "$(VERSIONS)" || $(GO) run ./docs/gen

capi: deps-test all ## C programs against the built library; FORKS=500 is the number of forks
	COFFER_MODULE=$(CURDIR)/$(MODULE) $(GO) test -v -count=1 -timeout 20m ./tests/capi/...

asan: deps-test all ## the C program of random calls under AddressSanitizer, the library with it; COFFER_ROUNDS is how many calls
	$(GO) build -asan -trimpath -buildmode=c-shared -ldflags '$(EXPORTS) $(NAMED)' -o build/asan/$(notdir $(MODULE)) ./cbridge
	@rm -f build/asan/libcoffer_pkcs11.h
	$(BUILT) COFFER_ASAN_MODULE=$(CURDIR)/build/asan/$(notdir $(MODULE)) $(GO) test -v -count=1 -timeout 20m -run Hostile ./tests/capi

# Modules that are measured beside this one, and opencryptoki where its daemon can be started; BENCH_VS adds others.
BENCH_SECONDS ?= 1
PEERS = --vs /usr/lib/softhsm/libsofthsm2.so --vs $$(ls /usr/lib/*/libsoftokn3.so) $(BENCH_VS)
bench: deps-test all ## docs/performance.md for this machine: this library, SoftHSM2, NSS, opencryptoki and openssl speed
	@sh demo/deps.sh opencryptoki
	sh cmd/coffer-bench/opencryptoki.sh build/coffer bench $(PEERS) --openssl --threads 1,8 --seconds $(BENCH_SECONDS) --output json > build/bench.json
	sh cmd/coffer-bench/opencryptoki.sh build/coffer bench $(PEERS) --operations sign-rsa-2048,sign-p256,aes-gcm-1k --threads 1,2,4,8,16 --seconds $(BENCH_SECONDS) --output json > build/bench-threads.json
	$(GO) run ./docs/performance docs build/bench.json build/bench-threads.json

FUZZTIME ?= 30s
fuzz: ## run every fuzz target for FUZZTIME
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$p || exit 1; done; done

PROTO := core/cluster/wire
generate: ## write the generated files anew (protoc is in Debian's protobuf-compiler)
	GOBIN=$(CURDIR)/build/tools $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go
	GOBIN=$(CURDIR)/build/tools $(GO) install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
	PATH=$(CURDIR)/build/tools:$$PATH protoc -I $(PROTO) --go_out=paths=source_relative:$(PROTO) --go-grpc_out=paths=source_relative:$(PROTO) coffer.proto
	$(GO) generate ./...
	$(GO) run ./cbridge/gen
	$(GO) run ./docs/gen

clean: ## remove what was built
	rm -rf build .demo .demo-cluster

FORCE:
