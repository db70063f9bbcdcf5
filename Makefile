# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets.

GO      ?= go
BIN     := bin/gregor
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Where git refuses the folder, as that of another owner, a binary does not name its commit; go would give up.
ifneq (0,$(shell git rev-parse HEAD >/dev/null 2>&1; echo $$?))
export GOFLAGS += -buildvcs=false
endif
LDFLAGS := -s -w -X main.version=$(VERSION)
# Packages whose tests also run under the race detector: everything that has a goroutine or a lane.
RACE    := ./base/... ./broker/... ./replica/... ./cluster/active/... ./cluster/link/... ./cluster/raftnode/... ./storage/logdir/... ./storage/commitlog/... ./storage/segment/... ./coordinator/shard/... ./node/... ./wire/peer/...
FUZZTIME ?= 30s
ROUNDS  ?= 5
# What one package's tests may take; they take seconds, on a machine that does nothing else.
TIMEOUT := 40m

.DEFAULT_GOAL := help
.PHONY: help build run modules check generate test race examples clients interop parity bench limits fuzz crash model clean
.NOTPARALLEL: # what is measured and killed here has the machine for itself

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/gregor, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/gregor

run: build ## Start one node on 127.0.0.1:9092, data under ./data
	./$(BIN) start

modules: ## Fetch the modules that tests need, some more times where the network hiccups
	@for n in 5 15 45 0; do \
		if $(GO) list -deps -test -tags synctests,interop,parity ./... >/dev/null && \
			$(GO) list -modfile=tools/go.mod -deps honnef.co/go/tools/cmd/staticcheck >/dev/null && \
			(cd test/clients && $(GO) list -deps -test ./... >/dev/null); then exit 0; fi; \
		if [ $$n = 0 ]; then exit 1; fi; echo "modules: once more in $$n s"; sleep $$n; done

check: ## gofmt, vet, staticcheck, macOS build, unit tests (generated files are compared by tests)
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go' 2>/dev/null || find . -path '*/.*' -prune -o -name '*.go' -print)); if [ -n "$$out" ]; then echo "not gofmt-clean:"; echo "$$out"; exit 1; fi
	$(GO) vet -tags synctests,interop,parity ./...
	$(GO) tool -modfile=tools/go.mod staticcheck -tags synctests,interop,parity ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	$(GO) test -timeout $(TIMEOUT) -short -tags synctests ./...

generate: ## Write generated code and docs anew
	$(GO) generate ./...
	$(GO) test ./config ./broker/api ./ops -update
	$(GO) test ./cmd/gregor -run TestManPages -update

examples: build ## Every example of a --help, and examples/, against a node
	GREGOR_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -timeout $(TIMEOUT) -run '^(TestExamples|TestStory)$$' ./cmd/gregor ./examples/...

test: modules build check race examples clients ## All tests that need only Go and gcc; every decoder is fuzzed for a moment
	$(MAKE) --no-print-directory fuzz FUZZTIME=3000x

race: ## The concurrent packages under the race detector, given-back memory overwritten
	CGO_ENABLED=1 $(GO) test -race -timeout $(TIMEOUT) -tags synctests,invariants $(RACE)

clients: build ## franz-go, Sarama, segmentio and librdkafka against bin/gregor; kill -9 under load
	cd test/clients && GREGOR_BIN=$(CURDIR)/$(BIN) CGO_ENABLED=1 $(GO) test -count=1 -timeout $(TIMEOUT) ./...

interop: build ## Kafka's tools, Apache Kafka 4.4, kcat and clients of Java, Python and Node; says what it skips for want of a program
	@rm -f bin/interop-skipped
	GREGOR_BIN=$(CURDIR)/$(BIN) INTEROP_SKIPPED=$(CURDIR)/bin/interop-skipped $(GO) test -count=1 -timeout 28m -parallel 4 -tags interop ./test/interop/...; \
		code=$$?; if [ -f bin/interop-skipped ]; then sort -u bin/interop-skipped; fi; exit $$code

parity: build ## One list of requests to Apache Kafka 4.4 and to our node, answers compared (java, mvn); says what it skips
	@rm -f bin/parity-skipped
	GREGOR_BIN=$(CURDIR)/$(BIN) INTEROP_SKIPPED=$(CURDIR)/bin/parity-skipped $(GO) test -count=1 -timeout 18m -tags parity ./test/parity/...; \
		code=$$?; INTEROP_SKIPPED=$(CURDIR)/bin/parity-skipped $(GO) test -count=1 -timeout 10m -tags parity -run Lockstep ./coordinator/group || code=1; \
		if [ -f bin/parity-skipped ]; then sort -u bin/parity-skipped; fi; exit $$code

limits: build ## What this machine allows: TCP, files, sendfile, fdatasync, CRC
	./$(BIN) bench limits

bench: build ## Produce, consume, latency, limits, admin, CLI, starts, recovery and groups, in one run (ONLY=admin, durability, groups or loads; ROUNDS)
	ROUNDS=$(ROUNDS) $(GO) run ./test/bench -gregor ./$(BIN)

fuzz: ## Fuzz every decoder for FUZZTIME each (30s, or a number of runs as 3000x)
	@packages=$$($(GO) list ./...) || exit 1; for pkg in $$packages; do \
		list=$$($(GO) test -list '^Fuzz' $$pkg) || { echo "$$list"; exit 1; }; \
		for f in $$(echo "$$list" | grep '^Fuzz'); do \
		echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg || exit 1; done; done

crash: ## Cut the storage at CRASH_POINTS points (100000), damage CRASH_FLIPS files (500), lose power CRASH_POWER_LOSSES times (20, root); CRASH_SEED to repeat
	CRASH_POINTS=$${CRASH_POINTS:-100000} CRASH_FLIPS=$${CRASH_FLIPS:-500} CRASH_POWER_LOSSES=$${CRASH_POWER_LOSSES:-20} $(GO) test -count=1 -timeout 0 ./test/crash/...
	CRASH_FLIPS=$${CRASH_FLIPS:-500} $(GO) test -count=1 -timeout 0 -tags synctests -run TestFlipsInMetadata ./node/nodetest

model: ## Random histories of the coordinators: MODEL_STEPS (default 100000)
	MODEL_STEPS=$${MODEL_STEPS:-100000} $(GO) test -count=1 -timeout 0 -run Model ./coordinator/...

clean: ## Remove what was built
	rm -rf bin
